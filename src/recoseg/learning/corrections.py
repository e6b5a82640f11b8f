"""Seeds that the user has set by hand, in place of those that co-segmentation found."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor

from recoseg.cosegmentation import Cosegmentation, ReferenceForm
from recoseg.cosegmentation.reference import reference_of_some
from recoseg.cosegmentation.seeds import gather_regions, gather_seeds
from recoseg.errors import RecosegError
from recoseg.evidence import Correction
from recoseg.photos.refs import Photo

_log = logging.getLogger(__name__)

NO_SEED = -1
"""Stands for the cell of a seed that an image does not have."""


def cell_of(
    pixel: tuple[int, int], photo_size: tuple[int, int], grid: tuple[int, int]
) -> tuple[int, int]:
    """The cell of a feature grid over the centre crop that a pixel of the whole photo lies in.

    Args:
        pixel: The pixel as (x, y), from 0 at the top left of the upright photo.
        photo_size: Width and height of the upright photo, pixels.
        grid: Height and width of the grid.

    Returns:
        The cell as (y, x).

    Raises:
        RecosegError: The pixel lies outside of the photo, or of the centre square that classes are
            learnt from.

    Example:
        >>> cell_of((0, 0), (20, 10), (4, 4))
        Traceback (most recent call last):
        recoseg.errors.RecosegError: The seed at 0,0 lies outside of the centre square that ...
        >>> cell_of((7, 0), (20, 10), (4, 4))
        (0, 1)
    """
    side = min(photo_size)
    shares = []
    for place, length in zip(pixel, photo_size, strict=True):
        if not 0 <= place < length:
            raise RecosegError(
                f"The seed at {pixel[0]},{pixel[1]} lies outside of the photo, which has "
                f"{photo_size[0]} x {photo_size[1]} pixels. Expected X,Y from 0,0 at the top left."
            )
        shares.append((place + 0.5 - (length - side) / 2) / side)
    if not all(0 <= share < 1 for share in shares):
        left, top = ((length - side) / 2 for length in photo_size)
        raise RecosegError(
            f"The seed at {pixel[0]},{pixel[1]} lies outside of the centre square that classes are "
            f"learnt from: x from {left:.0f} to {left + side - 1:.0f}, y from {top:.0f} to "
            f"{top + side - 1:.0f}."
        )
    return int(shares[1] * grid[0]), int(shares[0] * grid[1])


def pixel_of(
    cell: tuple[int, int], photo_size: tuple[int, int], grid: tuple[int, int]
) -> tuple[int, int]:
    """The pixel of the whole photo in the middle of a cell; the inverse of `cell_of`.

    Args:
        cell: The cell as (y, x).
        photo_size: Width and height of the upright photo, pixels.
        grid: Height and width of the grid.

    Returns:
        The pixel as (x, y).

    Example:
        >>> pixel_of((0, 1), (20, 10), (4, 4))
        (8, 1)
    """
    side = min(photo_size)
    x, y = (
        int((length - side) / 2 + (place + 0.5) * side / count)
        for place, length, count in zip(cell[::-1], photo_size, grid[::-1], strict=True)
    )
    return x, y


def corrected(
    found: Cosegmentation,
    features: Float[Tensor, "k C h w"],
    photos: Sequence[Photo],
    corrections: Mapping[str, Correction],
    *,
    form: ReferenceForm,
    regions: Int32[Tensor, "k h w"] | None,
) -> Cosegmentation:
    """Put the seeds of the user in the place of those that were found.

    The support scores stay as they are. The reference is made of the seeds as it would be of those
    that were found, whatever their number per photo.

    Args:
        found: What co-segmentation found.
        features: The features that it compared.
        photos: The photos, best first.
        corrections: Seeds by the id of their photo; photos without an entry keep theirs.
        form: How seeds become a reference embedding; see `reference_embedding`.
        regions: Regions of each photo as for `cosegment`; None for the seeds alone.

    Raises:
        RecosegError: A seed lies outside of its photo or of the centre square, or no seed is left.
    """
    if not any(photo.id in corrections for photo in photos):
        return found
    grid = (features.shape[2], features.shape[3])
    rows: list[Int64[Tensor, "s 2"]] = []
    for seeds, photo in zip(found.seeds, photos, strict=True):
        correction = corrections.get(photo.id)
        if correction is None:
            rows.append(seeds)
            continue
        size = (photo.width, photo.height)
        own = dict.fromkeys(cell_of(pixel, size, grid) for pixel in correction.pixels)
        rows.append(seeds.new_tensor(list(own)).reshape(-1, 2))
    most = max(map(len, rows))
    if not most:
        raise RecosegError("No photo of the class has a seed. Keep the seed of at least one photo.")
    seeds = torch.stack(
        [torch.cat([row, row.new_full((most - len(row), 2), NO_SEED)]) for row in rows]
    )
    present = seeds[..., 0] != NO_SEED
    cells = seeds.clamp(min=0)
    if regions is None:
        gathered = gather_seeds(features, cells)
    else:
        gathered = gather_regions(features, cells, regions)
    gathered = gathered * present[..., None]
    return replace(
        found,
        seeds=seeds,
        seed_features=gathered,
        reference=reference_of_some(gathered, present, form),
    )


def still_there(
    name: str, corrections: Sequence[Correction], photos: Sequence[Photo]
) -> tuple[Correction, ...]:
    """The corrections of photos that a class is learnt from; others are dropped with a warning."""
    ids = {photo.id for photo in photos}
    for correction in corrections:
        if correction.photo_id not in ids:
            _log.warning(
                "The seeds set by hand in %s are dropped: %s is not learnt from it any more",
                correction.path,
                name,
            )
    return tuple(correction for correction in corrections if correction.photo_id in ids)
