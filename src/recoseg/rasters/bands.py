"""From the bands of a raster to 8-bit RGB, and the pixels that hold nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from recoseg.errors import BadImageError
from recoseg.rasters.boxes import Box
from recoseg.rasters.opening import reasons

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

PERCENTILES = (2.0, 98.0)
"""The values of a band at these percentiles become 0 and 255, unless the band has 8 bits."""

_OVERVIEW = 1024
"""Longest side at which the values of a whole raster are looked at, pixels."""

_RGB = ("red", "green", "blue")
_CMYK = ("cyan", "magenta", "yellow")


@dataclass(frozen=True, eq=False)
class BandReader:
    """Reads a raster as a photo: 8-bit RGB, with white where nothing is.

    Attributes:
        raster: The open raster.
        bands: The bands that are red, green and blue, from 1; a single one is grey, or the index
            into a palette.
        ranges: The values of each band that become 0 and 255; None for 8 bits as they are.
        palette: RGB of each value; None where values are brightnesses.
        is_full: Whether every pixel holds something.
    """

    raster: DatasetReader
    bands: tuple[int, ...]
    ranges: Float[np.ndarray, "bands 2"] | None = None
    palette: UInt8[np.ndarray, "256 3"] | None = None
    is_full: bool = False

    @classmethod
    def of(cls, raster: DatasetReader, wanted: Sequence[int] = ()) -> BandReader:
        """The reader of a raster.

        Args:
            raster: The open raster.
            wanted: Three bands that become red, green and blue, or one that becomes grey, from 1.
                By default those that the raster calls so, or else the first three, or the only one.

        Raises:
            BadImageError: The raster has no such band, or its colours are not known.
        """
        bands = _bands(raster, wanted)
        flags = [_names(raster.mask_flag_enums[band - 1]) for band in bands]
        is_float = any(raster.dtypes[band - 1].startswith("float") for band in bands)
        is_full = all("all_valid" in names for names in flags) and not is_float
        reader = cls(raster, bands, is_full=is_full)
        if len(bands) == 1 and raster.colorinterp[bands[0] - 1].name == "palette":
            return cls(raster, bands, None, _palette(raster, bands[0]), is_full)
        if all(raster.dtypes[band - 1] == "uint8" for band in bands):
            return reader
        return cls(raster, bands, reader._ranges(), None, is_full)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the raster, pixels."""
        return self.raster.height, self.raster.width

    def read(
        self, box: Box, out_hw: tuple[int, int] | None = None, *, smooth: bool = False
    ) -> tuple[UInt8[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]]:
        """Read a part of the raster.

        Args:
            box: The part.
            out_hw: Size to which it is scaled; by default its own.
            smooth: Whether it is scaled by cubic interpolation, with anti-aliasing, instead of
                taking the nearest pixels.

        Returns:
            Its pixels, RGB, and which of them hold something. Pixels without data (by the value
            that the raster names, its mask, an opacity of 0, or not a number) are white, and
            half-transparent ones lie on white.

        Raises:
            BadImageError: The file is damaged there.
        """
        values, opacity = self._values(box, out_hw, smooth)
        if self.palette is not None:
            rgb = self.palette[np.clip(values[0], 0, 255).astype(np.uint8)]
        else:
            channels = values if self.ranges is None else _scaled(values, self.ranges)
            rgb = np.empty((*values.shape[1:], 3), np.uint8)
            rgb[...] = channels.transpose(1, 2, 0)  # a single band is repeated
        if opacity is None:
            return rgb, np.ones(rgb.shape[:2], bool)
        is_partial = opacity < 255
        if is_partial.any():
            share = opacity[is_partial, None] / np.float32(255)
            mixed = rgb[is_partial] * share + 255 * (1 - share)
            rgb[is_partial] = np.rint(mixed).astype(np.uint8)
        return rgb, opacity > 0

    def _values(
        self, box: Box, out_hw: tuple[int, int] | None, smooth: bool = False
    ) -> tuple[np.ndarray, UInt8[np.ndarray, "h w"] | None]:
        """The values of the bands (bands, h, w), and how opaque each pixel is; None for all."""
        from rasterio.enums import Resampling
        from rasterio.windows import Window

        chosen: dict[str, Any] = {"window": Window(box.left, box.top, box.width, box.height)}
        if out_hw is not None:
            chosen["out_shape"] = (len(self.bands), *out_hw)
        indexes = list(self.bands)
        with reasons("damaged"):
            how = Resampling.cubic if smooth and self.palette is None else Resampling.nearest
            values = self.raster.read(indexes, resampling=how, **chosen)
            if self.is_full:
                return values, None
            opacity = self.raster.read_masks(indexes, **chosen).max(0)
        if values.dtype.kind == "f":
            is_finite = np.isfinite(values)
            values = np.where(is_finite, values, 0)
            opacity = np.where(is_finite.all(0), opacity, 0)
        return values, opacity

    def _ranges(self) -> Float[np.ndarray, "bands 2"]:
        """The values at the `PERCENTILES` of each band, by an overview of the raster."""
        reduction = max(1.0, max(self.size) / _OVERVIEW)
        small = (max(1, int(self.size[0] / reduction)), max(1, int(self.size[1] / reduction)))
        values, opacity = self._values(Box(0, 0, *self.size), small)
        is_valid = np.ones(small, bool) if opacity is None else opacity > 0
        if not is_valid.any():
            return np.array([[0.0, 1.0]] * len(self.bands))
        return np.array([np.percentile(band[is_valid], PERCENTILES) for band in values], np.float64)


def _scaled(
    values: np.ndarray, ranges: Float[np.ndarray, "bands 2"]
) -> UInt8[np.ndarray, "bands h w"]:
    """Bring the values of each band from its range to 0 to 255."""
    low, high = (ranges[:, side, None, None].astype(np.float32) for side in (0, 1))
    scaled = (values.astype(np.float32) - low) * (255 / np.maximum(high - low, np.float32(1e-30)))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def _bands(raster: DatasetReader, wanted: Sequence[int]) -> tuple[int, ...]:
    if wanted:
        missing = [band for band in wanted if not 1 <= band <= raster.count]
        if missing:
            raise BadImageError(
                f"has {raster.count} bands, numbered from 1, and no band {missing[0]}"
            )
        return tuple(wanted)
    names = [meaning.name for meaning in raster.colorinterp]
    if all(name in names for name in _CMYK):
        raise BadImageError("has the colours of print (CMYK); save it as RGB")
    if all(name in names for name in _RGB):
        return tuple(names.index(name) + 1 for name in _RGB)
    colours = [place for place, name in enumerate(names, 1) if name != "alpha"]
    return tuple(colours[:3] if len(colours) >= 3 else colours[:1]) or (1,)


def _names(flags: Sequence[Any]) -> list[str]:
    return [flag.name for flag in flags]


def _palette(raster: DatasetReader, band: int) -> UInt8[np.ndarray, "256 3"]:
    table = np.full((256, 3), 255, np.uint8)
    for value, colour in raster.colormap(band).items():
        if value < 256:
            table[value] = colour[:3]
    return table
