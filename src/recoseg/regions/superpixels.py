"""Regions of alike neighbouring pixels: superpixels of scikit-image."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from jaxtyping import Float, Int32, UInt8
from torch import Tensor

from recoseg.errors import OptionError
from recoseg.photos.refs import Photo
from recoseg.regions.masks import relabel
from recoseg.regions.scaling import as_array, divide_small

MAX_SIDE = 640
"""The longest side at which superpixels are computed by default, pixels. A larger photo is scaled
down, and each of its pixels gets the nearest label: the time grows with the pixels (about a second
per million), while the regions that matter stay the same."""

# Bounds, since options may come from anyone's bank.
_MOST_SIDE = 16_384
_MOST_SIGMA = 100
_MOST_COUNT = 100_000
_LARGEST = 1_000_000


def _check_positive(name: str, value: float, most: int) -> None:
    if not 0 < value <= most:
        raise OptionError(f"{name} is {value}; expected more than 0 and at most {most:,}.")


class _Superpixels:
    """Divides the pixels of photos (a `RegionProvider`); photos of a long side are scaled down."""

    needs_features = False
    is_cacheable = True
    _window = 0  # side of a window, pixels, where photos are parts of a raster

    def __init__(self, side: int) -> None:
        _check_positive("side", side, _MOST_SIDE)
        self._side = side

    def for_windows(self, side: int) -> Self:
        """See `DividesParts`."""
        found = copy.copy(self)
        found._window = side
        return found

    def part_scale(self, side: int) -> float:
        """See `DividesParts`."""
        return min(1.0, self._side / side)

    def _key(self, settings: str) -> str:
        return f"{settings},side={self._side}" + (f",window={self._window}" * bool(self._window))

    def regions(
        self,
        photo: Photo,
        pixels: UInt8[Tensor, "3 h w"],
        features: Sequence[Float[Tensor, "_ _ _"]] = (),
    ) -> Int32[Tensor, "h w"]:
        """See `RegionProvider`."""
        side = self._side
        if self._window:
            side = round(max(pixels.shape[1:]) * self.part_scale(self._window))
        return divide_small(pixels, side, self._labels)

    def _labels(self, pixels: UInt8[Tensor, "3 h w"]) -> Int32[Tensor, "h w"]:
        windows = 1.0
        if self._window:
            windows = pixels.shape[1] * pixels.shape[2] / min(self._side, self._window) ** 2
        divided = self._divide(as_array(pixels), windows)
        return relabel(torch.from_numpy(divided.astype(np.int32)) + 1)

    @abstractmethod
    def _divide(self, pixels: np.ndarray, windows: float) -> np.ndarray:
        """The region of each pixel of a photo (h, w, 3), from any number of 0 or more.

        Args:
            pixels: The photo, or a part of a raster that is as large as several windows.
            windows: How many windows; 1 for a photo.
        """


class Felzenszwalb(_Superpixels):
    """Superpixels that grow along edges: few in plain areas, many among details.

    Felzenszwalb and Huttenlocher, "Efficient Graph-Based Image Segmentation", IJCV 2004.

    Args:
        scale: The larger, the larger are the regions.
        sigma: Width of the Gaussian that smooths the photo before, pixels.
        min_size: Smaller regions are joined with a neighbour, pixels.
        side: The longest side at which they are computed, pixels; see `MAX_SIDE`.

    Raises:
        RecosegError: A number is out of range.
    """

    def __init__(
        self, scale: float = 100, sigma: float = 0.7, min_size: int = 60, side: int = MAX_SIDE
    ) -> None:
        super().__init__(side)
        _check_positive("scale", scale, _LARGEST)
        _check_positive("min", min_size, _LARGEST)
        if not 0 <= sigma <= _MOST_SIGMA:
            raise OptionError(f"sigma is {sigma}; expected 0 to {_MOST_SIGMA}.")
        self._scale, self._sigma, self._min_size = scale, sigma, min_size

    @property
    def key(self) -> str:
        """See `RegionProvider`."""
        own = f"scale={self._scale:g},sigma={self._sigma:g},min={self._min_size}"
        return f"superpixels({self._key(own)})"

    def _divide(self, pixels: np.ndarray, windows: float) -> np.ndarray:
        from skimage.segmentation import felzenszwalb

        labels: np.ndarray = felzenszwalb(
            pixels, self._scale, self._sigma, self._min_size, channel_axis=-1
        )
        return labels


class Slic(_Superpixels):
    """Superpixels of about equal size: k-means of colour and place.

    Achanta et al., "SLIC Superpixels Compared to State-of-the-Art Superpixel Methods", PAMI 2012.

    Args:
        count: About how many regions a photo has.
        compactness: The larger, the squarer are the regions.
        side: The longest side at which they are computed, pixels; see `MAX_SIDE`.

    Raises:
        RecosegError: A number is out of range.
    """

    def __init__(self, count: int = 250, compactness: float = 10, side: int = MAX_SIDE) -> None:
        super().__init__(side)
        _check_positive("count", count, _MOST_COUNT)
        _check_positive("compactness", compactness, _LARGEST)
        self._count, self._compactness = count, compactness

    @property
    def key(self) -> str:
        """See `RegionProvider`."""
        return f"slic({self._key(f'count={self._count},compactness={self._compactness:g}')})"

    def _divide(self, pixels: np.ndarray, windows: float) -> np.ndarray:
        from skimage.segmentation import slic

        count = max(1, round(self._count * windows))
        labels: np.ndarray = slic(pixels, count, self._compactness, start_label=0)
        return labels
