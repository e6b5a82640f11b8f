"""Windows at any pixel, whose scores are added up at pixels.

Windows of `recoseg.segmentation.windows` begin at whole cells, and their scores are averaged on
the grid. These begin where the published evaluations of open-vocabulary segmentation let them
begin, whatever the encoders' cells: scores are up-sampled to the window's pixels first.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from recoseg.errors import RecosegError
from recoseg.segmentation.windows import Box


def slide_starts(length: int, crop: int, step: int) -> list[int]:
    """The first pixel of each window along one axis.

    The last window is shifted back so that it ends with the axis.

    Example:
        >>> slide_starts(90, 64, 32)
        [0, 26]
        >>> slide_starts(50, 64, 32)
        [0]
    """
    if crop < 1 or step < 1 or step > crop:
        raise RecosegError(f"Expected 1 <= step <= crop; got step {step}, crop {crop}.")
    last = max(0, length - crop)
    return [*range(0, last, step), last]


def slide_boxes(photo_hw: tuple[int, int], crop: int, step: int) -> list[Box]:
    """All windows of a photo, row by row; a smaller photo is one window of its own size.

    Args:
        photo_hw: Size of the encoders' input, pixels.
        crop: Side of a window, pixels.
        step: Pixels from one window to the next.
    """
    height, width = photo_hw
    return [
        Box(y, min(y + crop, height), x, min(x + crop, width))
        for y in slide_starts(height, crop, step)
        for x in slide_starts(width, crop, step)
    ]


class PixelMean:
    """Mean of the scores of overlapping windows at the pixels of the encoders' input.

    Args:
        classes: Number of classes (or names) c.
        photo_hw: Size of the encoders' input, pixels.
        device: Where the scores are kept: 4 c h w bytes.
    """

    def __init__(
        self, classes: int, photo_hw: tuple[int, int], device: torch.device | str = "cpu"
    ) -> None:
        self._total = torch.zeros(classes, *photo_hw, device=device)
        self._count = torch.zeros(photo_hw, device=device)

    def add(
        self, scores: Float[Tensor, "c gh gw"], box: Box, padded: tuple[int, int] | None = None
    ) -> None:
        """Bring the scores of a window to its pixels bilinearly, and add them.

        Args:
            scores: Scores on the window's grid.
            box: The window.
            padded: Size to which the encoder pads the window at the right and the bottom, pixels;
                None if the grid covers the window and nothing else.
        """
        height, width = box.y1 - box.y0, box.x1 - box.x0
        pixels = F.interpolate(
            scores[None].float(), padded or (height, width), mode="bilinear", align_corners=False
        )[0]
        self._total[:, box.y0 : box.y1, box.x0 : box.x1] += pixels[:, :height, :width]
        self._count[box.y0 : box.y1, box.x0 : box.x1] += 1

    def mean(self, output_hw: tuple[int, int] | None = None) -> Float[Tensor, "c h w"]:
        """The mean at each pixel, then bilinear to the size of the original photo.

        Args:
            output_hw: Size of the original photo; None for that of the encoders' input.

        Raises:
            RecosegError: A pixel is in no window.
        """
        if not bool((self._count > 0).all()):
            raise RecosegError(
                "Some pixels are not in any window; expected windows that cover the whole photo."
            )
        mean = self._total / self._count
        if output_hw is None or output_hw == tuple(mean.shape[1:]):
            return mean
        return F.interpolate(mean[None], output_hw, mode="bilinear", align_corners=False)[0]
