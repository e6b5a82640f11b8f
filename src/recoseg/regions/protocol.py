"""What divides a photo into regions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int32, UInt8
from torch import Tensor

from recoseg.photos.refs import Photo

NONE = 0
"""The label of what belongs to no region; regions are numbered from 1, without gaps."""


class RegionProvider(Protocol):
    """Divides photos into regions."""

    @property
    def key(self) -> str:
        """All that decides its regions, such as `superpixels(scale=100,sigma=0.7,min=60)`."""

    @property
    def needs_features(self) -> bool:
        """Whether it divides features of phi rather than the pixels."""

    @property
    def is_cacheable(self) -> bool:
        """Whether the photo's content and the key decide its regions, so that they can be kept."""

    def regions(
        self,
        photo: Photo,
        pixels: UInt8[Tensor, "3 h w"],
        features: Sequence[Float[Tensor, "_ gh gw"]] = (),
    ) -> Int32[Tensor, "rh rw"]:
        """The region of each place.

        Args:
            photo: The photo, by which stored regions are found.
            pixels: RGB, 0 to 255.
            features: Features of each phi for these pixels, on grids of their own; empty unless
                the provider needs them.

        Returns:
            Labels from 1, and 0 for none; of the size of the pixels, or of the first phi's grid
            where the provider divides features.
        """


@runtime_checkable
class DividesParts(Protocol):
    """A provider whose regions depend on the size of a photo, and that also divides parts of one.

    In parts of a raster, whatever their size, regions are as large as in photos of a window's size.
    """

    def for_windows(self, side: int) -> RegionProvider:
        """The provider for parts of a raster.

        Args:
            side: Side of a window over the raster, pixels of the raster.
        """

    def part_scale(self, side: int) -> float:
        """How much parts are scaled before they are divided, at most 1; see `for_windows`."""


@runtime_checkable
class StoredRegions(Protocol):
    """A provider that reads regions which others have stored, and which may change."""

    def stamp(self, photo: Photo) -> str:
        """A text that changes when the stored regions of the photo change, without reading them."""


def stamp_of(provider: RegionProvider, photo: Photo) -> str:
    """The stamp of a photo's regions if they are stored ones; empty if they are computed."""
    return provider.stamp(photo) if isinstance(provider, StoredRegions) else ""
