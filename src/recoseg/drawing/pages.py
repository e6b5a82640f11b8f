"""HTML pages from the package's templates, and photos inside them."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from recoseg.storage.atomic import write_atomically
from recoseg.storage.shown import shown

if TYPE_CHECKING:
    from jinja2 import Environment

_QUALITY = 82


def write_page(path: str | os.PathLike[str], template: str, **fields: object) -> Path:
    """Render a template of the package into a file; see `page_text`."""
    page = page_text(template, **fields)
    target = Path(path)
    write_atomically(target, lambda file: file.write(page.encode()))
    return target


def page_text(template: str, **fields: object) -> str:
    """Render a template of the package.

    All values are escaped, and characters that would act on their neighbours are visible.
    """
    return _environment().get_template(template).render(**fields)


def source_of(name: str) -> str:
    """A file beside the templates, as it is."""
    environment = _environment()
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader

    loader = PackageLoader("recoseg.drawing")
    return Environment(loader=loader, autoescape=True, trim_blocks=True, finalize=_visible)


def _visible(value: object) -> object:
    """A value of a template; parts that are HTML already stay as they are."""
    from markupsafe import Markup

    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def thumbnail_uri(image: Image.Image, height: int) -> str:
    """A photo as a JPEG data URI of a given height, at most four times as wide; never enlarged."""
    data = encode_thumbnail(thumbnail(image, height))
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def thumbnail(image: Image.Image, height: int) -> Image.Image:
    """A photo of a given height, at most four times as wide; never enlarged."""
    small = image.copy()
    small.thumbnail((4 * height, height), Image.Resampling.LANCZOS)
    return small


def encode_thumbnail(image: Image.Image) -> bytes:
    """A small picture as JPEG."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_QUALITY, optimize=True)
    return out.getvalue()
