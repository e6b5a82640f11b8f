"""Which of many classes are looked for in a photo at all, by a preview of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Preview:
    """Which classes of a long list are looked for in a photo: those whose presence stands out.

    A smaller copy of the photo tells, without any masks, how likely it shows each class. Classes
    that are not looked for get 0 everywhere.

    Source: ActiveSAM's published settings.

    Attributes:
        above: Lists of more classes than this are previewed; shorter ones never are.
        side: Side of the smaller copy, pixels; at most that of the model's input.
        quantile: Classes are kept whose presence reaches this quantile of the presences of all
            classes in the photo, 0 to 1.
        most: Classes that are kept at most, the likeliest ones.
    """

    above: int = 40
    side: int = 672
    quantile: float = 0.8
    most: int = 40

    def is_used(self, classes: int) -> bool:
        """Whether a list of so many classes is previewed."""
        return classes > self.above

    def to_json(self, classes: int) -> dict[str, Any]:
        """What decides the scores of a list of classes, as JSON fields; none without a preview."""
        return {"preview": asdict(self)} if self.is_used(classes) else {}

    def chosen(self, presence: Float[Tensor, " c"]) -> list[int]:
        """The classes that are looked for, in their order.

        Args:
            presence: How likely the photo shows each class, 0 to 1. Of equal ones the first is
                kept where there are too many.

        Example:
            >>> rule = Preview(above=3, quantile=0.5, most=2)
            >>> rule.chosen(torch.tensor([0.1, 0.9, 0.2, 0.8, 0.7]))
            [1, 3]
        """
        values = presence.double()  # in single precision the quantile can be just above its value
        likely = values >= torch.quantile(values, self.quantile)
        best = torch.argsort(values, descending=True, stable=True)
        return sorted(best[likely[best]][: self.most].tolist())
