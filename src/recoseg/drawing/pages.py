"""HTML pages from the package's templates, and photos inside them."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path

from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from PIL import Image

from recoseg.storage.atomic import write_atomically
from recoseg.storage.shown import shown

_QUALITY = 82


def write_page(path: str | os.PathLike[str], template: str, **fields: object) -> Path:
    """Render a template of the package into a file.

    All values are escaped, and characters that would act on their neighbours are visible.
    """
    loader = PackageLoader("recoseg.drawing")
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, finalize=_visible)
    page = environment.get_template(template).render(**fields)
    target = Path(path)
    write_atomically(target, lambda file: file.write(page.encode()))
    return target


def _visible(value: object) -> object:
    """A value of a template; parts that are HTML already stay as they are."""
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def thumbnail_uri(image: Image.Image, height: int) -> str:
    """A photo as a JPEG data URI of a given height, at most four times as wide; never enlarged."""
    small = image.copy()
    small.thumbnail((4 * height, height), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, "JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"
