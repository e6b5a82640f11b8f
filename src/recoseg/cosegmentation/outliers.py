"""Outlier patches of vision transformers, which would be the best match of every photo.

Transformers without registers use a few patches, wherever they lie, for what the whole photo shows.
These patches are alike in all photos, so that co-segmentation would take them for what the photos
have in common.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

LEAST_NORM, MOST_NORM = 0.85, 1.6
"""Norms of patches that are no outliers, relative to the photo's median.

Before the final norm layer of a transformer the norms of outliers are large. After it, where most
encoders take their features, they are small: one number of the outlier holds most of its norm, and
the layer's scale has learnt to suppress that number.
"""


def find_outliers(features: Float[Tensor, "k C h w"]) -> Bool[Tensor, "k h w"]:
    """The patches whose norm is far from the median of their photo.

    Args:
        features: Features of phi, not normalised.

    Example:
        >>> features = torch.tensor([1.0, 1.1, 0.5, 0.9, 2.0]).view(1, 1, 1, 5)
        >>> find_outliers(features).tolist()
        [[[False, False, True, False, True]]]
    """
    norms = torch.linalg.vector_norm(features.float(), dim=1)
    median = norms.flatten(1).median(1).values[:, None, None]
    return (norms < LEAST_NORM * median) | (norms > MOST_NORM * median)


def mend(
    features: Float[Tensor, "k C h w"], outlying: Bool[Tensor, "k h w"]
) -> Float[Tensor, "k C h w"]:
    """Replace outliers by the mean of those of their 8 neighbours that are none.

    An outlier all of whose neighbours are outliers stays as it is.
    """
    sound = (~outlying).to(features)[:, None]
    both = torch.cat([features * sound, sound], dim=1)
    total = F.avg_pool2d(both, 3, 1, 1, divisor_override=1)
    mean = total[:, :-1] / total[:, -1:].clamp(min=1)
    replaced = outlying[:, None] & (total[:, -1:] > 0)
    return torch.where(replaced, mean, features)


def mend_outliers(features: Float[Tensor, "k C h w"]) -> Float[Tensor, "k C h w"]:
    """The features of phi with its outliers mended, fp32; see `find_outliers` and `mend`."""
    return mend(features.float(), find_outliers(features))


def distinctive(features: Float[Tensor, "k C h w"]) -> Float[Tensor, "k C h w"]:
    """What sets places apart from all patches of all photos, to find seeds by.

    What is left of outliers after they are mended is a direction that many patches share, and
    single patches that are alike by chance. The former is removed by subtracting the mean of all
    patches, the latter by a mean over 3 x 3 patches.

    Args:
        features: Mended features of phi for k photos.

    Returns:
        The means of the unit features over each patch and its neighbours, less their mean over all
        photos; not normalised, fp32.
    """
    unit = F.normalize(features.float(), dim=1)
    smooth = F.avg_pool2d(unit, 3, 1, 1, count_include_pad=False)
    return smooth - smooth.mean((0, 2, 3), keepdim=True)
