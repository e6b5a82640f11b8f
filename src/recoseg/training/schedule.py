"""The schedules of the learning rate and of the moving average."""

from __future__ import annotations


def polynomial_decay(step: int, steps: int, power: float) -> float:
    """Factor on the learning rate before step `step` of `steps`: (1 - step / steps) ** power.

    Example:
        >>> [round(polynomial_decay(step, 20_000, 0.9), 4) for step in (0, 10_000, 19_999)]
        [1.0, 0.5359, 0.0001]
    """
    return float(max(0.0, 1.0 - step / steps) ** power)


def average_decay(updates: int, decay: float) -> float:
    """Fraction that the moving average keeps at its next update.

    The first updates keep less, so that the initial weights are soon forgotten: after n updates
    it is min(decay, (1 + n) / (10 + n)).

    Example:
        >>> average_decay(0, 0.999), average_decay(10**6, 0.999)
        (0.1, 0.999)
    """
    return min(decay, (1 + updates) / (10 + updates))
