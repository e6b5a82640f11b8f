"""The concept bank: each class with its words, its references and the photos they came from."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from recoseg.classes import ClassNames
from recoseg.config import BankSettings
from recoseg.decoder_prompts import ARE_WORDS, TOKENS, DecoderPrompt, PromptRecord
from recoseg.encoders.bundle import EncoderInfos, other_encoder
from recoseg.encoders.protocols import EncoderInfo
from recoseg.encoders.spec import EncoderRole
from recoseg.errors import (
    ConceptError,
    EncoderMismatchError,
    FileError,
    MissingFileError,
    RecosegError,
    did_you_mean,
)
from recoseg.evidence import Correction, Evidence, RetrievedPhoto, Verdict, judge
from recoseg.hub.fetch import local_path
from recoseg.storage.counts import count_of
from recoseg.storage.fields import read_fields
from recoseg.storage.reading import short
from recoseg.storage.tensors import (
    check_unit_rows,
    has_checksum,
    read_metadata,
    read_tensors,
    write_tensors,
)
from recoseg.storage.verification import Verification
from recoseg.stored_concepts import (
    FORMAT,
    LEARN,
    check_format,
    check_text_rows,
    check_words,
    reference_names,
)

ConceptRole = Literal["class", "context"]


@dataclass(frozen=True)
class Concept:
    """One class of a bank.

    Attributes:
        words: Its name and the words for it.
        role: `class` if photos are segmented into it, `context` if it was only eliminated while
            the others were learnt.
        references: Reference embeddings by the key of their phi encoder (see `EncoderInfo.key`),
            (r, C) each, rows L2-normalised. The visual score of a patch is its best cosine with
            them.
        text_positive: Embeddings of its prompts by the saliency encoder, rows L2-normalised.
        text_negative: Embeddings of its negative words by the saliency encoder, rows L2-normalised.
        retrieved: The photos it was learnt from, best first.
        evidence: What these photos are compared with; None if it was not measured, as by earlier
            versions.
        corrections: Seeds that the user has set by hand; they are kept when it is learnt again.
        prompt: What a decoder has learnt of it; None if it is asked for the words.
    """

    words: ClassNames
    role: ConceptRole
    references: Mapping[str, Float[Tensor, "r C"]]
    text_positive: Float[Tensor, "a d"]
    text_negative: Float[Tensor, "b d"]
    retrieved: tuple[RetrievedPhoto, ...] = ()
    evidence: Evidence | None = None
    corrections: tuple[Correction, ...] = ()
    prompt: DecoderPrompt | None = None

    @property
    def name(self) -> str:
        """The name of the class."""
        return self.words.name

    @property
    def verdict(self) -> Verdict:
        """Whether the archive shows the class; see `judge`."""
        scores = [photo.score for photo in self.retrieved]
        return judge(scores, self.evidence, self.words.prompts)


@dataclass(frozen=True)
class ConceptBank:
    """Classes that photos can be segmented into.

    Attributes:
        concepts: Classes and context classes; a name is unique within its role.
        encoders: The encoders they were learnt with.
        settings: How they were learnt, and how to segment with them.

    Raises:
        ConceptError: A name occurs twice, or a concept has references of other phi encoders.
    """

    concepts: tuple[Concept, ...]
    encoders: EncoderInfos
    settings: BankSettings = field(default_factory=BankSettings)

    def __post_init__(self) -> None:
        names = Counter((concept.role, concept.name) for concept in self.concepts)
        twice = sorted({name for (_, name), count in names.items() if count > 1})
        if twice:
            raise ConceptError(
                f"These classes are in the bank twice: {', '.join(twice)}. Give each its own name."
            )
        keys = {info.key for info in self.encoders.phi}
        for concept in self.concepts:
            if concept.references.keys() != keys:
                raise ConceptError(
                    f"Expected references of {concept.name!r} for the phi encoders "
                    f"{', '.join(sorted(keys))}; got {', '.join(sorted(concept.references))}."
                )

    @property
    def classes(self) -> tuple[Concept, ...]:
        """The concepts that photos are segmented into, in order."""
        return tuple(concept for concept in self.concepts if concept.role == "class")

    @property
    def context(self) -> tuple[Concept, ...]:
        """The context classes, in the order in which they are eliminated."""
        return tuple(concept for concept in self.concepts if concept.role == "context")

    @property
    def fingerprint(self) -> str:
        """16 hex digits, a hash of all that decides masks: words, references, texts, encoders."""
        digest = hashlib.sha256()
        for info in (self.encoders.saliency, *self.encoders.phi):
            digest.update(json.dumps([info.fingerprint, info.dim, info.stride]).encode())
        for concept in self.concepts:
            digest.update(json.dumps([concept.role, asdict(concept.words)]).encode())
            if concept.prompt is not None:
                decides = [concept.prompt.record.fingerprint, concept.prompt.record.threshold]
                digest.update(json.dumps(decides).encode())
            for tensor in self._tensors(concept).values():
                digest.update(repr(tuple(tensor.shape)).encode())
                digest.update(tensor.detach().float().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def add(self, concepts: Iterable[Concept]) -> ConceptBank:
        """A bank with more concepts; those of this bank stay as they are.

        Raises:
            ConceptError: The bank already has a class of that name.
        """
        return replace(self, concepts=(*self.concepts, *concepts))

    def remove(self, names: Sequence[str]) -> ConceptBank:
        """A bank without these classes; context classes stay.

        Raises:
            ConceptError: The bank has no class of that name; the message lists its classes.
        """
        present = [concept.name for concept in self.classes]
        absent = [name for name in names if name not in present]
        if absent:
            has = ", ".join(present) or "none"
            unknown = f"{', '.join(absent)}.{did_you_mean(absent[0], present)}"
            raise ConceptError(f"The bank has no class {unknown} Its classes: {has}.")
        kept = [c for c in self.concepts if c.role == "context" or c.name not in names]
        return replace(self, concepts=tuple(kept))

    def check_encoders(
        self,
        *,
        saliency: EncoderInfo | None = None,
        phi: EncoderInfo | Sequence[EncoderInfo] | None = None,
    ) -> None:
        """Refuse encoders other than those that the bank was learnt with.

        Args:
            saliency: The saliency encoder; None if it is not used.
            phi: All phi encoders in the bank's order; None if they are not used.

        Raises:
            EncoderMismatchError: The number of phi encoders, or the fingerprint, dimension or
                stride of an encoder differs.
        """
        if phi is not None:  # first, since a saliency encoder can depend on it
            self._check_phi((phi,) if isinstance(phi, EncoderInfo) else tuple(phi))
        if saliency is not None:
            _check_same("saliency", self.encoders.saliency, saliency)

    def _check_phi(self, given: Sequence[EncoderInfo]) -> None:
        if len(given) != len(self.encoders.phi):
            raise EncoderMismatchError(
                f"The bank was learnt with {count_of(len(self.encoders.phi), 'phi encoders')} "
                f"({_names(self.encoders.phi)}), got {len(given)} ({_names(given)}). Use the "
                "bank's own encoders in this order (--phi), or learn the classes again."
            )
        for mine, theirs in zip(self.encoders.phi, given, strict=True):
            _check_same("phi", mine, theirs)

    def save(self, path: str | Path) -> None:
        """Write a safetensors file in one step; its metadata holds all that is not a tensor."""
        tensors = {}
        entries = []
        for number, concept in enumerate(self.concepts):
            for key, tensor in self._tensors(concept).items():
                tensors[f"{number}.{key}"] = tensor.float()
            entries.append(
                {
                    "words": asdict(concept.words),
                    "role": concept.role,
                    "retrieved": [asdict(photo) for photo in concept.retrieved],
                }
                | ({} if concept.evidence is None else {"evidence": asdict(concept.evidence)})
                | _corrections_of(concept)
                | ({} if concept.prompt is None else {"prompt": asdict(concept.prompt.record)})
            )
        # File names may hold bytes that are not UTF-8, which become escapes of JSON.
        text = json.dumps(entries, ensure_ascii=False)
        metadata = {
            "format": FORMAT,
            "concepts": text.encode("utf-8", "backslashreplace").decode(),
            "encoders": json.dumps(self.encoders.to_json()),
            "settings": json.dumps(self.settings.to_json()),
        }
        write_tensors(Path(path), tensors, metadata)

    @classmethod
    def load(cls, path: str | Path) -> ConceptBank:
        """Read what `save` wrote, from a file or from the Hub (`hf:OWNER/NAME[@REVISION]`).

        Raises:
            ConceptError: No whole bank of this version was found; a HubError where the Hub fails.
        """
        path = local_path(path, "bank")
        try:
            check_format(path, read_metadata(Path(path)).get("format", "none"))
            tensors, metadata = read_tensors(Path(path))
        except MissingFileError as error:
            raise ConceptError(f"No concept bank was found at {path}. {LEARN}") from error
        except FileError as error:
            raise ConceptError(f"{error} Expected a concept bank. {LEARN}") from error
        try:
            encoders = EncoderInfos.from_json(json.loads(metadata["encoders"]))
            settings = BankSettings.from_json(json.loads(metadata["settings"]))
            concepts = tuple(
                _read_concept(number, read_fields(_StoredConcept, entry), encoders, tensors)
                for number, entry in enumerate(json.loads(metadata["concepts"]))
            )
            return cls(concepts, encoders, settings)
        except KeyError as error:
            raise ConceptError(f"{path} is damaged ({error} is missing). {LEARN}") from error
        except (RecosegError, ValueError, TypeError, RecursionError) as error:
            raise ConceptError(f"{path} is damaged ({short(error)}). {LEARN}") from error

    def _tensors(self, concept: Concept) -> dict[str, Tensor]:
        """The tensors of a concept under their names in the file, the references first."""
        references = zip(reference_names(self.encoders), self.encoders.phi, strict=True)
        return {
            **{name: concept.references[info.key] for name, info in references},
            "text_positive": concept.text_positive,
            "text_negative": concept.text_negative,
            **({} if concept.prompt is None else concept.prompt.tensors()),
        }


def verify_bank(path: Path) -> Verification:
    """Read a concept bank in full and check its checksum and its values."""
    try:
        ConceptBank.load(path)
        recorded = has_checksum(path)
    except RecosegError as error:
        return Verification("concept bank", 1, 0, (str(error),))
    return Verification("concept bank", int(recorded), int(not recorded), ())


@dataclass(frozen=True)
class _StoredConcept:
    """A concept without its tensors, as the file holds it."""

    words: ClassNames
    role: ConceptRole
    retrieved: tuple[RetrievedPhoto, ...]
    evidence: Evidence | None = None
    corrections: tuple[Correction, ...] = ()
    prompt: PromptRecord | None = None


def _corrections_of(concept: Concept) -> dict[str, object]:
    """What earlier versions do not know, only where there is some."""
    found = [asdict(correction) for correction in concept.corrections]
    return {"corrections": found} if found else {}


def _read_concept(
    number: int, stored: _StoredConcept, encoders: EncoderInfos, tensors: Mapping[str, Tensor]
) -> Concept:
    """A concept of the tensors and fields of a file; values that `learn` never writes are refused.

    Raises:
        RecosegError: A value is not as expected; a KeyError where a tensor is missing.
    """
    references = {
        info.key: tensors[f"{number}.{name}"]
        for info, name in zip(encoders.phi, reference_names(encoders), strict=True)
    }
    positive, negative = (tensors[f"{number}.text_{part}"] for part in ("positive", "negative"))
    prompt = None
    if stored.prompt is not None:
        prompt = DecoderPrompt.of(
            stored.prompt, tensors[f"{number}.{TOKENS}"], tensors[f"{number}.{ARE_WORDS}"]
        )
    name = stored.words.name
    check_words(stored.words)
    for info in encoders.phi:
        check_unit_rows(references[info.key], info.dim, 1, f"references of {name!r}")
    check_text_rows(name, positive, negative, encoders)
    return Concept(
        words=stored.words,
        role=stored.role,
        references=references,
        text_positive=positive,
        text_negative=negative,
        retrieved=stored.retrieved,
        evidence=stored.evidence,
        corrections=stored.corrections,
        prompt=prompt,
    )


def _check_same(role: EncoderRole, mine: EncoderInfo, theirs: EncoderInfo) -> None:
    if not mine.same_as(theirs):
        raise other_encoder(role, [mine], theirs)


def _names(infos: Iterable[EncoderInfo]) -> str:
    return ", ".join(info.name for info in infos)
