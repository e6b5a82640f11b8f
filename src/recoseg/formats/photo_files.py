"""The photos beside label maps in other formats: copies, or links, as the tools see photos."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from recoseg.errors import BadImageError
from recoseg.photos.filesystems import is_url
from recoseg.photos.images import decode_image
from recoseg.photos.opening import ORIENTATION_TAG, open_image
from recoseg.photos.reading import read_photo
from recoseg.photos.refs import Photo

_SUFFIXES = {"JPEG": (".jpg", ".jpeg"), "PNG": (".png",)}
"""Formats that every tool reads, and their suffixes, the usual one first."""

_MODES = ("L", "RGB")
_QUALITY = 95


@dataclass(frozen=True)
class PhotoFile:
    """The file of a photo.

    Attributes:
        suffix: Its suffix, with the dot.
        data: Its content; None where it is not needed.
        source: The local file with this very content; None where there is none.
    """

    suffix: str = ".jpg"
    data: bytes | None = None
    source: Path | None = None

    def named(self, name: str) -> str:
        """The name of the file, given the name without suffix."""
        return f"{name}{self.suffix}"


def name_only(path: str) -> PhotoFile:
    """The file of a photo that is not read, of which only the suffix is known."""
    return PhotoFile(Path(path).suffix)


def photo_file(path: str, size: tuple[int, int], *, only_jpeg: bool = False) -> PhotoFile:
    """Read a photo as a file that every tool shows as recoseg sees it.

    An upright JPEG or PNG of 8 bits, in colour or grey, stays as it is, byte by byte. Other photos,
    such as those that EXIF turns, are decoded and encoded again, as PNG or JPEG.

    Args:
        path: A path, URL or `shard.tar::member`.
        size: Height and width of its label map.
        only_jpeg: Whether it has to be a JPEG.

    Raises:
        BadImageError: It cannot be read, or is not of the size of its label map.
    """
    return file_of(read_photo(Photo(path)), path, size, only_jpeg=only_jpeg)


def file_of(data: bytes, path: str, size: tuple[int, int], *, only_jpeg: bool = False) -> PhotoFile:
    """As `photo_file`, of a photo that has been read.

    Args:
        data: The bytes of the photo.
        path: Its path, or a name with its suffix.
        size: Height and width of its label map.
        only_jpeg: Whether it has to be a JPEG.

    Raises:
        BadImageError: It cannot be decoded, or is not of the size of its label map.
    """
    image = decode_image(data)
    if image.size != size[::-1]:
        raise BadImageError(
            f"its mask is {size[0]} x {size[1]} pixels (height x width), the photo {image.height} "
            f"x {image.width}"
        )
    form = _kept_form(data)
    if form is not None and (form == "JPEG" or not only_jpeg):
        own, usual = Path(path).suffix, _SUFFIXES[form]
        is_usual = own.lower() in usual and not only_jpeg
        source = None if is_url(path) or not Path(path).is_file() else Path(path)
        return PhotoFile(own if is_usual else usual[0], data, source)
    buffer = io.BytesIO()
    if only_jpeg:
        image.save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    else:
        image.save(buffer, "PNG")
    return PhotoFile(".jpg" if only_jpeg else ".png", buffer.getvalue())


def _kept_form(data: bytes) -> str | None:
    """The format of a photo that every tool shows upright and in 8 bits; None of all others."""
    with open_image(data) as image:
        is_turned = image.getexif().get(ORIENTATION_TAG, 1) != 1
        is_plain = image.format in _SUFFIXES and image.mode in _MODES and not is_turned
        return image.format if is_plain else None
