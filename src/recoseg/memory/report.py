"""What a run has done to a region memory, and what a memory and a region of it are."""

from __future__ import annotations

from dataclasses import dataclass

from recoseg.encoders.protocols import EncoderInfo
from recoseg.photos.refs import Photo


@dataclass(frozen=True)
class MemoryReport:
    """What a run of `remember` or of a merge did.

    Attributes:
        photos: Number of photos in the memory after the run.
        regions: Number of regions in the memory after the run.
        new: Number of photos that were added.
        skipped: Number of photos that were in the memory before.
        missing: Number of photos of the memory that are not in the index or its selection.
        removed: Number of these that were removed (only with `prune`).
        failures: The photos of this run that could not be used, each with its reason. The next run
            tries them again.
        undone: Shards that could not be finished because their workers died repeatedly, each with
            the reason. The next run tries them again.
        seconds: Duration of the run, seconds.
        changed: Number of photos that were described again because their stored regions have
            changed; see `StoredRegions`.
    """

    photos: int
    regions: int
    new: int
    skipped: int
    missing: int
    removed: int
    failures: tuple[Photo, ...]
    undone: tuple[str, ...]
    seconds: float
    changed: int = 0


@dataclass(frozen=True)
class MemorySummary:
    """What a region memory holds.

    Attributes:
        photos: Number of photos, with or without regions.
        regions: Number of regions.
        shards: Number of shards.
        bytes: Size of the files of all shards, bytes.
        phi: The dense image encoders, whose features are the keys.
        texts: The dense text encoders, whose features are the values.
        provider: Key of what divided the photos into regions.
        size: Side of the centre crop, pixels.
        precision: Precision of the encoders.
    """

    photos: int
    regions: int
    shards: int
    bytes: int
    phi: tuple[EncoderInfo, ...]
    texts: tuple[EncoderInfo, ...]
    provider: str
    size: int
    precision: str

    @property
    def regions_per_photo(self) -> float:
        """Mean number of regions of a photo; 0 without photos."""
        return self.regions / self.photos if self.photos else 0.0


@dataclass(frozen=True)
class Region:
    """A region of the archive.

    Attributes:
        photo: Its photo.
        area: The fraction of the photo's centre crop that it takes.
        box: Top, left, bottom and right of the box around it, as fractions of the crop.
    """

    photo: Photo
    area: float
    box: tuple[float, float, float, float]
