"""How the learning rate falls and how far the moving average looks back."""

from __future__ import annotations


def polynomial_decay(step: int, steps: int, power: float) -> float:
    """Factor on the learning rate before step `step` of `steps`: (1 - step / steps) ** power.

    Example:
        >>> [round(polynomial_decay(step, 20_000, 0.9), 4) for step in (0, 10_000, 19_999)]
        [1.0, 0.5359, 0.0001]
    """
    return float(max(0.0, 1.0 - step / steps) ** power)


def average_decay(updates: int, decay: float) -> float:
    """Share that the moving average keeps at its next update.

    The first ones keep less, so that the random start is forgotten: min(decay, (1 + n) / (10 + n))
    after n updates.

    Example:
        >>> average_decay(0, 0.999), average_decay(10**6, 0.999)
        (0.1, 0.999)
    """
    return min(decay, (1 + updates) / (10 + updates))
