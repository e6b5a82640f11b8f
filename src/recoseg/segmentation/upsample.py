"""From score grids to pixels, strip by strip.

Cell (y, x) of an encoder with stride s covers the pixels from s y to s (y + 1) and from s x to
s (x + 1) of its input, which the encoder pads at the right and the bottom to whole cells. A grid is
therefore up-sampled bilinearly (`align_corners=False`) to the pixels of all its cells, cropped to
the input, and resized to the size of the photo if the photo was resized for the encoder. Each step
is linear and separable, so together they are one matrix for the rows and one for the columns, and
any strip of output rows can be computed alone. The same holds for the mean over windows whose grids
lie side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from recoseg.regions.axes import axis_matrix
from recoseg.segmentation.windows import Windows

ALL = slice(None)
"""All rows, or all columns."""


@dataclass(frozen=True)
class Upsampler:
    """The two matrices that up-sample a score grid to the pixels of a photo.

    Attributes:
        rows: From grid rows to photo rows.
        columns: From grid columns to photo columns.
    """

    rows: Float[Tensor, "h gh"]
    columns: Float[Tensor, "w gw"]

    @classmethod
    def build(
        cls,
        grid_hw: tuple[int, int],
        stride: int,
        input_hw: tuple[int, int],
        output_hw: tuple[int, int],
        device: torch.device | str = "cpu",
        windows: Windows | None = None,
    ) -> Upsampler:
        """Build the matrices for a grid; see `axis_matrix` for the arguments, each as (y, x).

        Args:
            grid_hw: Size of the grid; of windows, that of all their grids side by side.
            stride: Pixels of the encoder's input per cell; 0 if one cell is the whole input.
            input_hw: Size of the encoder's input.
            output_hw: Size of the photo.
            device: Where the matrices are kept.
            windows: The windows; by default one, the whole input.
        """
        windows = windows or Windows()
        rows, columns = (
            axis_matrix(
                grid_hw[axis] // len(starts),
                stride or input_hw[axis],
                input_hw[axis],
                output_hw[axis],
                starts,
                windows.tapered,
            ).to(device)
            for axis, starts in enumerate((windows.rows, windows.columns))
        )
        return cls(rows, columns)

    def strip(
        self, scores: Float[Tensor, "c gh gw"], start: int, end: int, columns: slice = ALL
    ) -> Float[Tensor, "c strip w"]:
        """Rows `start` to `end` (exclusive) of all score maps at the size of the photo.

        Args:
            scores: The grid.
            start: First row.
            end: The row after the last.
            columns: The columns of the photo; by default all.
        """
        # Only the grid rows that these photo rows depend on.
        block = self.rows[start:end]
        seen = block.abs().sum(0).nonzero()
        first, last = int(seen[0]), int(seen[-1]) + 1
        narrow = torch.matmul(block[:, first:last], scores[:, first:last])
        return torch.matmul(narrow, self.columns[columns].T)
