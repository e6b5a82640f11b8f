"""Segmenting a raster of any size, tile by tile, in bounded memory.

The raster is treated as one large photo at its own size, with sliding windows over it. It is read
and labelled in tiles, each with the windows that overlap it (see `RasterWindows`), so that the
labels do not depend on how it is divided. Refinement with PAMR looks at the surroundings of a tile,
too, which are wide enough for the same result. The CRF, LPOSS and regions that vote have no such
bound; they see `MARGIN` or `VOTING_MARGIN` pixels around each tile. Specks are removed when all
tiles are labelled (see `cleaned`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int32, UInt
from PIL import Image
from torch import Tensor

from recoseg.device import leave_threads
from recoseg.encoders.extract import ENCODING_BYTES
from recoseg.errors import OptionError
from recoseg.labels import label_dtype
from recoseg.photos.images import to_tensor
from recoseg.photos.load import LoadedPhoto, Part
from recoseg.photos.refs import Photo
from recoseg.rasters.bands import BandReader
from recoseg.rasters.boxes import ALIGNED, Box, tile_size, tiles_over
from recoseg.refinement.refiner import PamrRefiner
from recoseg.regions.protocol import DividesParts, StoredRegions
from recoseg.segmentation.branches import FEATURES
from recoseg.segmentation.kept_windows import KeptWindows
from recoseg.segmentation.labeller import Labeller
from recoseg.segmentation.presence import DecidedPresence, PresenceRule
from recoseg.segmentation.raster_specks import LARGEST_SPECK, specks_of
from recoseg.segmentation.raster_windows import RasterWindows
from recoseg.segmentation.score_grids import ScoreGrids, score_grids
from recoseg.segmentation.segmenter import Segmenter
from recoseg.segmentation.specks import SpeckRule

MARGIN = 256
"""Pixels around a tile that are labelled with it where labels depend on their surroundings."""

VOTING_MARGIN = 384
"""The same where superpixels vote: those that reach into a tile mostly end within it."""

_MEMORY = 850_000_000
"""Bytes that a tile may need by the estimate of `Cost`, if it is not one of the smallest."""

_KEPT = 256_000_000
"""Bytes of scores of windows that are kept for the next tiles."""

_READING = 10
"""Bytes for each pixel that is read, with its mask and the image of which the input is made."""

_DIVIDING = 600
"""Bytes for each pixel that is divided into superpixels, with what the allocator loses by it."""

_LARGEST_TILE = 3072
"""Side of the largest tiles, pixels."""


def check_raster_options(segmenter: Segmenter) -> None:
    """Refuse what cannot be decided part by part.

    Raises:
        OptionError: The segmenter scores whole photos, keeps scores, or removes large parts.
    """
    if any(not branch.stride for branch in segmenter.branches):
        raise OptionError(
            "A raster has no score of the whole photo, because it is segmented part by part. Add "
            "--photo-weight 0."
        )
    voting = segmenter.labeller.voting
    if voting is not None and (
        voting.provider.needs_features or isinstance(voting.provider, StoredRegions)
    ):
        raise OptionError(
            f"The regions {voting.provider.key} are those of a whole photo, but a raster is "
            "segmented part by part. Choose --regions superpixels, slic or none."
        )
    if segmenter.labeller.keep_scores:
        raise OptionError(
            "Score maps of rasters are not written, because they would need hundreds of times the "
            "raster's size. Leave out --scores."
        )
    least = segmenter.labeller.specks.min_area
    if least > LARGEST_SPECK:
        raise OptionError(
            f"--min-area is {least:g}; for rasters expected at most {LARGEST_SPECK} pixels, or a "
            "share of a window below 1."
        )


@dataclass(frozen=True, eq=False)
class TileLabels:
    """The labels of a tile.

    Attributes:
        labels: One label per pixel; pixels without data have the label of what is ignored.
        valid: The pixels with data.
        pixels: Number of pixels of each class.
        confidence: How sure the segmenter is of each class that is present, 0 to 1.
    """

    labels: UInt[np.ndarray, "h w"]
    valid: Bool[np.ndarray, "h w"]
    pixels: Mapping[str, int]
    confidence: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """What is known of the tile, as JSON fields."""
        return {
            "pixels": dict(self.pixels),
            "valid": int(self.valid.sum()),
            "confidence": dict(self.confidence),
        }


class _Scored(NamedTuple):
    """A part of the raster before it is labelled: with its scores, its regions, and valid pixels.

    There are no regions where none vote.
    """

    item: LoadedPhoto
    grids: ScoreGrids
    regions: Int32[Tensor, "h w"] | None
    valid: Bool[np.ndarray, "h w"]


@dataclass(frozen=True, eq=False)
class RasterSegmenter:
    """Labels the tiles of a raster.

    Args:
        segmenter: The segmenter; see `check_raster_options`.
        photo: The raster as a photo.
        reader: Reads it.

    Raises:
        OptionError: See `check_raster_options`.
    """

    segmenter: Segmenter
    photo: Photo
    reader: BandReader

    def __post_init__(self) -> None:
        check_raster_options(self.segmenter)

    @cached_property
    def windows(self) -> RasterWindows:
        """The windows over the raster."""
        return RasterWindows.of(self.reader.size, self.segmenter.plan)

    @cached_property
    def labelled_margin(self) -> int:
        """Pixels around a tile that are labelled with it."""
        labeller = self._labeller
        needed = 0
        if isinstance(labeller.refiner, PamrRefiner):
            pamr = labeller.refiner.settings.pamr
            needed = pamr.iterations * max(pamr.dilations)
        elif labeller.refiner or labeller.spreading:
            needed = MARGIN
        if labeller.voting is not None and labeller.voting.form == "mode":
            needed = max(needed, VOTING_MARGIN)
        return needed

    @cached_property
    def specks(self) -> SpeckRule:
        """Which parts of the labels are too small."""
        return specks_of(self.segmenter.labeller.specks, self._window)

    @cached_property
    def margin(self) -> int:
        """Pixels around a tile that are scored, and divided into regions, with it."""
        return max(self.labelled_margin, VOTING_MARGIN if self._labeller.voting else 0)

    @cached_property
    def tiles(self) -> list[Box]:
        """The tiles, which need more memory the larger they are."""
        block_hw = self.reader.raster.block_shapes[0]
        sides = range(_LARGEST_TILE, ALIGNED, -ALIGNED)
        most = next((side for side in sides if self._bytes_of(side) <= _MEMORY), ALIGNED) ** 2
        return tiles_over(self.reader.size, tile_size(self.reader.size, block_hw, most))

    def _bytes_of(self, side: int) -> int:
        """Estimate of the memory for a square tile, bytes."""
        windows = self.windows
        grids = [
            (branch.stride, branch.dim if branch.kind == FEATURES else 0)  # what is kept of windows
            for branch in self.segmenter.branches
        ]
        cost = replace(
            self.segmenter.cost,
            window=windows.side,
            step=windows.step,
            batch_size=self._batch,
            grids=tuple(grids),
            cleans=False,
        )
        around, labelled = side + 2 * self.margin, side + 2 * self.labelled_margin
        given = round(around * windows.scale) + 2 * windows.side
        read = around**2 + given**2
        scale, voting = 0.0, self._labeller.voting
        if voting is not None and isinstance(voting.provider, DividesParts):
            scale = voting.provider.part_scale(self._window)
        # A tile is divided while it is encoded and before its scores are enlarged.
        encoding = ENCODING_BYTES * windows.side**2 * self._batch
        dividing = encoding + round(_DIVIDING * (around * scale) ** 2)
        labelling = cost.bytes_of((around, around), (given, given), (labelled, labelled))
        return _READING * read + max(dividing, labelling)

    @property
    def _window(self) -> int:
        """Side of a window, pixels of the raster."""
        return round(self.windows.side / self.windows.scale)

    @cached_property
    def _labeller(self) -> Labeller:
        """The labeller for tiles: specks stay for now, things are parts."""
        labeller = self.segmenter.labeller
        voting = labeller.voting
        if voting is not None and isinstance(voting.provider, DividesParts):
            voting = replace(voting, provider=voting.provider.for_windows(self._window))
        return replace(labeller, specks=SpeckRule(), voting=voting, instances="parts")

    @torch.inference_mode()
    def presence(self) -> DecidedPresence:
        """Which classes the whole raster holds, by the segmenter's rule.

        It takes a pass over the raster for each limit that is set.
        """
        rule, always = self._labeller.presence, self._labeller.background.classes
        if rule == PresenceRule():
            return DecidedPresence()
        kept = rule.strong(self._strips(), always)
        return DecidedPresence(kept=rule.large(self._strips(), always, kept))

    def _strips(self) -> Iterator[Float[Tensor, "c 1 n"]]:
        """The scores of all pixels with data, before refinement."""
        for box in self.tiles:
            found = self._read(box, 0)
            if found is None:
                continue
            start = 0
            for scores in self._labeller.strips(found.item, found.grids, found.regions):
                own = torch.from_numpy(found.valid[start : start + scores.shape[1]])
                if own.any():
                    yield scores[:, own][:, None]
                start += scores.shape[1]

    def label(self, box: Box, presence: PresenceRule) -> TileLabels:
        """Label a tile; specks are still in its labels.

        Args:
            box: The tile.
            presence: Which classes the raster holds; see `presence`.

        Raises:
            BadImageError: The file is damaged there, or has no regions to vote.
        """
        labeller = replace(self._labeller, presence=presence)
        found = self._read(box, self.margin)
        if found is None:
            nothing = np.full((box.height, box.width), labeller.ignored, self._dtype)
            return TileLabels(nothing, np.zeros(nothing.shape, bool), {}, {})
        around, labelled = (
            box.grown(margin, self.reader.size) for margin in (self.margin, self.labelled_margin)
        )
        result = labeller.label_within(
            found.item, found.grids, found.regions, *labelled.within(around)
        )
        own = found.valid[box.within(around)]
        labels = result.labels[box.within(labelled)]
        labels = np.where(own, labels, labeller.ignored).astype(self._dtype)
        return self._known(labels, own, result.confidence())

    def _read(self, box: Box, margin: int) -> _Scored | None:
        """A tile with its margin, scored and divided into regions; None if it holds no data."""
        part, region = box.grown(margin, self.reader.size), self.windows.region(box, margin)
        size = region.box.height, region.box.width
        rows, columns = part.within(region.box)
        if region.input_hw == size:
            seen, is_valid = self.reader.read(region.box)
            rgb, is_valid = np.ascontiguousarray(seen[rows, columns]), is_valid[rows, columns]
        else:
            seen, _ = self.reader.read(region.box, region.input_hw, smooth=True)
            rgb, is_valid = self.reader.read(part)
        if not is_valid[box.within(part)].any():
            return None
        item = LoadedPhoto(
            self.photo,
            to_tensor(Image.fromarray(seen)),
            Image.fromarray(rgb),
            Part(size, rows, columns),
        )
        plan = replace(self.segmenter.plan, batch_size=self._batch)
        branches = self.segmenter.branches
        # Where the raster is scaled, the ends of what is read decide on pixels near to them.
        kept = self._kept.part((region.box.top, region.box.left)) if self._is_unscaled else None
        voting = self._labeller.voting
        # Superpixels use one core, and leave Python to others most of the time.
        with ThreadPoolExecutor(1) as beside, leave_threads(0 if voting is None else 1):
            divided = None if voting is None else beside.submit(voting.regions, item, [])
            [grids] = score_grids(item.pixels[None], [branches], plan, region.windows, kept)
            self._kept.forget(box, self.margin)
            regions = None if divided is None else divided.result()
        return _Scored(item, grids, regions, is_valid)

    @cached_property
    def _kept(self) -> KeptWindows:
        return KeptWindows(self.windows.side, _KEPT)

    @property
    def _is_unscaled(self) -> bool:
        return self.windows.scale == 1

    @property
    def _batch(self) -> int:
        """Windows that are encoded together.

        On the CPU several are no faster, and oneDNN keeps memory for each number of windows.
        """
        return self.segmenter.plan.batch_size if torch.accelerator.is_available() else 1

    def _known(
        self,
        labels: UInt[np.ndarray, "h w"],
        valid: Bool[np.ndarray, "h w"],
        confidence: Mapping[str, float],
    ) -> TileLabels:
        names = self._labeller.labelled
        counts = np.bincount(labels.ravel(), minlength=len(names))[: len(names)]
        pixels = {name: int(n) for name, n in zip(names, counts, strict=True) if n}
        sure = {name: round(confidence[name], 6) for name in pixels if name in confidence}
        return TileLabels(labels, valid, pixels, sure)

    @property
    def _dtype(self) -> type[np.uint8] | type[np.uint16]:
        return label_dtype(self._labeller.ignored)
