"""Photos of a report with their masks, which a page shows, searches and sorts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from recoseg.drawing.palette import hex_colour
from recoseg.labels import Colour
from recoseg.storage.shown import shown

CHUNK = 500
"""Photos in a file of rows."""


@dataclass(frozen=True)
class GalleryPhoto:
    """A photo of a gallery.

    Attributes:
        name: Its name, which is searched.
        pictures: Files relative to the report's folder, one for each of the gallery's layers.
        size: Width and height of each picture, pixels.
        shares: Label and share (0 to 1) of each class that it shows, the largest first.
        score: A number in [0, 1] that photos can be sorted by; None where it is not known.
        link: A file relative to the report's folder that the name leads to; empty for none.
    """

    name: str
    pictures: tuple[str, ...]
    size: tuple[int, int]
    shares: tuple[tuple[int, float], ...]
    score: float | None = None
    link: str = ""


@dataclass(frozen=True)
class LegendEntry:
    """A class in the legend: its name, its colour as `#rrggbb`, and in how many photos it is."""

    name: str
    colour: str
    photos: int


@dataclass(frozen=True)
class Gallery:
    """Photos that a page shows.

    Attributes:
        name: A word of lower-case letters, unique in the report.
        layers: What the pictures of each photo are, such as `photo` and `masks`.
        wipe: Whether the second picture lies over the first one, with a slider between them;
            otherwise pictures stand side by side.
        legend: The classes in the order of their labels.
        photos: The photos in order.
        score: What the photos' scores are, such as `confidence`; empty if they have none.
        order: The order of the photos in words.
        sort: What they are sorted by at first: empty for that order, or a value of the page's list
            of orders, such as `most`.
    """

    name: str
    layers: tuple[str, ...]
    wipe: bool
    legend: Sequence[LegendEntry]
    photos: Sequence[GalleryPhoto] = field(repr=False)
    score: str = ""
    order: str = "in order of names"
    sort: str = ""

    @property
    def chunks(self) -> int:
        """Number of files of rows."""
        return -(-len(self.photos) // CHUNK)

    @property
    def empty(self) -> int:
        """Number of photos that show none of the classes."""
        return sum(not photo.shares for photo in self.photos)


def legend_of(
    names: Sequence[str], palette: Sequence[Colour], photos: Sequence[GalleryPhoto]
) -> list[LegendEntry]:
    """The legend of some photos.

    Args:
        names: The class of each label.
        palette: RGB of each class.
        photos: The photos.
    """
    counts = [0] * len(names)
    for photo in photos:
        for label, _ in photo.shares:
            counts[label] += 1
    return [
        LegendEntry(name, hex_colour(colour), count)
        for name, colour, count in zip(names, palette, counts, strict=True)
    ]


def rows_script(gallery: str, photos: Sequence[GalleryPhoto]) -> bytes:
    r"""A classic script that hands rows to the page; names stay text, whatever they hold.

    Example:
        >>> rows_script("photos", [GalleryPhoto("<b>", ("a.jpg",), (3, 2), ((0, 0.5),))])
        b'recosegRows("photos", [\n{"name":"\\u003cb>","pictures":["a.jpg"],...
    """
    rows = ",\n".join(json.dumps(_row(photo), separators=(",", ":")) for photo in photos)
    return f"recosegRows({json.dumps(gallery)}, [\n{rows}\n]);\n".replace("<", "\\u003c").encode()


def _row(photo: GalleryPhoto) -> dict[str, object]:
    fields: dict[str, object] = {
        "name": shown(photo.name),
        "pictures": photo.pictures,
        "size": photo.size,
        "shares": [(label, round(share, 4)) for label, share in photo.shares],
    }
    if photo.score is not None:
        fields["score"] = round(photo.score, 4)
    if photo.link:
        fields["link"] = quote(photo.link, errors="surrogateescape")
    return fields
