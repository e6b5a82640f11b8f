"""How photos go to the encoders: size, windows, batches."""

from __future__ import annotations

from dataclasses import dataclass

from recoseg import config
from recoseg.errors import RecosegError


@dataclass(frozen=True)
class InputPlan:
    """How photos go to the encoders.

    Attributes:
        short_side: Photos are resized to this short side, pixels; 0 keeps their size.
        window: Side of sliding windows over larger inputs, pixels, a multiple of the cells of all
            encoders; None for no windows.
        step: Pixels from one window to the next, also a multiple of the cells.
        batch_size: Photos (or windows) of equal size that are embedded together.
    """

    short_side: int
    window: int | None = None
    step: int = 0
    batch_size: int = 8

    @classmethod
    def of(
        cls, short_side: int, window: int | None, step: int | None, batch_size: int, cell: int
    ) -> InputPlan:
        """A plan in whole cells: windows are rounded up, steps are rounded down."""
        if window is None:
            return cls(short_side, batch_size=batch_size)
        window = -(-window // cell) * cell
        step = max(1, min(step or window // 2, window) // cell) * cell
        return cls(short_side, window, step, batch_size)


def check_plan(short_side: int, window: int | None, step: int | None, batch_size: int) -> None:
    """Check the arguments of `InputPlan.of`.

    Raises:
        RecosegError: A number is out of range.
    """
    for name, value, least in (
        ("resize", short_side, 0),
        ("batch_size", batch_size, 1),
        ("window", window, 1),
        ("window_step", step, 1),
    ):
        if value is not None and value < least:
            raise RecosegError(f"{name} is {value}; expected {least} or more.")
    if short_side > config.LARGEST_SIDE:
        raise RecosegError(f"resize is {short_side}; expected {config.LARGEST_SIDE:,} or less.")
