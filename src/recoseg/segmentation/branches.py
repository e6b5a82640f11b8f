"""Branches: what gives scores to the cells of a photo, such as phi's features or a class's name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from recoseg.encoders.extract import DenseEncoder

Score = Callable[[Float[Tensor, "n d gh gw"]], Float[Tensor, "n c gh gw"]]
"""From the features of an encoder to the scores of c classes on the same grid."""


@dataclass(frozen=True, eq=False)
class Branch:
    """One source of scores, on the grid of its encoder.

    Attributes:
        name: `KIND:ENCODER`, such as `visual:dino_vits8` or `text:DenseCLIP-RN50x16`; unique among
            the branches of a segmenter. A trained model's branch is `model`.
        encoder: Describes the cells of a photo.
        score: From the encoder's features to scores.
        scored: What the scores are of, such as the concepts of a bank. Branches of the same kind,
            encoder and objects have the same scores, which are then computed once.
        helpers: Encoders whose features the encoder itself needs; see `NeedsFeatures`.
    """

    name: str
    encoder: DenseEncoder
    score: Score
    scored: tuple[object, ...]
    helpers: tuple[DenseEncoder, ...] = ()

    @property
    def kind(self) -> str:
        """The part of the name before the colon; fusion treats branches by their kind."""
        return self.name.partition(":")[0]

    @property
    def stride(self) -> int:
        """Pixels of the encoder's input per cell."""
        return self.encoder.info.stride

    @property
    def key(self) -> tuple[object, ...]:
        """What tells its scores from those of other branches."""
        return (self.kind, self.encoder.info.key, *map(id, self.scored))
