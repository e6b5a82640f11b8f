"""Names compete: the scores of all names of all classes become probabilities, the best one counts.

A class may have several names. With `cosine` its text score is the best cosine of its names (see
`recoseg.classes.combine_names`). With `softmax`, the rule of most published evaluations of
open-vocabulary segmentation, scores are kept by name until they are at the pixels. There they
become probabilities by a softmax over all names of all classes, and the probability of a class is
that of its best name. Those of a pixel need not add up to 1.

Scores that belong to a class as a whole, such as the visual one, count for each of its names: the
logit of a name is the temperature times what the fusion makes of the class's visual score and the
name's own text score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from recoseg.concepts import Concept
from recoseg.errors import RecosegError

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

    Raises:
        RecosegError: A class has no name, or the temperature is out of range.
    """

    class_of_name: tuple[int, ...]
    temperature: float = NAMES_TEMPERATURE

    def __post_init__(self) -> None:
        missing = set(range(max(self.class_of_name, default=0) + 1)) - set(self.class_of_name)
        if missing:
            raise RecosegError(f"Expected a name of each class; class {min(missing)} has none.")
        if not 0 < self.temperature <= 1_000_000:
            raise RecosegError(
                f"names_temperature is {self.temperature}; expected more than 0, such as 40."
            )

    @classmethod
    def of(cls, concepts: Sequence[Concept], temperature: float, fusion: str) -> Naming:
        """The names of concepts.

        Raises:
            RecosegError: A concept has negative words, or the fusion is not computed by name.
        """
        if fusion not in FUSIONS_BY_NAME:
            raise RecosegError(
                f"The fusion {fusion} has no scores by name, over which --names softmax could be "
                f"taken. Choose one of {', '.join(FUSIONS_BY_NAME)} (--fusion), or leave out "
                "--names."
            )
        negative = [concept.name for concept in concepts if len(concept.text_negative)]
        if negative:
            raise RecosegError(
                f"--names softmax has no rule for negative words, which these classes have: "
                f"{', '.join(negative)}. Learn them without, or leave out --names."
            )
        counts = [len(concept.text_positive) for concept in concepts]
        names = (number for number, count in enumerate(counts) for _ in range(count))
        return cls(tuple(names), temperature)

    def per_name(self, scores: Float[Tensor, "c gh gw"]) -> Float[Tensor, "m gh gw"]:
        """The scores of classes for each of their names."""
        return scores[list(self.class_of_name)]

    def probabilities(self, scores: Float[Tensor, "m h w"]) -> Float[Tensor, "m h w"]:
        """The softmax over all names of their scores times the temperature, in fp32."""
        return (scores.float() * self.temperature).softmax(0)

    def best(self, names: Float[Tensor, "m h w"]) -> Float[Tensor, "c h w"]:
        """The best of each class's names."""
        rows: list[list[int]] = [[] for _ in range(max(self.class_of_name) + 1)]
        for name, number in enumerate(self.class_of_name):
            rows[number].append(name)
        return torch.stack([names[row].amax(0) for row in rows])


def name_scores(
    features: Float[Tensor, "n d gh gw"], names: Sequence[Float[Tensor, "_ d"]]
) -> Float[Tensor, "n m gh gw"]:
    """Cosine of each patch with each name of all classes.

    Args:
        features: Features of the saliency encoder.
        names: The text embeddings of the names of each class.
    """
    unit = torch.nn.functional.normalize(features.float(), dim=1)
    rows = torch.cat(list(names)).to(features.device, torch.float32)
    return torch.einsum("ndhw,md->nmhw", unit, torch.nn.functional.normalize(rows, dim=1))
