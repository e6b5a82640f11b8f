"""Background in the scores that are refined: its threshold is refined as a class."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from recoseg.segmentation.label_maps import BackgroundRule


@dataclass(frozen=True)
class RefinedBackground:
    """Which pixels become background by their refined scores.

    Where scores are those of classes, a background threshold is added as a class whose score is the
    threshold everywhere. This makes the same decision as without refinement, and the edges of
    background are refined. Names are refined as probabilities, on which a threshold acts
    afterwards. Which classes are strong enough, and which pixels are ambiguous, is decided by the
    scores before refinement.

    Attributes:
        before: Which pixels become background by the scores before refinement.
        classes: Number of classes that have scores.
        by_name: Whether refined scores are those of names.
    """

    before: BackgroundRule
    classes: int
    by_name: bool

    @property
    def _level(self) -> float | None:
        return None if self.by_name else self.before.threshold

    @property
    def rule(self) -> BackgroundRule:
        """The rule for refined scores, those of the added class after the others."""
        if self._level is not None:
            return BackgroundRule(classes=(*self.before.classes, self.classes))
        return replace(self.before, ambiguity=None)

    def with_level(self, scores: Float[Tensor, "n m h w"]) -> Float[Tensor, "n _ h w"]:
        """The scores with the class of the threshold, if there is one."""
        if self._level is None:
            return scores
        shape = (len(scores), 1, *scores.shape[2:])
        return torch.cat([scores, scores.new_full(shape, self._level)], 1)

    def kept(self, kept: Bool[Tensor, " c"] | None) -> Bool[Tensor, " _"] | None:
        """The classes that a pixel can have, the added class among them; None for all."""
        if kept is None or self._level is None:
            return kept
        return torch.cat([kept, kept.new_ones(1)])
