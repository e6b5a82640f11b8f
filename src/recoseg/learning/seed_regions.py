"""Regions of retrieved photos, whose means take the place of the seeds' features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int32
from torch import Tensor

from recoseg.errors import RecosegError
from recoseg.regions.clusters import ClusterRegions
from recoseg.regions.providers import PROVIDERS, provider_of


def seed_regions(spec: str) -> ClusterRegions | None:
    """What divides retrieved photos into regions; None for an empty spec.

    Raises:
        UnknownNameError: There is no such provider or option.
        RecosegError: The provider divides pixels, which are not kept while classes are learnt.
    """
    if not spec:
        return None
    # The spec may come from anyone's bank: the others are not made, since they would read files.
    others = {provider.name for provider in PROVIDERS} - {"clusters"}
    provider = None if spec.partition(":")[0] in others else provider_of(spec)
    if not isinstance(provider, ClusterRegions):
        raise RecosegError(
            f"Classes cannot be learnt with the regions {spec!r}, which need the photos' pixels; "
            "only features are kept while classes are learnt. Expected clusters, such as "
            "clusters:8."
        )
    return provider


def regions_of_photos(
    provider: ClusterRegions, features: Sequence[Float[Tensor, "k _ _ _"]]
) -> list[Int32[Tensor, "k h w"]]:
    """The regions of k photos on the grid of each phi.

    They are found on the grid of the first phi from the features of all, and brought to the others
    by nearest neighbours.
    """
    labels = torch.stack(provider.regions_of(features))
    return [
        labels
        if part.shape[2:] == labels.shape[1:]
        else F.interpolate(labels[:, None].float(), size=part.shape[2:], mode="nearest-exact")[
            :, 0
        ].int()
        for part in features
    ]
