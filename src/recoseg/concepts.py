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

FORMAT = "recoseg-bank-1"
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
    """

    words: ClassNames
    role: ConceptRole
    references: Mapping[str, Float[Tensor, "r C"]]
    text_positive: Float[Tensor, "a d"]
    text_negative: Float[Tensor, "b d"]
    retrieved: tuple[RetrievedPhoto, ...] = ()
    evidence: Evidence | None = None
    corrections: tuple[Correction, ...] = ()

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
            _check_format(path, read_metadata(Path(path)).get("format", "none"))
            tensors, metadata = read_tensors(Path(path))
        except MissingFileError as error:
            raise ConceptError(f"No concept bank was found at {path}. {_LEARN}") from error
        except FileError as error:
            raise ConceptError(f"{error} Expected a concept bank. {_LEARN}") from error
        try:
            encoders = EncoderInfos.from_json(json.loads(metadata["encoders"]))
            settings = BankSettings.from_json(json.loads(metadata["settings"]))
            concepts = tuple(
                _read_concept(number, read_fields(_StoredConcept, entry), encoders, tensors)
                for number, entry in enumerate(json.loads(metadata["concepts"]))
            )
            return cls(concepts, encoders, settings)
        except KeyError as error:
            raise ConceptError(f"{path} is damaged ({error} is missing). {_LEARN}") from error
        except (RecosegError, ValueError, TypeError, RecursionError) as error:
            raise ConceptError(f"{path} is damaged ({short(error)}). {_LEARN}") from error

    def _tensors(self, concept: Concept) -> dict[str, Tensor]:
        """The tensors of a concept under their names in the file, the references first."""
        references = zip(_reference_names(self.encoders), self.encoders.phi, strict=True)
        return {
            **{name: concept.references[info.key] for name, info in references},
            "text_positive": concept.text_positive,
            "text_negative": concept.text_negative,
        }


def verify_bank(path: Path) -> Verification:
    """Read a concept bank in full and check its checksum and its values."""
    try:
        ConceptBank.load(path)
        recorded = has_checksum(path)
    except RecosegError as error:
        return Verification("concept bank", 1, 0, (str(error),))
    return Verification("concept bank", int(recorded), int(not recorded), ())


_LEARN = "Make a concept bank with `recoseg learn`."


@dataclass(frozen=True)
class _StoredConcept:
    """A concept without its tensors, as the file holds it."""

    words: ClassNames
    role: ConceptRole
    retrieved: tuple[RetrievedPhoto, ...]
    evidence: Evidence | None = None
    corrections: tuple[Correction, ...] = ()


def _corrections_of(concept: Concept) -> dict[str, object]:
    """What earlier versions do not know, only where there is some."""
    found = [asdict(correction) for correction in concept.corrections]
    return {"corrections": found} if found else {}


def _read_concept(
    number: int, stored: _StoredConcept, encoders: EncoderInfos, tensors: Mapping[str, Tensor]
) -> Concept:
    references = {
        info.key: tensors[f"{number}.{name}"]
        for info, name in zip(encoders.phi, _reference_names(encoders), strict=True)
    }
    concept = Concept(
        words=stored.words,
        role=stored.role,
        references=references,
        text_positive=tensors[f"{number}.text_positive"],
        text_negative=tensors[f"{number}.text_negative"],
        retrieved=stored.retrieved,
        evidence=stored.evidence,
        corrections=stored.corrections,
    )
    _check_values(concept, encoders)
    return concept


def _check_values(concept: Concept, encoders: EncoderInfos) -> None:
    """Refuse values that `learn` never writes; what a file holds may be anything."""
    words = (concept.name, *concept.words.prompts, *concept.words.negatives)
    if not concept.words.prompts or not all(word.strip() for word in words):
        raise ConceptError(f"expected a name and words, none of them empty, got {words}")
    for info in encoders.phi:
        check_unit_rows(
            concept.references[info.key], info.dim, 1, f"references of {concept.name!r}"
        )
    for rows, least in ((concept.text_positive, 1), (concept.text_negative, 0)):
        what = f"text embeddings of {concept.name!r}"
        check_unit_rows(rows, encoders.saliency.dim, least, what)


def _reference_names(encoders: EncoderInfos) -> list[str]:
    """The names of the reference tensors of each phi: the first one's is that of version 0.1."""
    return ["references", *(f"references.{n}" for n in range(1, len(encoders.phi)))]


def _check_format(path: str | Path, found: str) -> None:
    """Refuse files that are not concept banks, and those of later versions."""
    if found == FORMAT:
        return
    if found.startswith("recoseg-bank-"):
        raise ConceptError(
            f"{path} was written by another version of recoseg (expected the format {FORMAT}, got "
            f"{found}). Update recoseg, or make the bank again with `recoseg learn`."
        )
    raise ConceptError(
        f"{path} is not a concept bank (expected the format {FORMAT}, got {found}). {_LEARN}"
    )


def _check_same(role: EncoderRole, mine: EncoderInfo, theirs: EncoderInfo) -> None:
    if not mine.same_as(theirs):
        raise other_encoder(role, [mine], theirs)


def _names(infos: Iterable[EncoderInfo]) -> str:
    return ", ".join(info.name for info in infos)
