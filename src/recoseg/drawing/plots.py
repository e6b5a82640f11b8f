"""Plots by matplotlib: curves and bars, and what all plots have in common."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from recoseg.errors import MissingExtraError
from recoseg.storage.shown import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#333333"
FAINT = "#dddddd"
# Wong's colours, which the colour-blind can tell apart.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_MARKERS = "osD^vPX"
_STYLE: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib
    "text.parse_math": False,  # a dollar in a class's name is a dollar
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def curve_picture(
    xs: Sequence[float | str],
    curves: Mapping[str, Sequence[float]],
    xlabel: str,
    ylabel: str,
    *,
    dpi: int = 150,
) -> Image.Image:
    """Curves over common x values, such as mIoU over the number of retrieved images.

    Args:
        xs: The x values; words are placed at equal distances.
        curves: The values of each curve by its name, NaN where there is none. A single curve
            gets no legend.
        xlabel: Label of the x axis.
        ylabel: Label of the y axis.
        dpi: Pixels per inch.

    Returns:
        An RGB image.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """

    def draw(axes: Axes) -> None:
        for place, (name, ys) in enumerate(curves.items()):
            axes.plot(
                xs,
                ys,
                label=shown(name),
                color=_COLOURS[place % len(_COLOURS)],
                marker=_MARKERS[place % len(_MARKERS)],
                linestyle=("-", "--", ":")[place // len(_COLOURS) % 3],
                markersize=5,
                linewidth=1.8,
            )
        axes.set_xticks(_ticks(xs))
        axes.grid(color=FAINT, linewidth=0.8)
        _plain(axes, xlabel, ylabel)
        if len(curves) > 1:
            axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1.02))

    return draw_picture(5.2, 3.4, draw, dpi)


def bar_picture(
    labels: Sequence[str], values: Sequence[float], value_label: str, *, dpi: int = 150
) -> Image.Image:
    """Horizontal bars, one below the other, with their values; long labels have room.

    Args:
        labels: Labels of the bars, from top to bottom.
        values: Lengths of the bars, 0 or more; NaN for no bar.
        value_label: Label of the value axis.
        dpi: Pixels per inch.

    Returns:
        An RGB image.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """

    def draw(axes: Axes) -> None:
        places = range(len(labels))
        axes.barh(places, np.nan_to_num(values), height=0.68, color=_COLOURS[0])
        axes.set_yticks(places, list(map(shown, labels)))
        axes.set_ylim(len(labels) - 0.5, -0.5)
        for place, value in enumerate(values):
            text = "-" if np.isnan(value) else f"{value:.1f}"
            axes.annotate(
                text, (np.nan_to_num(value), place), (4, 0), textcoords="offset points", va="center"
            )
        axes.set_xlim(0, max(1e-9, 1.1 * float(np.nanmax([0.0, *values]))))
        axes.grid(axis="x", color=FAINT, linewidth=0.8)
        _plain(axes, value_label, "")
        axes.tick_params(axis="y", length=0)

    return draw_picture(5.2, 0.32 * len(labels), draw, dpi)


def _ticks(xs: Sequence[float | str]) -> list[float]:
    """The x values, without those too near the one before; words are placed at 0, 1, 2, ..."""
    numbers = [place if isinstance(x, str) else x for place, x in enumerate(xs)]
    places = sorted(set(numbers))
    kept = places[:1]
    for place in places[1:]:
        if place - kept[-1] >= 0.05 * (places[-1] - places[0]):
            kept.append(place)
    return kept


def _plain(axes: Axes, xlabel: str, ylabel: str) -> None:
    """Label the axes, put the grid behind the curves, and hide the top and right frame."""
    axes.set_axisbelow(True)
    axes.set_xlabel(xlabel, labelpad=6)
    axes.set_ylabel(ylabel, labelpad=6)
    axes.spines[["top", "right"]].set_visible(False)


def draw_picture(
    width: float, height: float, draw: Callable[[Axes], None], dpi: int
) -> Image.Image:
    """Draw on axes of this size; labels around the axes make the picture larger.

    Args:
        width: Width of the axes, inches.
        height: Height of the axes, inches.
        draw: Draws on the axes.
        dpi: Pixels per inch.

    Returns:
        An RGB image, the same for the same version of matplotlib, whatever the user's style file.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plots", "Drawing plots") from error
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        figure = Figure(figsize=(width, height), dpi=dpi)
        FigureCanvasAgg(figure)
        draw(figure.add_axes((0, 0, 1, 1)))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", bbox_inches="tight", pad_inches=0.15)
    return Image.open(buffer).convert("RGB")
