"""A film to look at: the frames with their masks painted over them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

from PIL import Image, ImageDraw

from recoseg.drawing.fonts import load_font
from recoseg.drawing.overlay import paint_classes
from recoseg.errors import OutputError
from recoseg.labels import Segmentation, nearest_labels
from recoseg.storage.atomic import write_atomically
from recoseg.video.film import av_package

PREVIEWS = "previews"
"""The folder within an output folder that holds the previews."""

LONG_SIDE = 960
"""Longest side of a preview, pixels."""

PHOTOS_PER_SECOND = 10
"""How fast photos are shown."""

_TICKS = 1000  # per second: times are kept to a millisecond
_CODECS = ("libx264", "mpeg4")  # the first that PyAV was built with


def painted(
    image: Image.Image, found: Segmentation, instances: Iterable[Mapping[str, Any]] = ()
) -> Image.Image:
    """A frame with its classes painted over it, and the identities of its instances.

    Args:
        image: The frame.
        found: Its label map.
        instances: Its instances, with `id` and `box` (left, top, width, height in pixels).

    Returns:
        An RGB image of at most `LONG_SIDE`, with even sides, as films need them.
    """
    scale = min(1.0, LONG_SIDE / max(image.size))
    width, height = (max(2, int(side * scale) // 2 * 2) for side in image.size)
    small = Segmentation(nearest_labels(found.labels, (height, width)), found.names, found.palette)
    overlay = paint_classes(image.resize((width, height)), small)
    size = max(12, round(max(width, height) / 48))
    draw, font = ImageDraw.Draw(overlay), load_font(size)
    across, down = width / image.width, height / image.height
    for one in instances:
        left, top, w, h = one["box"]
        place = ((left + w / 2) * across, (top + h / 2) * down)
        text = f"{one['id']}"
        draw.text(place, text, "white", font, anchor="mm", stroke_width=1, stroke_fill="black")
    return overlay


def write_preview(path: Path, pictures: Iterable[tuple[float | None, Image.Image]]) -> None:
    """Write pictures as a film (MP4), whole or not at all.

    Args:
        path: The file.
        pictures: The pictures with their times in seconds; those without a time follow at an even
            pace. All are shown at the size of the first one.

    Raises:
        MissingExtraError: PyAV is not installed.
        OutputError: The file cannot be written.
    """
    try:
        write_atomically(path, lambda file: _write(file, pictures))
    except OSError as error:
        raise OutputError(
            f"Cannot write {path}: {error.strerror or error}. The masks are complete; remove the "
            "cause and run the command again with --resume."
        ) from error


def remove_previews(folder: Path) -> None:
    """Remove the previews from an output folder."""
    for path in (folder / PREVIEWS).glob("**/*.mp4"):
        path.unlink()
    with suppress(OSError):  # it does not exist, or holds files of others
        (folder / PREVIEWS).rmdir()


def _write(file: IO[bytes], pictures: Iterable[tuple[float | None, Image.Image]]) -> None:
    av = av_package()
    with av.open(file, "w", format="mp4") as container:
        stream, last = None, -1
        for seconds, picture in pictures:
            if stream is None:
                stream = container.add_stream(_codec(av), rate=25)
                stream.width, stream.height = picture.size
                stream.pix_fmt = "yuv420p"
                stream.codec_context.time_base = stream.time_base = Fraction(1, _TICKS)
            frame = av.VideoFrame.from_image(picture.resize((stream.width, stream.height)))
            pace = _TICKS // PHOTOS_PER_SECOND
            last = max(last + 1, last + pace if seconds is None else round(seconds * _TICKS))
            frame.pts, frame.time_base = last, Fraction(1, _TICKS)
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode())


def _codec(av: Any) -> str:
    """The name of a codec that PyAV can write."""
    for name in _CODECS[:-1]:
        with suppress(ValueError):  # it was built without it
            return str(av.codec.Codec(name, "w").name)
    return _CODECS[-1]
