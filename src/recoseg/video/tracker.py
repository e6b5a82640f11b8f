"""What follows instances through the frames of a film."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float, Integer
from PIL import Image
from torch import Tensor
from torch.nn import functional as F


class Tracker(Protocol):
    """Follows instances: it sees each frame once, in order."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What decides its masks, as JSON fields."""

    def see(self, image: Image.Image) -> None:
        """Look at the next frame, RGB."""

    def begin(self, parts: Integer[np.ndarray, "h w"], count: int) -> None:
        """Follow other instances from the frame that was seen last, and forget all before.

        Args:
            parts: The instance of each pixel of that frame, from 1 to `count`; 0 for none.
            count: The number of instances.
        """

    def masks(self) -> Float[Tensor, "n a b"]:
        """Where the instances are in the frame that was seen last, as logits.

        The grid (a, b) lies over the whole frame. Each frame is asked for at most once, and not
        the one that `begin` was called on.
        """


def parts_of(masks: Float[Tensor, "n a b"], size: tuple[int, int]) -> Integer[np.ndarray, "h w"]:
    """The instance of each pixel: the one of the highest logit, or 0 where none is above 0.

    Args:
        masks: Logits of each instance over the whole frame, on any grid.
        size: Height and width of the frame, pixels.

    Example:
        >>> parts_of(torch.tensor([[[3.0, -2.0, 1.0]], [[2.0, -1.0, 2.0]]]), (1, 3)).tolist()
        [[1, 0, 2]]
    """
    best = torch.zeros(size, device=masks.device)
    found = torch.zeros(size, dtype=torch.int32, device=masks.device)
    for number, mask in enumerate(masks.float(), start=1):  # one after the other: less memory
        grown = F.interpolate(mask[None, None], size, mode="bilinear", align_corners=False)[0, 0]
        wins = grown > best
        best = torch.where(wins, grown, best)
        found[wins] = number
    return found.cpu().numpy()
