"""A contact sheet of photos with what was found about them, a section for each reason."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from recoseg.drawing.pages import thumbnail_uri, write_page
from recoseg.drawing.retrieval_sheet import Keep, PhotoArchive, SheetCell, photo_cell


@dataclass(frozen=True)
class Shown:
    """A photo on a sheet.

    Attributes:
        position: Its position in the archive.
        score: What was measured, for reading, such as `0.973`; may be empty.
        beside: Position of the photo that is kept in its stead and shown before it; None for none.
    """

    position: int
    score: str = ""
    beside: int | None = None


@dataclass(frozen=True)
class Section:
    """Photos for the same reason.

    Attributes:
        title: The reason.
        note: How many photos there are, how they are ordered, and what the limit is.
        photos: The photos to show.
    """

    title: str
    note: str
    photos: Sequence[Shown]


def write_curation_sheet(
    path: str | os.PathLike[str],
    title: str,
    intro: str,
    sections: Sequence[Section],
    index: PhotoArchive,
    *,
    thumbnail: int = 140,
) -> Path:
    """Write one self-contained HTML file with a row of thumbnails per section.

    Args:
        path: The file to write; its folder is made if absent.
        title: Heading of the page.
        intro: What the page shows, in a sentence or two.
        sections: The sections.
        index: The archive that the photos belong to.
        thumbnail: Height of the thumbnails in pixels.

    Returns:
        The file.
    """
    keep = partial(thumbnail_uri, height=thumbnail)
    groups = [
        (
            one.title,
            one.note,
            [cell for shown in one.photos for cell in _cells(shown, index, keep)],
        )
        for one in sections
    ]
    return write_page(
        path, "curation.html.jinja", title=title, intro=intro, groups=groups, height=thumbnail
    )


def _cells(shown: Shown, index: PhotoArchive, keep: Keep) -> list[SheetCell]:
    cells = [photo_cell(index, shown.position, keep, "", shown.score)]
    if shown.beside is not None:
        cells.insert(0, photo_cell(index, shown.beside, keep, "", "kept"))
    return cells
