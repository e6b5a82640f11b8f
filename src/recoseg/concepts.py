"""The concept bank: for each class its reference embeddings, its words and where they came from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from recoseg.classes import ClassNames
from recoseg.config import BankSettings
from recoseg.encoders.bundle import BankEncoders
from recoseg.encoders.protocols import EncoderInfo
from recoseg.errors import ConceptError, EncoderMismatchError
from recoseg.files import write_atomically

FORMAT = "recoseg-bank-1"
Role = Literal["class", "context"]


@dataclass(frozen=True)
class RetrievedPhoto:
    """A photo that a class was learnt from.

    Attributes:
        path: Where it is.
        photo_id: Hash of its content.
        score: Cosine of photo and class.
        seeds: Its seed pixels as (y, x), cells of phi's grid over the centre crop.
        support: The seeds' support scores.
    """

    path: str
    photo_id: str
    score: float
    seeds: tuple[tuple[int, int], ...]
    support: tuple[float, ...]


@dataclass(frozen=True)
class Concept:
    """One class of a bank.

    Attributes:
        words: Its name and the words for it.
        role: `class` for what is segmented, `context` for what was eliminated while learning.
        references: Reference embeddings, rows L2-normalised; a patch's visual score is the best
            cosine over them.
        text_positive: Embeddings of its prompts by the saliency encoder, rows L2-normalised.
        text_negative: Embeddings of its negative words, likewise.
        retrieved: The photos it was learnt from, best first.
    """

    words: ClassNames
    role: Role
    references: Float[Tensor, "r C"]
    text_positive: Float[Tensor, "a d"]
    text_negative: Float[Tensor, "b d"]
    retrieved: tuple[RetrievedPhoto, ...] = ()

    @property
    def name(self) -> str:
        """What it is called."""
        return self.words.name


@dataclass(frozen=True)
class ConceptBank:
    """Classes ready to be segmented.

    Attributes:
        concepts: Classes and context classes; a name is unique within its role.
        encoders: What made them.
        settings: How they were made, and how to segment with them.
    """

    concepts: tuple[Concept, ...]
    encoders: BankEncoders
    settings: BankSettings = field(default_factory=BankSettings)

    def __post_init__(self) -> None:
        keys = [(concept.role, concept.name) for concept in self.concepts]
        twice = sorted({name for role, name in keys if keys.count((role, name)) > 1})
        if twice:
            raise ConceptError(f"These classes stand twice in the bank: {', '.join(twice)}.")

    @property
    def classes(self) -> tuple[Concept, ...]:
        """The concepts that are segmented, in order."""
        return tuple(concept for concept in self.concepts if concept.role == "class")

    @property
    def context(self) -> tuple[Concept, ...]:
        """The context classes, in the order in which they were eliminated."""
        return tuple(concept for concept in self.concepts if concept.role == "context")

    @property
    def fingerprint(self) -> str:
        """16 hex digits drawn from all that decides masks: words, references, texts, encoders."""
        digest = hashlib.sha256()
        for info in (self.encoders.saliency, self.encoders.phi):
            digest.update(json.dumps([info.fingerprint, info.dim, info.stride]).encode())
        for concept in self.concepts:
            digest.update(json.dumps([concept.role, asdict(concept.words)]).encode())
            for tensor in (concept.references, concept.text_positive, concept.text_negative):
                digest.update(repr(tuple(tensor.shape)).encode())
                digest.update(tensor.detach().float().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def add(self, concepts: Iterable[Concept]) -> ConceptBank:
        """A bank with more concepts; those there stay as they are.

        Raises:
            ConceptError: A name is there already.
        """
        return replace(self, concepts=(*self.concepts, *concepts))

    def remove(self, names: Sequence[str]) -> ConceptBank:
        """A bank without these classes; context classes stay.

        Raises:
            ConceptError: A name is not there; the message lists those that are.
        """
        present = [concept.name for concept in self.classes]
        absent = [name for name in names if name not in present]
        if absent:
            raise ConceptError(
                f"The bank holds no class {', '.join(absent)}. It holds: {', '.join(present)}."
            )
        kept = [c for c in self.concepts if c.role == "context" or c.name not in names]
        return replace(self, concepts=tuple(kept))

    def check_encoders(
        self, *, saliency: EncoderInfo | None = None, phi: EncoderInfo | None = None
    ) -> None:
        """Refuse encoders that are not the bank's own.

        Raises:
            EncoderMismatchError: Weights, dimension or stride differ.
        """
        for role, mine, theirs in (
            ("saliency", self.encoders.saliency, saliency),
            ("phi", self.encoders.phi, phi),
        ):
            if theirs is not None and not mine.same_as(theirs):
                raise EncoderMismatchError(
                    f"The bank was learnt with {mine.name} ({mine.weights}, fingerprint "
                    f"{mine.fingerprint}) as {role} encoder, got {theirs.name} "
                    f"({theirs.weights}, fingerprint {theirs.fingerprint}). Use the bank's own "
                    "encoder (--saliency, --phi), or learn the classes again."
                )

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, atomically; the metadata holds all that is no tensor."""
        tensors = {}
        entries = []
        for number, concept in enumerate(self.concepts):
            for key in ("references", "text_positive", "text_negative"):
                tensor: Tensor = getattr(concept, key)
                tensors[f"{number}.{key}"] = tensor.detach().float().cpu().clone().contiguous()
            entries.append(
                {
                    "words": asdict(concept.words),
                    "role": concept.role,
                    "retrieved": [asdict(photo) for photo in concept.retrieved],
                }
            )
        metadata = {
            "format": FORMAT,
            "concepts": json.dumps(entries, ensure_ascii=False),
            "encoders": json.dumps(asdict(self.encoders)),
            "settings": json.dumps(self.settings.to_json()),
        }
        data = save(tensors, metadata)
        write_atomically(Path(path), lambda file: file.write(data))

    @classmethod
    def load(cls, path: str | Path) -> ConceptBank:
        """Read what `save` wrote.

        Raises:
            ConceptError: There is no such file, or it is no concept bank.
        """
        if not Path(path).is_file():
            raise ConceptError(f"No concept bank at {path}. Make one with `recoseg learn`.")
        try:
            with safe_open(path, "pt") as file:
                metadata: dict[str, str] = file.metadata() or {}
                if metadata.get("format") != FORMAT:
                    raise ConceptError(
                        f"{path} is no concept bank: expected the format {FORMAT}, got "
                        f"{metadata.get('format', 'none')}. Make one with `recoseg learn`."
                    )
                entries = json.loads(metadata["concepts"])
                concepts = tuple(
                    _read_concept(entry, {key: file.get_tensor(f"{n}.{key}") for key in _TENSORS})
                    for n, entry in enumerate(entries)
                )
            encoders = BankEncoders(
                **{
                    role: EncoderInfo(**info)
                    for role, info in json.loads(metadata["encoders"]).items()
                }
            )
            settings = BankSettings.from_json(json.loads(metadata["settings"]))
        except (SafetensorError, AttributeError, KeyError, ValueError, TypeError) as error:
            raise ConceptError(
                f"{path} is damaged or no concept bank ({error}). Make one with `recoseg learn`."
            ) from error
        return cls(concepts, encoders, settings)


_TENSORS = ("references", "text_positive", "text_negative")


def _read_concept(entry: dict[str, Any], tensors: dict[str, Tensor]) -> Concept:
    words = entry["words"]
    retrieved = tuple(
        RetrievedPhoto(
            **{
                **photo,
                "seeds": tuple((int(y), int(x)) for y, x in photo["seeds"]),
                "support": tuple(photo["support"]),
            }
        )
        for photo in entry["retrieved"]
    )
    names = ClassNames(words["name"], tuple(words["prompts"]), tuple(words["negatives"]))
    return Concept(words=names, role=entry["role"], retrieved=retrieved, **tensors)


def stack_references(concepts: Sequence[Concept]) -> Float[Tensor, "m C"]:
    """All references of some concepts, one below the other."""
    return torch.cat([concept.references for concept in concepts])
