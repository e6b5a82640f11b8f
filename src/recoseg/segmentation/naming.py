"""Names compete: the scores of all names of all classes become probabilities, the best one counts.

A class may have several names. With `cosine` its text score is the best cosine of its names (see
`recoseg.classes.combine_names`). With `softmax`, the rule of most published evaluations of
open-vocabulary segmentation, scores are kept by name until they are at the pixels. There they
become probabilities by a softmax over all names of all classes, and the probability of a class is
that of its best name. Those of a pixel need not add up to 1.

Scores that belong to a class as a whole, such as the visual one, count for each of its names: the
logit of a name is the temperature times what the fusion makes of the class's visual score and the
name's own text score. Negative words compete like names, but their probability counts for no class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from recoseg.concepts import Concept
from recoseg.errors import OptionError, RecosegError
from recoseg.segmentation.scores import cosines_of

NameForm = Literal["cosine", "softmax"]
"""How the names of classes give their text scores."""

FUSIONS_BY_NAME = ("sum", "text")
"""The forms of fusion that can be computed name by name."""

NAMES_TEMPERATURE = 40.0
"""The factor on cosines of most published evaluations."""


@dataclass(frozen=True)
class Naming:
    """The names of classes, and how their scores become probabilities.

    Attributes:
        class_of_name: The class of each name, from 0.
        temperature: Factor on the scores before the softmax.
        negative: The names that are negative words of their class.

    Raises:
        RecosegError: A class has no name, or the temperature is out of range.
    """

    class_of_name: tuple[int, ...]
    temperature: float = NAMES_TEMPERATURE
    negative: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        missing = [number for number, rows in enumerate(self._rows()) if not rows]
        if missing:
            raise RecosegError(f"Expected a name of each class; class {missing[0]} has none.")
        if not 0 < self.temperature <= 1_000_000:
            raise OptionError(
                f"names_temperature is {self.temperature}; expected more than 0, such as 40."
            )

    @classmethod
    def of(cls, concepts: Sequence[Concept], temperature: float, fusion: str) -> Naming:
        """The names of concepts, in the order of `name_scores`.

        Raises:
            RecosegError: The fusion is not computed by name.
        """
        if fusion not in FUSIONS_BY_NAME:
            raise OptionError(
                f"The fusion {fusion} has no scores of single names, which --names softmax needs. "
                "Leave out --names, or choose another fusion by --fusion: "
                f"{', '.join(FUSIONS_BY_NAME)}."
            )
        classes: list[int] = []
        negative: list[int] = []
        for number, concept in enumerate(concepts):
            classes += [number] * len(concept.text_positive)
            first = len(classes)
            classes += [number] * len(concept.text_negative)
            negative += range(first, len(classes))
        return cls(tuple(classes), temperature, tuple(negative))

    def _rows(self) -> list[list[int]]:
        """The names of each class without its negative words."""
        rows: list[list[int]] = [[] for _ in range(max(self.class_of_name, default=0) + 1)]
        for name, number in enumerate(self.class_of_name):
            if name not in self.negative:
                rows[number].append(name)
        return rows

    def per_name(self, scores: Float[Tensor, "c gh gw"]) -> Float[Tensor, "m gh gw"]:
        """The scores of classes for each of their names."""
        return scores[list(self.class_of_name)]

    def probabilities(self, scores: Float[Tensor, "m h w"]) -> Float[Tensor, "m h w"]:
        """The softmax over all names of their scores times the temperature, in fp32."""
        return (scores.float() * self.temperature).softmax(0)

    def best(self, names: Float[Tensor, "m h w"]) -> Float[Tensor, "c h w"]:
        """The best of each class's names."""
        return torch.stack([names[rows].amax(0) for rows in self._rows()])


def name_scores(
    features: Float[Tensor, "n d gh gw"], names: Float[Tensor, "m d"]
) -> Float[Tensor, "n m gh gw"]:
    """Cosine of each patch with each name of all classes.

    Args:
        features: Features of the saliency encoder; they need not be normalised.
        names: The text embeddings of the names, those of `words_by_name`.
    """
    return cosines_of(features, names)


def words_by_name(concepts: Sequence[Concept]) -> Float[Tensor, "m d"]:
    """The text embeddings of concepts: each one's words, and then its negative words."""
    parts = [(concept.text_positive, concept.text_negative) for concept in concepts]
    return torch.cat([rows for both in parts for rows in both])
