"""Reading films frame by frame by PyAV, within bounds: one frame is in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from recoseg.errors import BadImageError, MissingExtraError
from recoseg.storage.counts import count_of
from recoseg.storage.reading import open_regular, why

FORMATS = (
    *("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpegts", "mpeg"),
    *("flv", "ogg", "asf", "ivf", "h264", "hevc"),
)
"""The formats that are read, as FFmpeg calls them. Lists that name other files or addresses, such
as HLS, are not among them."""

MAX_PIXELS = 36_000_000
"""Largest number of pixels of a frame; 8K has 33 million."""

_PATIENCE = 0.5
"""So many seconds may be missing at the end, where sound may go on after the last frame."""


def av_package() -> Any:
    """The package that reads and writes films.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingExtraError("av", "video", "Reading films") from error
    return av


class Film:
    """An open film; see `open_film`.

    Attributes:
        count: How many frames it says that it has; None if it does not.
        rate: Frames per second on average; None if that is not known.
        lasts: How long it says that it lasts, seconds; 0 if it does not.
        damaged: How many packets could not be decoded so far.
        mended: How many frames the decoder has mended so far.
        end: Why reading ended early; empty where it did not.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        self._container, self._stream = container, stream
        self.count: int | None = stream.frames or None
        self.rate: float | None = float(stream.average_rate) if stream.average_rate else None
        self.lasts = _seconds(stream) or (container.duration or 0) / av_package().time_base
        self.damaged = self.mended = 0
        self.end = ""
        self._last = 0.0

    def frames(self, start: int = 0) -> Iterator[tuple[float | None, Image.Image | None]]:
        """The frames in the order in which they are shown, upright.

        Args:
            start: Frames before this one are decoded, since others are built on them, but come
                without pixels.

        Yields:
            The time of each frame in seconds from the start of the film, None if it is not known;
            and its picture, RGB, None if its colours cannot be read.
        """
        for number, frame in enumerate(self._decoded()):
            self.mended += bool(frame.is_corrupt)
            shown = float((frame.duration or 0) * (frame.time_base or 0))
            self._last = max(self._last, (frame.time or 0.0) + shown)
            picture = None if number < start else _upright(frame)
            yield frame.time, picture

    def _decoded(self) -> Iterator[Any]:
        av = av_package()
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.FFmpegError, OSError) as error:
                self.end = _reason(error)
                return
            try:
                yield from packet.decode()
            except av.FFmpegError:
                self.damaged += 1

    @property
    def notes(self) -> list[str]:
        """What was wrong with the film, in sentences."""
        notes = []
        if self.damaged:
            notes.append(
                f"{count_of(self.damaged, 'packets')} could not be decoded, so frames are missing."
            )
        if self.mended:
            frames = count_of(self.mended, "frames", "are")
            notes.append(f"{frames} damaged, and masks may be wrong there.")
        if self.end:
            notes.append(f"Reading ended early: {self.end}.")
        if self._last + _PATIENCE < self.lasts:
            notes.append(
                f"The frames end at {self._last:.1f} s, but the film says that it lasts "
                f"{self.lasts:.1f} s; the rest may be missing."
            )
        return notes


@contextmanager
def open_film(path: Path) -> Iterator[Film]:
    """Open a film to read its frames.

    Args:
        path: A local file in one of the `FORMATS`.

    Raises:
        MissingExtraError: PyAV is not installed.
        BadImageError: The file is no film, is damaged, or has frames that are too large; the
            message is the reason.
    """
    av = av_package()
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open_regular(path))
            # A file object instead of a name: no name is taken for an address.
            container = stack.enter_context(
                av.open(file, options={"format_whitelist": ",".join(FORMATS)})
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            raise BadImageError(
                f"cannot be read as a film: {_reason(error)}. Expected a whole file, such as .mp4, "
                ".mov, .mkv, .webm or .avi"
            ) from error
        if not container.streams.video:
            raise BadImageError("holds no pictures; expected a film")
        able = [one for one in container.streams.video if one.codec_context is not None]
        if not able:
            raise BadImageError("has a codec that PyAV cannot decode; save it with another one")
        stream = able[0]
        check_frame(stream.codec_context.width, stream.codec_context.height)
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}  # frames may say otherwise
        yield Film(container, stream)


def check_frame(width: int, height: int) -> None:
    """Refuse frames that are too large.

    Raises:
        BadImageError: A frame has more than `MAX_PIXELS` pixels.
    """
    if width * height > MAX_PIXELS:
        raise BadImageError(
            f"has frames of {width} x {height} pixels; expected at most {MAX_PIXELS:,} pixels. "
            "Make it smaller first"
        )


def turned(pixels: np.ndarray, degrees: int) -> np.ndarray:
    """A picture turned counter-clockwise by the nearest number of quarters.

    Example:
        >>> turned(np.array([[1, 2]]), 90).tolist()
        [[2], [1]]
    """
    return np.ascontiguousarray(np.rot90(pixels, round(degrees / 90)))


def _seconds(stream: Any) -> float:
    """How long a stream says that it lasts; 0 if it does not."""
    return float((stream.duration or 0) * (stream.time_base or 0))


def _upright(frame: Any) -> Image.Image | None:
    try:
        pixels = frame.to_ndarray(format="rgb24")
    except (av_package().FFmpegError, ValueError, MemoryError):  # a form that it cannot convert
        return None
    return Image.fromarray(turned(pixels, frame.rotation))


def _reason(error: BaseException) -> str:
    """What went wrong, in the library's words without its numbers."""
    return getattr(error, "strerror", None) or why(error)
