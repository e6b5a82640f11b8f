"""Which photos are read by windows, because they are too large, or of other values, for Pillow."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, UnidentifiedImageError

from recoseg.photos import files, opening
from recoseg.photos.raw import is_tiff
from recoseg.rasters.opening import SUFFIXES
from recoseg.storage.reading import open_regular


def needs_windows(path: Path) -> str:
    """Why a photo can only be read by windows; empty where it need not, or cannot.

    Args:
        path: A local file.
    """
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return ""
    if path.stat().st_size > files.MAX_BYTES:
        return f"more than {files.MAX_BYTES:,} bytes"
    try:
        with open_regular(path) as file:
            start = file.read(4)
            file.seek(0)
            with Image.open(file) as image:
                width, height = image.size
    except Image.DecompressionBombError:
        return f"more than {opening.MAX_PIXELS:,} pixels"
    except UnidentifiedImageError:
        return "a TIFF file of other values than those of photos" if is_tiff(start) else ""
    except Exception:  # damaged files make decoders raise errors of many types; decoding says why
        return ""
    is_large = width * height > opening.MAX_PIXELS
    return f"more than {opening.MAX_PIXELS:,} pixels: {width} x {height}" if is_large else ""
