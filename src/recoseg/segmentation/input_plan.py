"""How photos go to the encoders: size, windows, batches."""

from __future__ import annotations

from dataclasses import dataclass

from recoseg import config
from recoseg.errors import OptionError
from recoseg.segmentation.windows import Windows

SMALLEST_SIDE = 8
"""Smallest side of an encoder's input or of a window, pixels: less than a cell of most encoders."""


@dataclass(frozen=True)
class InputPlan:
    """How photos go to the encoders.

    Attributes:
        short_side: Photos are resized to this short side, pixels; 0 keeps their size.
        window: Side of sliding windows over larger inputs, pixels; None for no windows.
        step: Pixels from one window to the next.
        batch_size: Photos (or windows) of equal size that are embedded together.
    """

    short_side: int
    window: int | None = None
    step: int = 0
    batch_size: int = 8

    @classmethod
    def of(
        cls, short_side: int, window: int | None, step: int | None, batch_size: int
    ) -> InputPlan:
        """A plan whose step is by default half a window.

        Raises:
            RecosegError: A number is out of range, or the windows would leave gaps.
        """
        for name, value, least in (
            ("resize", short_side, 0),
            ("batch_size", batch_size, 1),
            ("window", window, SMALLEST_SIDE),
            ("window_step", step, 1),
        ):
            if value is not None and value < least:
                raise OptionError(f"{name} is {value}; expected {least} or more.")
        if 0 < short_side < SMALLEST_SIDE:
            raise OptionError(
                f"resize is {short_side}; expected {SMALLEST_SIDE} or more, or 0 for the photo's "
                "own size."
            )
        if short_side > config.LARGEST_SIDE:
            raise OptionError(f"resize is {short_side}; expected {config.LARGEST_SIDE:,} or less.")
        if window is None and step is not None:
            raise OptionError(
                "window_step would have no effect without windows. Add --window, or leave it out."
            )
        if window is None:
            return cls(short_side, batch_size=batch_size)
        step = max(1, window // 2) if step is None else step
        if step > window:
            raise OptionError(
                f"window_step is {step} and window {window}; windows would leave gaps. Expected "
                "a step of at most a window."
            )
        return cls(short_side, window, step, batch_size)

    def windows(self, input_hw: tuple[int, int]) -> Windows:
        """The windows over photos whose input has this size, pixels."""
        return Windows() if self.window is None else Windows.over(input_hw, self.window, self.step)
