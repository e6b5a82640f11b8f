"""Contrast: what is common in the whole archive tells little about one class.

A patch of lawn is matched in most photos of dogs, and so is it in those of cows, sheep and
footballs. The best match of a patch in photos of anything says how common it is; what the photos of
a class have in common *more than the archive has* is the class.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from recoseg.cosegmentation.affinity import unit_patches
from recoseg.cosegmentation.checks import CosegmentationError, check_features
from recoseg.onednn import linear

_TILE_ELEMENTS = 4_000_000


@torch.no_grad()
def commonness(
    features: Float[Tensor, "k C h w"],
    regions: Float[Tensor, "r C"],
    photos: Int64[Tensor, " r"],
) -> Float[Tensor, "k h w"]:
    """How well each patch is matched in photos of anything, on average.

    Args:
        features: Features of phi for the images of a class; any scale.
        regions: Unit features that describe other photos of the archive, such as the mean of each
            of their regions.
        photos: The photo of each of these, in ascending order.

    Returns:
        The mean over these photos of the patch's best cosine with the photo, in [-1, 1], fp32
        (fp64 for fp64 features).

    Raises:
        CosegmentationError: There are no other photos, or shapes do not fit.

    Example:
        >>> lawn, dog = torch.eye(2)
        >>> image = torch.stack([lawn, dog], dim=1).view(1, 2, 1, 2)
        >>> commonness(image, torch.stack([lawn, lawn]), torch.tensor([0, 1]))
        tensor([[[1., 0.]]])
    """
    check_features(features)
    if regions.ndim != 2 or not len(regions) or regions.shape[1] != features.shape[1]:
        raise CosegmentationError(
            f"Expected features of other photos of shape (r, {features.shape[1]}) with r >= 1; got "
            f"{tuple(regions.shape)}."
        )
    if photos.shape != regions.shape[:1]:
        raise CosegmentationError(
            f"Expected the photo of each of the {len(regions)} regions; got {tuple(photos.shape)}."
        )
    k, _, height, width = features.shape
    sizes = [size for size in torch.bincount(photos).tolist() if size]
    patches = unit_patches(features)
    rows = regions.to(patches)
    found = [
        torch.stack([part.amax(1) for part in torch.split(linear(tile, rows), sizes, 1)]).mean(0)
        for tile in torch.split(patches, max(1, _TILE_ELEMENTS // len(rows)))
    ]
    return torch.cat(found).view(k, height, width)
