"""Segment a raster into an output folder, tile by tile; an interrupted run goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from recoseg.drawing.overlay import draw_overlay
from recoseg.errors import BadImageError, MissingExtraError, OptionError
from recoseg.labels import Segmentation
from recoseg.photos.refs import Photo
from recoseg.progress import StageProgress, track
from recoseg.rasters.bands import BandReader
from recoseg.rasters.boxes import Box
from recoseg.rasters.choice import needs_windows
from recoseg.rasters.georeference import Georeference
from recoseg.rasters.label_files import RASTER, read_label_raster, write_label_raster
from recoseg.rasters.opening import has_rasterio, open_raster
from recoseg.rasters.parts import TileParts
from recoseg.segmentation.cost import OUT_OF_MEMORY, is_out_of_memory
from recoseg.segmentation.raster_specks import blocks_of, cleaned
from recoseg.segmentation.rasters import RasterSegmenter
from recoseg.segmentation.segmenter import Segmenter
from recoseg.storage.atomic import write_bytes
from recoseg.storage.checksums import checksum
from recoseg.writers.folder import OutputFolder
from recoseg.writers.formats import encode_jpeg

TILES = ".tiles"
"""The folder within an output folder that holds the finished tiles of unfinished rasters."""

_PLANES = "labels, valid"
"""What is kept of each pixel of a finished tile."""

_OVERLAY = 2048
"""Longest side of the overlay of a raster, pixels."""


@dataclass(frozen=True)
class RasterOptions:
    """Which photos are segmented by windows, and how they are read.

    Attributes:
        all: Whether all photos are; otherwise only those that cannot be read as a whole.
        bands: The bands that are red, green and blue (or the single one that is grey), from 1; by
            default those that the file calls so, or else the first ones.

    Raises:
        OptionError: There are neither one nor three bands, or a number is below 1.
    """

    all: bool = False
    bands: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.bands and (len(self.bands) not in (1, 3) or min(self.bands) < 1):
            raise OptionError(
                f"bands are {', '.join(map(str, self.bands))}; expected three numbers from 1 for "
                "red, green and blue, such as 4,3,2, or a single one."
            )

    def to_json(self) -> dict[str, Any]:
        """What decides the masks, as JSON fields; none where all is as usual."""
        fields: dict[str, Any] = {"raster": True} if self.all else {}
        return {**fields, "bands": list(self.bands)} if self.bands else fields

    def reason(self, photo: Photo) -> str:
        """Why a photo is segmented by windows; empty where it is not."""
        if photo.failure or not photo.path:
            return ""
        return "--raster asks for windows" if self.all else needs_windows(Path(photo.path))


def raster_to_folder(
    segmenter: Segmenter,
    photo: Photo,
    name: str,
    folder: OutputFolder,
    options: RasterOptions,
    reason: str,
    progress: bool | None = False,
) -> str:
    """Segment a raster and write its files.

    Args:
        segmenter: The segmenter.
        photo: The raster.
        name: Name of its files; see `OutputFolder.missing`.
        folder: Where to write.
        options: How it is read.
        reason: Why it is segmented by windows.
        progress: See `StageProgress`.

    Returns:
        Why it could not be segmented; empty where it was.

    Raises:
        OptionError: An option does not suit rasters; see `check_raster_options`.
        OutputError: A file cannot be written.
    """
    if not has_rasterio():
        hint = str(MissingExtraError("rasterio", "geo", "Reading it by windows")).replace("\n", " ")
        return f"{reason}. {hint}"
    try:
        with open_raster(Path(photo.path)) as raster:
            reader = BandReader.of(raster, options.bands)
            _segment(RasterSegmenter(segmenter, photo, reader), name, folder, options, progress)
    except BadImageError as error:
        return str(error)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return OUT_OF_MEMORY
    return ""


def remove_tiles(folder: Path) -> None:
    """Remove the finished tiles of unfinished rasters from an output folder."""
    for path in (folder / TILES).glob("*.part"):
        path.unlink()
    with suppress(OSError):  # it does not exist, or holds files of others
        (folder / TILES).rmdir()


def _segment(
    own: RasterSegmenter,
    name: str,
    folder: OutputFolder,
    options: RasterOptions,
    progress: bool | None,
) -> None:
    path = folder.folder / TILES / f"{checksum(name.encode())[:16]}.part"
    with TileParts(path, _identity(own, options)) as parts:
        todo = [number for number in range(len(own.tiles)) if number not in parts.done]
        if todo:
            presence = own.presence()
            what = f"Segmenting {Path(own.photo.path).name}"
            done = len(own.tiles) - len(todo)
            with StageProgress(
                what, len(own.tiles), unit="tiles", start=done, enabled=progress
            ) as bar:
                for number in todo:
                    found = own.label(own.tiles[number], presence)
                    planes = np.stack([found.labels, found.valid.astype(found.labels.dtype)])
                    parts.add(number, planes, found.to_json())
                    bar.advance()
        _write(own, name, folder, parts, progress)
        parts.remove()
    with suppress(OSError):  # it holds the tiles of other rasters
        path.parent.rmdir()


def _identity(own: RasterSegmenter, options: RasterOptions) -> str:
    """What decides the labels of the tiles."""
    segmenter = own.segmenter
    fields = [
        {**segmenter.settings, **options.to_json()},
        segmenter.fingerprint,
        own.photo.stamp,
        own.tiles,
        own.windows.raster_step,
        _PLANES,
    ]
    return checksum(json.dumps(fields, sort_keys=True).encode())


def _write(
    own: RasterSegmenter, name: str, folder: OutputFolder, parts: TileParts, progress: bool | None
) -> None:
    """Write the files of a raster whose tiles are finished."""
    labeller, size = own.segmenter.labeller, own.reader.size
    names, palette = labeller.labelled, labeller.colours
    georeference = Georeference.of(own.reader.raster)
    written: list[Path] = []
    pixels = np.zeros(labeller.ignored + 1, np.int64)

    def counted() -> Iterator[tuple[Box, np.ndarray]]:
        found = cleaned(size, own.tiles, parts.read, own.specks, labeller.ignored)
        what, total = f"Writing {Path(own.photo.path).name}", len(blocks_of(size))
        shown = False if own.specks.is_idle else progress
        for box, part in track(found, what, total=total, unit="blocks", enabled=shown):
            pixels[:] += np.bincount(part.ravel(), minlength=len(pixels))
            yield box, part

    def labels(path: Path) -> None:
        write_label_raster(path, size, names, palette, georeference, counted())
        written.append(path)

    def overlay(path: Path) -> None:
        factor = max(1.0, max(size) / _OVERLAY)
        small = max(1, round(size[0] / factor)), max(1, round(size[1] / factor))
        rgb, _ = own.reader.read(Box(0, 0, *size), small)
        found = Segmentation(read_label_raster(written[0], small), names, palette)
        write_bytes(path, encode_jpeg(draw_overlay(Image.fromarray(rgb), found)))

    made = {"labels": (RASTER, labels), "overlays": (".jpg", overlay)}
    made = {kind: one for kind, one in made.items() if kind in folder.kinds}

    def known() -> dict[str, Any]:
        counts = dict(zip(names, pixels.tolist(), strict=False))
        return _known(size, counts, list(parts.done.values()))

    folder.write_made(name, own.photo, known, made)


def _known(
    size: tuple[int, int], pixels: Mapping[str, int], tiles: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What the line of a raster says: its size, and the shares and confidences of its classes.

    Args:
        size: Height and width, pixels.
        pixels: Number of pixels of each class.
        tiles: What is known of each tile; its own numbers of pixels are those before specks went.
    """
    height, width = size
    present = sorted((name for name, n in pixels.items() if n), key=lambda name: -pixels[name])
    sure = {}
    for name in present:
        known = [
            (tile["pixels"][name], tile["confidence"][name])
            for tile in tiles
            if name in tile["confidence"]
        ]
        if known:
            sure[name] = sum(n * one for n, one in known) / sum(n for n, _ in known)
    total = height * width
    return {
        "width": width,
        "height": height,
        "areas": {name: round(pixels[name] / total, 6) for name in present},
        "background": round(1 - sum(pixels.values()) / total, 6),
        "no_data": round(1 - sum(tile["valid"] for tile in tiles) / total, 6),
        "confidence": {name: round(value, 6) for name, value in sure.items()},
    }
