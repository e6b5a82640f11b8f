"""What the fused scores of a photo decide before they are refined."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from recoseg.segmentation.presence import is_ambiguous, leave_out


class Unrefined:
    """Collects, part by part, what is needed of the scores before refinement.

    Args:
        output_hw: Size of the photo, pixels.
        named: Number of classes whose scores are kept.
        ambiguity: See `BackgroundRule`.
        kept: The classes that are strong enough; None for all.

    Attributes:
        output_hw: Size of the photo, pixels.
        kept: The classes that are strong enough; None for all.
        unclear: Pixels that are ambiguous; None without such a rule.
        scores: The scores, fp16; None if none are kept.
    """

    def __init__(
        self,
        output_hw: tuple[int, int],
        named: int,
        ambiguity: float | None,
        kept: Bool[Tensor, " c"] | None,
    ) -> None:
        self.output_hw, self.kept = output_hw, kept
        self._ambiguity = ambiguity
        self.unclear = None if ambiguity is None else np.zeros(output_hw, bool)
        self.scores = np.empty((named, *output_hw), np.float16) if named else None

    @property
    def looks(self) -> bool:
        """Whether anything is needed of the scores."""
        return self.unclear is not None or self.scores is not None

    def see(self, rows: slice, columns: slice, fused: Float[Tensor, "c r w"]) -> None:
        """Take what is needed of a part.

        Args:
            rows: Where the part lies.
            columns: Where the part lies.
            fused: Its scores of classes.
        """
        if self._ambiguity is not None and self.unclear is not None:
            is_unclear = is_ambiguous(leave_out(fused, self.kept), self._ambiguity)
            self.unclear[rows, columns] = is_unclear.cpu().numpy()
        if self.scores is not None:
            own = fused[: len(self.scores)].half()
            self.scores[:, rows, columns] = own.cpu().numpy()
