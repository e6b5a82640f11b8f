"""How many pixels each class has in a folder of pseudo-labels, before and after ignoring.

The table is formatted here: `tabulate` would be a dependency for the sake of ten lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ClassBalance:
    """One class.

    Attributes:
        name: What it is called.
        photos: In how many photos it has a pixel, before ignoring.
        pixels: Its pixels before ignoring.
        kept: Its pixels after.
        least_confidence: Its pixels of less confidence are ignored; 0 where none is.
    """

    name: str
    photos: int
    pixels: int
    kept: int
    least_confidence: float = 0.0


def class_balance(
    names: Sequence[str],
    photos: np.ndarray,
    pixels: np.ndarray,
    kept: np.ndarray,
    least: np.ndarray,
) -> tuple[ClassBalance, ...]:
    """The balance of all classes, from one number per class each; `least` in levels."""
    return tuple(
        ClassBalance(
            name, int(photos[i]), int(pixels[i]), int(kept[i]), round(float(least[i]) / 255, 6)
        )
        for i, name in enumerate(names)
    )


def balance_table(balance: Sequence[ClassBalance], background: int) -> str:
    """The balance as a table in text, the most frequent class first.

    Args:
        balance: All classes.
        background: Pixels that had no class from the start.

    Example:
        >>> balance = [ClassBalance("sky", 2, 60, 30), ClassBalance("cow", 1, 20, 20)]
        >>> print(balance_table(balance, 0))
        class         photos           pixels    share             kept    share  of class
        sky                2               60    75.0%               30    60.0%     50.0%
        cow                1               20    25.0%               20    40.0%    100.0%
        (background)                        0     0.0%
        all                                80                        50              62.5%
    """
    pixels = sum(item.pixels for item in balance)
    kept = sum(item.kept for item in balance)
    whole = pixels + background
    width = max(12, *(len(item.name) for item in balance))
    lines = [
        f"{'class':<{width}}  {'photos':>6}  {'pixels':>15}  {'share':>7}  {'kept':>15}  "
        f"{'share':>7}  {'of class':>8}"
    ]
    lines += [
        f"{item.name:<{width}}  {item.photos:>6,}  {item.pixels:>15,}  "
        f"{_share(item.pixels, whole):>7}  {item.kept:>15,}  {_share(item.kept, kept):>7}  "
        f"{_share(item.kept, item.pixels):>8}"
        for item in sorted(balance, key=lambda item: -item.pixels)
    ]
    lines.append(
        f"{'(background)':<{width}}  {'':>6}  {background:>15,}  {_share(background, whole):>7}"
    )
    lines.append(
        f"{'all':<{width}}  {'':>6}  {whole:>15,}  {'':>7}  {kept:>15,}  {'':>7}  "
        f"{_share(kept, whole):>8}"
    )
    return "\n".join(lines)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"
