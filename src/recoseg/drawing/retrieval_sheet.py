"""A contact sheet: the retrieved photos of each class in one HTML file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from PIL import Image

from recoseg.drawing.pages import thumbnail_uri, write_page
from recoseg.errors import BadImageError
from recoseg.photos.refs import split_member
from recoseg.retrieval.duplicates import Hit

Keep = Callable[[Image.Image], str]
"""From a photo to what the page has as the source of its thumbnail."""


class PhotoArchive(Protocol):
    """What a sheet needs from an index; `ArchiveIndex` has it."""

    def path(self, position: int) -> str:
        """The path of a photo."""

    def read(self, position: int) -> Image.Image:
        """A photo, RGB."""


@dataclass(frozen=True)
class SheetCell:
    """A thumbnail with its captions."""

    path: str
    name: str
    score: str
    thumbnail: str
    problem: str


def write_contact_sheet(
    path: str | os.PathLike[str],
    groups: Sequence[tuple[str, Sequence[Hit]]],
    index: PhotoArchive,
    *,
    title: str = "Retrieved photos",
    thumbnail: int = 200,
) -> Path:
    """Write one self-contained HTML file with a row of thumbnails per class.

    Args:
        path: The file to write; its folder is made if absent.
        groups: Class names with their hits, best first.
        index: The archive that the hits belong to.
        title: Heading of the page.
        thumbnail: Height of the thumbnails in pixels.

    Returns:
        The file.
    """
    keep = partial(thumbnail_uri, height=thumbnail)
    shown = [(name, sheet_cells(hits, index, keep)) for name, hits in groups]
    return write_page(path, "sheet.html.jinja", title=title, groups=shown, height=thumbnail)


def sheet_cells(hits: Sequence[Hit], index: PhotoArchive, keep: Keep) -> list[SheetCell]:
    """The thumbnails of some hits, with rank, file name and cosine.

    Args:
        hits: The hits, best first.
        index: The archive that they belong to.
        keep: Keeps a thumbnail.
    """
    return [
        photo_cell(index, hit.position, keep, f"{rank}. ", f"{hit.score:.3f}")
        for rank, hit in enumerate(hits, 1)
    ]


def photo_cell(
    index: PhotoArchive, position: int, keep: Keep, before: str, score: str
) -> SheetCell:
    """The thumbnail of a photo of an archive.

    Args:
        index: The archive.
        position: Position of the photo.
        keep: Keeps a thumbnail.
        before: What stands before the name of its file.
        score: What stands behind it.
    """
    path = index.path(position)
    outer, _, member = split_member(path)
    name = (member or outer).rsplit("/", 1)[-1]
    try:
        uri, problem = keep(index.read(position)), ""
    except BadImageError as error:
        uri, problem = "", str(error)
    return SheetCell(path, f"{before}{name}", score, uri, problem)
