"""Supports: photos with the regions that show a class, and the choice of the most typical ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from recoseg.encoders.protocols import ImageTextEncoder
from recoseg.errors import BadImageError
from recoseg.photos.images import to_frame

MOST = 10
"""Supports of a class, as published."""

PADDING = 0.2
"""What is added around the box of a region, as a share of its height and width, as published."""

_GREY = 127
"""What takes the place of the pixels around a region in its masked view."""

_BATCH = 16  # views that are embedded together

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Support:
    """A photo with the region that shows a class.

    Attributes:
        path: Path or address of the photo, for reports.
        key: Text that identifies photo and region, by which results are kept.
        read: Reads and scales the part of the photo that the region is of, with a short side of
            about the given number of pixels; raises `BadImageError` where it cannot be read.
        region: Where the class is, on a grid of its own over that part.
    """

    path: str
    key: str
    read: Callable[[int], UInt8[Tensor, "3 h w"]]
    region: Bool[Tensor, "a b"]


def region_at(region: Bool[Tensor, "a b"], size: tuple[int, int]) -> Bool[Tensor, "h w"]:
    """A region on another grid over the same part of a photo: the cells that it mostly covers.

    A region that mostly covers no cell gets those of which it covers most, so that none vanishes.

    Example:
        >>> region_at(torch.tensor([[True, True, True, False]]), (1, 2)).tolist()
        [[True, True]]
    """
    if tuple(region.shape) == size:
        return region
    # As for photos, the mean over all cells that a smaller grid's cell covers.
    shares = F.interpolate(region[None, None].float(), size, mode="bilinear", antialias=True)
    return shares[0, 0] >= min(0.5, float(shares.max()))


def padded_box(region: Bool[Tensor, "h w"], padding: float = PADDING) -> tuple[slice, slice]:
    """Rows and columns of the box of a region, with some of what is around it.

    Args:
        region: The region, not empty.
        padding: What is added on each side, as a share of the box's height and width.

    Example:
        >>> region = torch.zeros(20, 20, dtype=torch.bool)
        >>> region[5:15, 0:10] = True
        >>> padded_box(region)
        (slice(3, 17, None), slice(0, 12, None))
    """
    found = []
    for axis in (1, 0):
        places = torch.nonzero(region.any(axis)).flatten()
        start, stop = int(places[0]), int(places[-1]) + 1
        more = round(padding * (stop - start))
        found.append(slice(max(0, start - more), min(region.shape[1 - axis], stop + more)))
    return found[0], found[1]


def views(
    pixels: UInt8[Tensor, "3 h w"], region: Bool[Tensor, "h w"]
) -> tuple[UInt8[Tensor, "3 a b"], UInt8[Tensor, "3 a b"]]:
    """Two views of a region: its padded box as it is, and with all around the region grey.

    Args:
        pixels: The photo.
        region: The region, not empty.
    """
    rows, columns = padded_box(region)
    context = pixels[:, rows, columns]
    return context, context.masked_fill(~region[rows, columns], _GREY)


def nearest_to_mean(embeddings: Float[Tensor, "k d"], most: int = MOST) -> list[int]:
    """The rows that are nearest to the mean of all, nearest first; of equal ones the first.

    Args:
        embeddings: Embeddings, rows L2-normalised.
        most: Number of rows to take, if there are so many.

    Example:
        >>> rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
        >>> nearest_to_mean(rows, 2)
        [2, 1]
    """
    cosines = embeddings @ F.normalize(embeddings.mean(0), dim=0)
    return cosines.argsort(descending=True, stable=True)[:most].tolist()


@torch.inference_mode()
def typical(
    supports: Sequence[Support], encoder: ImageTextEncoder, most: int = MOST
) -> list[Support]:
    """The supports that are nearest to the class's mean, in their order.

    A support is described by the mean of the unit embeddings of its two views. Those that cannot be
    read are left out with a warning.

    Args:
        supports: The supports; all of them if there are not more than `most`.
        encoder: Embeds the views.
        most: Number of supports to take.
    """
    if len(supports) <= most:
        return list(supports)
    kept: list[Support] = []
    framed: list[UInt8[Tensor, "3 s s"]] = []
    for support in supports:
        pixels = read_support(support, 2 * encoder.frame.size)  # the box may be a part of it
        if pixels is not None:
            both = views(pixels, region_at(support.region, (pixels.shape[1], pixels.shape[2])))
            framed += [to_frame(_image(view), encoder.frame) for view in both]
            kept.append(support)
    if len(kept) <= most:
        return kept
    parts = (framed[at : at + _BATCH] for at in range(0, len(framed), _BATCH))
    embedded = torch.cat([encoder.embed_images(torch.stack(part)).float().cpu() for part in parts])
    described = F.normalize(embedded.view(len(kept), 2, -1).mean(1), dim=1)
    return [kept[place] for place in sorted(nearest_to_mean(described, most))]


def read_support(support: Support, side: int) -> UInt8[Tensor, "3 h w"] | None:
    """The pixels of a support; None, with a warning, if they cannot be read."""
    try:
        return support.read(side)
    except BadImageError as error:
        _log.warning("Left out: %s: %s", support.path, error)
        return None


def _image(pixels: UInt8[Tensor, "3 h w"]) -> Image.Image:
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
