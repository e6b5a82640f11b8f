"""Which classes a photo holds at all: those that are too weak or too small in it are left out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from recoseg.errors import OptionError


@dataclass(frozen=True)
class PresenceRule:
    """Which classes are left out of a photo; classes that become background never are.

    Attributes:
        least_best: A class whose best score in the photo is lower is left out, on the scale of the
            fused scores. Where regions vote by their mean, that is the best mean of a region.
        least_area: Of the pixels that any class but background wins, a class has to win more than
            this share, or is left out. Classes that `least_best` leaves out win none.

    Raises:
        RecosegError: A number is out of range.
    """

    least_best: float | None = None
    least_area: float | None = None

    def __post_init__(self) -> None:
        if self.least_best is not None and not math.isfinite(self.least_best):
            raise OptionError(f"presence is {self.least_best}; expected a fused score.")
        if self.least_area is not None and not 0 <= self.least_area < 1:
            raise OptionError(
                f"area_threshold is {self.least_area}; expected 0 or more, and less than 1."
            )

    def to_json(self) -> dict[str, float]:
        """The rules that are set, as JSON fields."""
        fields = {"presence": self.least_best, "area_threshold": self.least_area}
        return {name: value for name, value in fields.items() if value is not None}

    def strong(
        self, strips: Iterable[Float[Tensor, "c _ w"]], always: Sequence[int]
    ) -> Bool[Tensor, " c"] | None:
        """The classes that are not left out for their best score; None where there is no rule.

        Args:
            strips: Fused scores of the photo.
            always: Indices of the classes that become background.
        """
        if self.least_best is None:
            return None
        kept = best_scores(strips) >= self.least_best
        kept[list(always)] = True
        return kept

    def large(
        self,
        strips: Iterable[Float[Tensor, "c _ w"]],
        always: Sequence[int],
        kept: Bool[Tensor, " c"] | None,
    ) -> Bool[Tensor, " c"] | None:
        """The classes among `kept` (None for all) that are not left out for their area.

        Args:
            strips: Scores of the photo, from which labels are made.
            always: Indices of the classes that become background.
            kept: What `strong` gave.
        """
        if self.least_area is None:
            return kept
        areas = won_areas(strips, kept)
        is_background = torch.zeros_like(areas, dtype=torch.bool)
        is_background[list(always)] = True
        foreground = areas.masked_fill(is_background, 0)
        is_large = (foreground > self.least_area * foreground.sum()) | is_background
        return is_large if kept is None else is_large & kept


@dataclass(frozen=True)
class DecidedPresence(PresenceRule):
    """Keeps the classes of which it is decided already that a photo holds them.

    Attributes:
        kept: Which classes are kept; None for all.
    """

    kept: Bool[Tensor, " c"] | None = None

    def strong(
        self, strips: Iterable[Float[Tensor, "c _ w"]], always: Sequence[int]
    ) -> Bool[Tensor, " c"] | None:
        """See `PresenceRule`."""
        return self.kept

    def large(
        self,
        strips: Iterable[Float[Tensor, "c _ w"]],
        always: Sequence[int],
        kept: Bool[Tensor, " c"] | None,
    ) -> Bool[Tensor, " c"] | None:
        """See `PresenceRule`."""
        return kept


def best_scores(strips: Iterable[Float[Tensor, "c _ w"]]) -> Float[Tensor, " c"]:
    """The best score of each class in a photo."""
    return torch.stack([scores.flatten(1).amax(1) for scores in strips]).amax(0)


def won_areas(
    strips: Iterable[Float[Tensor, "c _ w"]], kept: Bool[Tensor, " c"] | None = None
) -> Int64[Tensor, " c"]:
    """Pixels of a photo that each class wins, among those that are kept."""
    parts = []
    for scores in strips:
        winners = leave_out(scores, kept).argmax(0)
        if kept is None or bool(kept.any()):
            parts.append(torch.bincount(winners.flatten(), minlength=len(scores)))
        else:
            parts.append(torch.zeros(len(scores), dtype=torch.int64, device=scores.device))
    return torch.stack(parts).sum(0)


def leave_out(
    scores: Float[Tensor, "c h w"], kept: Bool[Tensor, " c"] | None
) -> Float[Tensor, "c h w"]:
    """Give the classes that are not kept the score -inf; None keeps all."""
    return scores if kept is None else scores.masked_fill(~kept[:, None, None], -torch.inf)


def is_ambiguous(scores: Float[Tensor, "c h w"], threshold: float) -> Bool[Tensor, "h w"]:
    """Where the two best classes are too weak or too close to each other to tell.

    That is where s1 sqrt(s1 - s2) is below the threshold, with s1 and s2 the two best scores. A
    score below 0, or one of a single class, counts as 0.

    Args:
        scores: Scores of each class.
        threshold: The smallest value of a pixel that belongs to a class. For probabilities
            0.4^1.25 = 0.318 was published.
    """
    best = scores.topk(min(2, len(scores)), dim=0).values.clamp(min=0)
    second = best[1] if len(best) == 2 else torch.zeros_like(best[0])
    return best[0] * (best[0] - second).sqrt() < threshold
