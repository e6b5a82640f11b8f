"""Branches: what gives scores to the cells of a photo, such as phi's features or a class's name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from recoseg.encoders.extract import DenseEncoder

Score = Callable[..., Float[Tensor, "n c gh gw"]]
"""From the features (n, d, gh, gw) of an encoder, and those of further ones on grids of their own,
to the scores of c classes on the first grid."""

FEATURES = "features"
"""The kind of branches that hand on the features of phi instead of scoring them."""


@dataclass(frozen=True, eq=False)
class Branch:
    """One source of scores, on the grid of its encoder.

    Attributes:
        name: `KIND:ENCODER`, such as `visual:dino_vits8` or `text:DenseCLIP-RN50x16`; unique among
            the branches of a segmenter. That of a region memory is `memory`, a trained model's
            `model`. A branch of the kind `photo` has one cell, the whole photo.
        encoder: Describes the cells of a photo.
        score: From the encoder's features to scores.
        scored: What the scores are of, such as the concepts of a bank. Branches of the same kind,
            encoder and objects have the same scores, which are then computed once.
        helpers: Encoders whose features the encoder itself needs; see `NeedsFeatures`.
        others: Further encoders whose features are scored.
    """

    name: str
    encoder: DenseEncoder
    score: Score
    scored: tuple[object, ...]
    helpers: tuple[DenseEncoder, ...] = ()
    others: tuple[DenseEncoder, ...] = ()

    @property
    def kind(self) -> str:
        """The part of the name before the colon; fusion treats branches by their kind."""
        return self.name.partition(":")[0]

    @property
    def stride(self) -> int:
        """Pixels of the encoder's input per cell; 0 where the whole photo is one cell."""
        return self.encoder.info.stride

    @property
    def scored_encoders(self) -> tuple[DenseEncoder, ...]:
        """The encoders whose features are scored."""
        return (self.encoder, *self.others)

    @property
    def dim(self) -> int:
        """Length of the features that are scored, all encoders together."""
        return sum(encoder.info.dim for encoder in self.scored_encoders)

    @property
    def key(self) -> tuple[object, ...]:
        """What tells its scores from those of other branches."""
        keys = [encoder.info.key for encoder in self.scored_encoders]
        return (self.kind, *keys, *map(id, self.scored))
