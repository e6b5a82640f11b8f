"""What writes label maps in the format of another tool."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from jaxtyping import UInt, UInt16

from recoseg.formats.outlines import TOLERANCE, Ring, inset, one_ring, outlines, simplified
from recoseg.formats.photo_files import PhotoFile
from recoseg.formats.place import Place
from recoseg.formats.regions import Parts, Region, parts_of
from recoseg.labels import Colour, ignore_index
from recoseg.rasters.georeference import Georeference, georeference_of

if TYPE_CHECKING:
    from shapely import Polygon

PhotosForm = Literal["auto", "copy", "link", "none"]
"""What becomes of the photos: a copy, a symbolic link, nothing, or what the format needs."""


Package = tuple[str, str, str]
"""The name of a module, that of its package, and the extra that installs it."""

SHAPELY: Package = "shapely", "shapely", "formats"
RASTERIO: Package = "rasterio", "rasterio", "geo"
PYOGRIO: Package = "pyogrio", "pyogrio", "geo"


@dataclass(frozen=True)
class FormatSettings:
    """How label maps are written in other formats.

    Attributes:
        names: The class of each label.
        palette: RGB of each class.
        polygons: Whether formats that have both get polygons instead of exact masks.
        tolerance: How far the outline of a polygon may move when it is simplified, pixels; 0 keeps
            outlines exact.
        min_area: Regions with fewer pixels are left out of the formats of regions.
        things: Classes whose objects are told apart; the others are stuff, such as grass, which is
            one segment per photo in `panoptic`.
    """

    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    polygons: bool = False
    tolerance: float = TOLERANCE
    min_area: int = 0
    things: Sequence[str] = ()

    @property
    def ignored(self) -> int:
        """The label of background."""
        return ignore_index(len(self.names))


@dataclass(frozen=True, eq=False)
class Labelled:
    """A photo with its label map, as formats receive it.

    Attributes:
        number: Its place among all photos in the order of their names, from 1 on.
        name: Its name without suffix, unique, with `/` between folders.
        labels: The label map.
        settings: How it is written.
        located: The file that says where the photo lies on the earth, if there is one.
        instances: The instance that each pixel belongs to, 0 for none; None where the connected
            parts are all that is known of single things.
    """

    number: int
    name: str
    labels: UInt[np.ndarray, "h w"]
    settings: FormatSettings
    located: Path | None = None
    instances: UInt16[np.ndarray, "h w"] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, pixels."""
        height, width = self.labels.shape
        return height, width

    @property
    def georeference(self) -> Georeference:
        """Where the photo lies on the earth; it is empty where that is not known.

        Raises:
            MissingExtraError: rasterio is not installed.
        """
        return Georeference() if self.located is None else georeference_of(self.located)

    @cached_property
    def parts(self) -> Parts:
        """The connected parts of the label map; those of different instances are different."""
        return parts_of(self.labels, self.settings.ignored, self.instances)

    @cached_property
    def regions(self) -> list[Region]:
        """The objects: instances and connected parts of none, without those that are too small."""
        return self.parts.each(self.settings.min_area)

    @cached_property
    def classes(self) -> list[Region]:
        """All pixels of each class that is present as one region."""
        return self.parts.by_class()

    def outlines(self, region: Region) -> list[Polygon]:
        """The exact outlines of a region."""
        return [polygon for number in region.numbers for polygon in self._outlines[number]]

    def ring(self, region: Region, *, inside: bool = False) -> Ring:
        """One simplified outline of a region, with bridges to its holes; see `one_ring`.

        Args:
            region: The region.
            inside: Whether it runs through the outermost pixels, instead of around them.
        """
        key = region.numbers, inside
        if key not in self._rings:
            exact = [inset(p) if inside else p for p in self.outlines(region)]
            self._rings[key] = one_ring([simplified(p, self.settings.tolerance) for p in exact])
        return self._rings[key]

    def rings(self, region: Region, *, inside: bool = False) -> list[Ring]:
        """One simplified outline for each connected part of a region; see `ring`."""
        parts = [replace(region, numbers=(number,)) for number in region.numbers]
        return [self.ring(part, inside=inside) for part in parts]

    @cached_property
    def _rings(self) -> dict[tuple[tuple[int, ...], bool], Ring]:
        return {}

    @cached_property
    def _outlines(self) -> dict[int, list[Polygon]]:
        return outlines(self.parts.numbers)


class Format(ABC):
    """Writes a format: `restore`, `add` for each photo, then `finish`; closes files on exit.

    Args:
        place: Where files go.
        settings: Classes and options.

    Attributes:
        photos: What becomes of photos unless something else is asked for: `copy` or `none`.
        photos_in: The folder of the photos, with `/` at its end, or an empty text.
        only_jpeg: Whether the photos have to be JPEG files.
        needs: The packages that it needs beside those of recoseg.
        most_classes: How many classes the format holds.
        any_size: Whether it holds label maps of more pixels than photos may have.
    """

    photos: ClassVar[Literal["copy", "none", "embed"]] = "none"
    photos_in: ClassVar[str] = "images/"
    only_jpeg: ClassVar[bool] = False
    needs: ClassVar[tuple[Package, ...]] = ()
    most_classes: ClassVar[int] = 65_534
    any_size: ClassVar[bool] = False

    def __init__(self, place: Place, settings: FormatSettings) -> None:
        self.place = place
        self.settings = settings

    @abstractmethod
    def add(self, item: Labelled, photo: PhotoFile) -> None:
        """Write what belongs to one photo.

        Args:
            item: The photo's label map.
            photo: The file of the photo, which is written already if it is wanted.
        """

    @abstractmethod
    def finish(self) -> None:
        """Write the files of all photos together."""

    def state(self, number: int) -> dict[str, int]:
        """What an interrupted run needs to go on, as JSON fields.

        Args:
            number: The number of the photo that was added last.

        Returns:
            `photos`, the number of the last photo that needs not be added again, and more.
        """
        sizes = {name: spool.size for name, spool in self.place.spools.items()}
        return {"photos": number, **sizes}

    def restore(self, state: Mapping[str, int]) -> None:
        """Take up the state of an interrupted run.

        Args:
            state: From `state`; empty to begin from the first photo.
        """
        for name, spool in self.place.spools.items():
            spool.cut(state.get(name, 0))

    def close(self) -> None:
        """Close what is open; nothing is written."""
        for spool in self.place.spools.values():
            spool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
