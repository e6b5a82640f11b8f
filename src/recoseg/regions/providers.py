"""The table of what divides photos into regions, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from recoseg.device import Compute
from recoseg.errors import OptionError, UnknownNameError
from recoseg.regions.clusters import ClusterRegions
from recoseg.regions.files import FileRegions
from recoseg.regions.protocol import RegionProvider
from recoseg.regions.sam2 import Sam2Regions
from recoseg.regions.superpixels import Felzenszwalb, Slic


@dataclass(frozen=True)
class Provider:
    """An entry of the table.

    Attributes:
        name: The first part of a spec.
        text: One line for users.
        options: The type of each option, by name; the first one may be given without its name.
        make: Makes the provider of the given options and the device.
    """

    name: str
    text: str
    options: Mapping[str, type[int] | type[float] | type[str]]
    make: Callable[[dict[str, object], Compute | None], RegionProvider]


def _superpixels(given: dict[str, object], compute: Compute | None) -> RegionProvider:
    return Felzenszwalb(**_renamed(given, {"min": "min_size"}))  # type: ignore[arg-type]


def _slic(given: dict[str, object], compute: Compute | None) -> RegionProvider:
    return Slic(**given)  # type: ignore[arg-type]


def _clusters(given: dict[str, object], compute: Compute | None) -> RegionProvider:
    return ClusterRegions(**given)  # type: ignore[arg-type]


def _sam2(given: dict[str, object], compute: Compute | None) -> RegionProvider:
    return Sam2Regions(**given, compute=compute)  # type: ignore[arg-type]


def _files(given: dict[str, object], compute: Compute | None) -> RegionProvider:
    if "source" not in given:
        raise OptionError("Expected the folder or file of the masks, such as files:masks.")
    return FileRegions(Path(str(given["source"])))


def _renamed(given: dict[str, object], names: Mapping[str, str]) -> dict[str, object]:
    return {names.get(name, name): value for name, value in given.items()}


PROVIDERS = (
    Provider(
        "superpixels",
        "Felzenszwalb's superpixels of the photo's pixels",
        {"scale": float, "sigma": float, "min": int, "side": int},
        _superpixels,
    ),
    Provider(
        "slic",
        "superpixels of about equal size",
        {"count": int, "compactness": float, "side": int},
        _slic,
    ),
    Provider(
        "clusters",
        "clusters of phi's features",
        {"clusters": int, "steps": int, "least": int},
        _clusters,
    ),
    Provider(
        "sam2",
        "automatic masks of SAM 2.1",
        {
            **{"model": str, "points": int, "iou": float, "stability": float},
            **{"crops": int, "batch": int},
        },
        _sam2,
    ),
    Provider("files", "masks of your own, by the photo's name", {"source": str}, _files),
)
"""All providers."""


def provider_of(spec: str, compute: Compute | None = None) -> RegionProvider:
    """The provider that a spec names.

    Args:
        spec: `NAME`, `NAME:VALUE` (the value of its first option) or `NAME:OPTION=VALUE,...`, such
            as `superpixels`, `superpixels:scale=200,min=100`, `clusters:8`,
            `sam2:facebook/sam2.1-hiera-small,points=16` or `files:FOLDER`, whose name may hold
            `,` and `=`.
        compute: Device and precision of providers that are networks.

    Raises:
        UnknownNameError: There is no such provider or option.
        RecosegError: A value is of another type or out of range.

    Example:
        >>> provider_of("superpixels:scale=200,min=100").key
        'superpixels(scale=200,sigma=0.7,min=100,side=640)'
    """
    name, mark, rest = spec.partition(":")
    table = {provider.name: provider for provider in PROVIDERS}
    if name not in table:
        raise UnknownNameError("regions", name, list(table))
    provider = table[name]
    if mark and not rest:
        raise OptionError(f"Expected a value after {spec!r}, or no colon.")
    return provider.make(_options(provider, rest), compute)


def _options(provider: Provider, text: str) -> dict[str, object]:
    """The options that a spec gives, as values of their types."""
    first = next(iter(provider.options))
    if len(provider.options) == 1:
        return {first: text} if text else {}
    given: dict[str, object] = {}
    for place, part in enumerate(text.split(",") if text else []):
        option, mark, value = part.partition("=")
        if not mark and place == 0:
            option, value = first, part
        if option not in provider.options:
            raise UnknownNameError(f"option of {provider.name}", option, list(provider.options))
        if option in given:
            raise OptionError(f"The option {option} of {provider.name} is given twice.")
        kind = provider.options[option]
        try:
            given[option] = kind(value)
        except ValueError as error:
            raise OptionError(
                f"{option} of {provider.name} is {value!r}; expected a number of type "
                f"{kind.__name__}."
            ) from error
    return given
