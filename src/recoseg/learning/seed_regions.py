"""Regions of retrieved photos, whose means take the place of the seeds' features."""

from __future__ import annotations

from recoseg.errors import OptionError, UnknownNameError
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
    kind = spec.partition(":")[0]
    others = {provider.name for provider in PROVIDERS} - {"clusters"}
    if kind != "clusters" and kind not in others:
        raise UnknownNameError("regions", kind, ["clusters", "none"])
    provider = None if kind in others else provider_of(spec)
    if not isinstance(provider, ClusterRegions):
        raise OptionError(
            f"Classes cannot be learnt with the regions {spec!r}, which need the photos' pixels; "
            "only features are kept while classes are learnt. Expected clusters, such as "
            "clusters:8."
        )
    return provider
