"""Votes of regions: the pixels of a region get one score for each class, or one label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int32, UInt, UInt8
from torch import Tensor

from recoseg.errors import BadImageError, FileError, UnknownNameError
from recoseg.photos.images import to_tensor
from recoseg.photos.load import LoadedPhoto
from recoseg.photos.refs import Photo
from recoseg.regions.pooling import region_sizes, spread, vote_mode
from recoseg.regions.protocol import NONE, RegionProvider, stamp_of
from recoseg.segmentation.fused_scores import FusedScores
from recoseg.segmentation.label_maps import score_strips
from recoseg.segmentation.score_grids import Grid
from recoseg.segmentation.upsample import ALL
from recoseg.storage.checksums import checksum

VoteForm = Literal["mean", "mode"]
"""`mean`: each pixel of a region gets the mean of the region's scores, before refinement. `mode`:
each gets the region's most frequent label, after refinement."""


@dataclass(frozen=True)
class Voting:
    """Which regions vote, and how.

    Attributes:
        provider: Divides photos into regions.
        form: What they vote on.

    Raises:
        UnknownNameError: There is no such form.
    """

    provider: RegionProvider
    form: VoteForm = "mean"

    def __post_init__(self) -> None:
        if self.form not in get_args(VoteForm):
            raise UnknownNameError("vote", self.form, list(get_args(VoteForm)))

    def to_json(self) -> dict[str, Any]:
        """What decides the masks, as JSON fields."""
        return {"regions": self.provider.key, "vote": self.form}

    def stamp(self, photo: Photo) -> str:
        """See `StoredRegions`; empty where the photo's content decides its regions."""
        return stamp_of(self.provider, photo)

    def regions(self, item: LoadedPhoto, features: Sequence[Grid]) -> Int32[Tensor, "h w"]:
        """Divide a photo at its own size.

        Args:
            item: The photo, with its image.
            features: Features (C, gh, gw) of each phi, if the provider divides them.

        Raises:
            BadImageError: The photo has no regions, such as where the masks of a photo are missing.
        """
        assert item.image is not None
        pixels = to_tensor(item.image)
        # The image may be a part of the photo's file, or have been resized.
        photo = replace(item.photo, hash=checksum(pixels.numpy().tobytes()))
        parts = [one.scores for one in features] if self.provider.needs_features else []
        try:
            labels = self.provider.regions(photo, pixels, parts)
        except FileError as error:
            raise BadImageError(str(error)) from error
        if not self.provider.needs_features:
            return labels
        rows, columns = (
            _cells(pixels.shape[axis], item.pixels.shape[axis], features[0].stride)
            for axis in (1, 2)
        )
        return labels.cpu()[rows[:, None], columns]


class VotedScores:
    """The mean of each region's fused scores at all its pixels; pixels of none keep their own.

    Args:
        own: The fused scores.
        regions: Regions of the photo, from 1, 0 for none.
    """

    def __init__(self, own: FusedScores, regions: Int32[Tensor, "h w"]) -> None:
        self._own = own
        self._means, self._regions = _means(own, regions)

    @property
    def output_hw(self) -> tuple[int, int]:
        """Size of the photo, pixels."""
        return self._own.output_hw

    def pixels(self, rows: slice = ALL, columns: slice = ALL) -> UInt8[Tensor, "3 strip w"]:
        """The photo itself, or a part of it, on the scores' device."""
        return self._own.pixels(rows, columns)

    def __call__(self, start: int, end: int, columns: slice = ALL) -> Float[Tensor, "c strip w"]:
        """The scores of rows `start` to `end` (exclusive), of all columns or some."""
        regions = self._regions[start:end, columns]
        fill = self._own(start, end, columns) if bool((regions == NONE).any()) else 0.0
        return spread(self._means, regions, fill)


def _means(
    own: FusedScores, regions: Int32[Tensor, "h w"]
) -> tuple[Float[Tensor, "c r"], Int32[Tensor, "h w"]]:
    """The mean of each region's scores, added up strip by strip; and the regions on the device."""
    sizes = region_sizes(regions)
    totals: Tensor | None = None
    start = 0
    for scores in score_strips(own, own.classes, own.output_hw):
        if totals is None:
            totals = scores.new_zeros(own.classes, len(sizes) + 1)
            regions = regions.to(scores.device)
        end = start + scores.shape[1]
        totals.index_add_(1, regions[start:end].flatten(), scores.flatten(1))
        start = end
    assert totals is not None
    return totals[:, 1:] / sizes.to(totals.device), regions


def vote_labels(
    labels: UInt[np.ndarray, "h w"], regions: Int32[Tensor, "h w"]
) -> UInt[np.ndarray, "h w"]:
    """Give all pixels of a region their most frequent label, background among them."""
    voted = vote_mode(torch.from_numpy(labels.astype(np.int64)), regions)
    found: np.ndarray = voted.numpy().astype(labels.dtype)
    return found


def _cells(pixels: int, input_pixels: int, stride: int) -> Tensor:
    """The cell of an encoder's grid that each pixel of a photo lies in, along one axis."""
    places = (torch.arange(pixels) + 0.5) * (input_pixels / pixels)
    return (places / stride).long()
