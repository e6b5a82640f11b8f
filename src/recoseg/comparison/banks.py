"""Two concept banks side by side: classes, references, verdicts and settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from recoseg.comparison.settings import Change, changes
from recoseg.concepts import Concept, ConceptBank


@dataclass(frozen=True)
class ClassChange:
    """A class that both banks have.

    Attributes:
        name: Its name.
        role: `class` or `context`.
        words: Its words in the one and in the other.
        cosines: How alike its references are, in [-1, 1], by the name of each phi that both banks
            have; see `reference_cosine`.
        verdicts: The judgements on it.
        photos: Number of photos that it was learnt from.
        common: Number of these that both have learnt it from.
    """

    name: str
    role: str
    words: tuple[str, str]
    cosines: Mapping[str, float]
    verdicts: tuple[str, str]
    photos: tuple[int, int]
    common: int

    @property
    def differs(self) -> bool:
        """Whether anything but rounding differs."""
        return (
            self.words[0] != self.words[1]
            or self.verdicts[0] != self.verdicts[1]
            or self.photos != (self.common, self.common)
            or any(cosine < 1 - 1e-4 for cosine in self.cosines.values())
        )


@dataclass(frozen=True)
class BankComparison:
    """What differs between two banks.

    Attributes:
        added: Classes that only the other has.
        removed: Classes that only the one has.
        classes: Those that both have, in the order of the one.
        settings: Settings and encoders that differ.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    classes: tuple[ClassChange, ...]
    settings: tuple[Change, ...]


def compare_banks(one: ConceptBank, other: ConceptBank) -> BankComparison:
    """Compare two banks; classes and context classes are matched by their names and roles."""
    left = {(item.role, item.name): item for item in one.concepts}
    right = {(item.role, item.name): item for item in other.concepts}
    return BankComparison(
        added=tuple(_named(right[key]) for key in right if key not in left),
        removed=tuple(_named(left[key]) for key in left if key not in right),
        classes=tuple(_compared(left[key], right[key], one) for key in left if key in right),
        settings=changes(_settings(one), _settings(other)),
    )


def reference_cosine(one: Float[Tensor, "r C"], other: Float[Tensor, "s C"]) -> float:
    """How alike two sets of references are: their mean best cosine, in [-1, 1].

    For one reference each it is their cosine. Otherwise each reference is compared with the most
    alike one of the other set, and the means of both directions are averaged.

    Args:
        one: References, rows L2-normalised.
        other: References by the same phi.

    Example:
        >>> import torch
        >>> reference_cosine(torch.eye(2), torch.tensor([[1.0, 0.0]]))
        0.75
    """
    cosines = one.double() @ other.double().T
    return float((cosines.amax(1).mean() + cosines.amax(0).mean()) / 2)


def _compared(one: Concept, other: Concept, bank: ConceptBank) -> ClassChange:
    names = {info.key: info.name for info in bank.encoders.phi}
    photos = [{photo.photo_id or photo.path for photo in item.retrieved} for item in (one, other)]
    return ClassChange(
        one.name,
        one.role,
        (str(one.words), str(other.words)),
        {
            names[key]: reference_cosine(references, other.references[key])
            for key, references in one.references.items()
            if key in other.references
        },
        (one.verdict.judgement, other.verdict.judgement),
        (len(photos[0]), len(photos[1])),
        len(photos[0] & photos[1]),
    )


def _named(concept: Concept) -> str:
    return concept.name if concept.role == "class" else f"{concept.name} (context)"


def _settings(bank: ConceptBank) -> dict[str, Any]:
    """Encoders and settings, also those that `BankSettings.to_json` leaves out as usual."""
    infos = {"retrieval": bank.encoders.retrieval, "saliency": bank.encoders.saliency}
    infos |= {f"phi {number}": info for number, info in enumerate(bank.encoders.phi, 1)}
    settings = bank.settings
    return {
        **{name: info.described for name, info in infos.items()},
        "recipe": settings.recipe,
        "learn": asdict(settings.learn),
        "segment": asdict(settings.segment),
    }
