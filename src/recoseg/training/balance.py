"""How many pixels each class has in a folder of pseudo-labels, before and after ignoring.

The table is formatted here: `tabulate` would be a dependency for the sake of ten lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ClassBalance:
    """The pixels of one class.

    Attributes:
        name: Name of the class.
        photos: Number of photos with a pixel of the class, before ignoring.
        pixels: Pixels before ignoring.
        kept: Pixels after ignoring.
        least_confidence: Pixels with less confidence are ignored; 0 if none are.
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
    """The balance of all classes, from arrays of one number per class; `least` in levels."""
    return tuple(
        ClassBalance(
            name, int(photos[i]), int(pixels[i]), int(kept[i]), round(float(least[i]) / 255, 6)
        )
        for i, name in enumerate(names)
    )


def balance_table(
    balance: Sequence[ClassBalance], background: int, rest: str = "(background)"
) -> str:
    """The balance as a text table, the most frequent class first.

    Args:
        balance: All classes.
        background: Pixels without a class before ignoring.
        rest: What these are called.

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
    lines.append(f"{rest:<{width}}  {'':>6}  {background:>15,}  {_share(background, whole):>7}")
    lines.append(
        f"{'all':<{width}}  {'':>6}  {whole:>15,}  {'':>7}  {kept:>15,}  {'':>7}  "
        f"{_share(kept, whole):>8}"
    )
    return "\n".join(lines)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"
