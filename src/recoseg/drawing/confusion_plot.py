"""The confusion matrix as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64
from PIL import Image

from recoseg.drawing.plots import FAINT, INK, draw_picture
from recoseg.storage.shown import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_WITH_NUMBERS = 40
_LARGE_CELL, _SMALL_CELL = 0.36, 0.1  # inches


def confusion_picture(
    counts: Int64[np.ndarray, "c c+1"], names: Sequence[str], *, dpi: int = 150
) -> Image.Image:
    """The confusion matrix, each row as shares of the true class.

    With up to 40 classes the cells show the shares in per cent. Rows of classes that are not in
    the truth are grey. The column of pixels without a prediction is shown where there are any.

    Args:
        counts: Rows are true classes, columns predicted ones and none.
        names: Names of the classes.
        dpi: Pixels per inch; the size in inches grows with the number of classes.

    Returns:
        An RGB image.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    classes = len(names)
    names = list(map(shown, names))
    columns = [*names, "(no prediction)"] if counts[:, -1].any() else list(names)
    true = counts.sum(1, keepdims=True)
    shares = np.divide(counts, true, out=np.full(counts.shape, np.nan), where=true > 0)
    shares = shares[:, : len(columns)]
    cell = min(_LARGE_CELL, max(_SMALL_CELL, _LARGE_CELL * _MOST_WITH_NUMBERS / classes))
    size = 72 * min(0.14, 0.85 * cell)  # points
    width, height = len(columns) * cell, classes * cell
    large = 72 * max(0.16, 0.02 * height)
    ticks = [0, 0.01, 0.05, 0.1, 0.25, 0.5, 1] if height > 2 else [0, 0.1, 0.5, 1]

    def draw(axes: Axes) -> None:
        from matplotlib.colors import PowerNorm

        # On the root's scale, confusions of a few per cent, which are many together, are seen.
        norm = PowerNorm(0.5, 0, 1)
        shown = axes.imshow(shares, cmap="Blues", norm=norm, aspect="auto", interpolation="none")
        axes.set_facecolor("#e8e8e8")
        axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=size)
        axes.set_yticks(range(classes), names, fontsize=size)
        axes.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(classes + 1) - 0.5, minor=True)
        axes.grid(which="minor", color=FAINT, linewidth=1.4 * cell)
        axes.tick_params(which="both", length=0)
        axes.spines[:].set_color(FAINT)
        axes.set_xlabel("predicted", fontsize=large, labelpad=large / 2)
        axes.set_ylabel("true", fontsize=large, labelpad=large / 2)
        if classes <= _MOST_WITH_NUMBERS:
            _write_shares(axes, shares, 0.85 * size)
        beside = axes.inset_axes((1 + 0.2 / width, 0, max(0.12 / width, 0.012), 1))
        bar = axes.figure.colorbar(shown, cax=beside, ticks=ticks)
        bar.ax.set_yticklabels([f"{100 * tick:g} %" for tick in ticks], fontsize=0.7 * large)
        bar.outline.set_visible(False)

    return draw_picture(width, height, draw, dpi)


def _write_shares(axes: Axes, shares: np.ndarray, size: float) -> None:
    """Write per cent into the cells; cells that would be rounded to 0 stay empty."""
    for (row, column), share in np.ndenumerate(np.nan_to_num(shares)):
        if share >= 0.005:
            colour = "white" if share > 0.3 else INK
            text = f"{100 * share:.0f}"
            axes.text(column, row, text, color=colour, fontsize=size, ha="center", va="center")
