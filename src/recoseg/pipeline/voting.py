"""Which regions vote, by the options of a command and by a bank's settings."""

from __future__ import annotations

from pathlib import Path

from recoseg.config import NO_REGIONS
from recoseg.device import Compute
from recoseg.errors import OptionError, RecosegError
from recoseg.regions.cache import CachedRegions, RegionCache
from recoseg.regions.protocol import RegionProvider
from recoseg.regions.providers import provider_of
from recoseg.segmentation.voting import VoteForm, Voting

_REGION_CACHE_BYTES = 10_000_000_000

_HARMLESS_REGIONS = ("superpixels", "slic", "clusters")
"""Those that neither read files nor download a model."""


def regions_of_bank(spec: str) -> str:
    """The regions that a bank's settings name, which may come from anyone.

    Raises:
        RecosegError: They would read files or download a model.
    """
    name = spec.partition(":")[0]
    if name not in _HARMLESS_REGIONS:
        raise RecosegError(
            f"The bank's settings name the regions {spec!r}; expected one of "
            f"{', '.join(_HARMLESS_REGIONS)} in a bank. Choose them yourself by --regions, or none."
        )
    return spec


def voting_of(
    regions: str | RegionProvider | None,
    vote: VoteForm | None,
    cache: str | Path | None,
    compute: Compute,
) -> Voting | None:
    """The vote that the options of `open_segmenter` describe; None if no regions vote.

    Raises:
        RecosegError: There are no regions, so that the other options would have no effect.
    """
    if regions is None or regions == NO_REGIONS:
        given = {"--vote": vote, "--region-cache": cache}
        unused = [name for name, value in given.items() if value is not None]
        if unused:
            raise OptionError(
                f"{', '.join(unused)} would have no effect without regions that vote. Add "
                "--regions, such as --regions superpixels."
            )
        return None
    provider = provider_of(regions, compute) if isinstance(regions, str) else regions
    if cache is not None:
        provider = CachedRegions(provider, RegionCache(Path(cache), _REGION_CACHE_BYTES))
    return Voting(provider, vote or "mean")
