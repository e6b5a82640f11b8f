"""The checks of a curation, and their limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recoseg.errors import OptionError, UnknownNameError


@dataclass(frozen=True)
class Check:
    """A check that has a limit.

    Attributes:
        what: What is measured, for reading.
        limit: The limit where neither the user nor the encoder has another one.
        by_default: Whether the check is made unless others are chosen.
    """

    what: str
    limit: float
    by_default: bool = True


CHECKS: Mapping[str, Check] = {
    "tiny": Check("short side below, pixels", 64),
    "blank": Check("standard deviation of the brightness below, of 255", 8),
    "blurred": Check("sharpness below, 0 to 1", 0.55),
    "drawn": Check("share of hard steps and few colours above, 0 to 1", 0.33),
    "people": Check("margin of words for people above", 0.0, by_default=False),
    "duplicates": Check("cosine with a better photo above", 0.95),
}
"""The checks by name, in the order in which they give reasons."""

UNWANTED = "unwanted"
"""The name of the limit of the words that a user does not want to see."""

BASE: Mapping[str, float] = {
    **{name: check.limit for name, check in CHECKS.items()},
    UNWANTED: 0.0,
}
"""All limits."""


def chosen_checks(names: Sequence[str] | None) -> list[str]:
    """The names of checks in their order.

    Args:
        names: Names, or `all`, or `none` alone; None for those that are made by default.

    Raises:
        UnknownNameError: There is no such check.

    Example:
        >>> chosen_checks(["people", "tiny"])
        ['tiny', 'people']
    """
    if names is None:
        return [name for name, check in CHECKS.items() if check.by_default]
    if list(names) == ["none"]:
        return []
    for name in names:
        if name not in CHECKS and name != "all":
            raise UnknownNameError("check", name, [*CHECKS, "all", "none"])
    return [name for name in CHECKS if name in names or "all" in names]


def limits_of(given: Mapping[str, float], encoder: Mapping[str, float]) -> dict[str, float]:
    """All limits: those that a user has given, then those of the encoder, then the common ones.

    Raises:
        UnknownNameError: There is no such limit.
        OptionError: One is not a finite number, or no cosine where one is due.

    Example:
        >>> limits_of({"tiny": 32}, {"duplicates": 0.97})["duplicates"]
        0.97
    """
    for name, limit in given.items():
        if name not in BASE:
            raise UnknownNameError("limit", name, list(BASE))
        if not abs(limit) < float("inf"):
            raise OptionError(f"The limit of {name} is {limit}. Expected a number.")
        if name == "duplicates" and not 0 < limit <= 1:
            raise OptionError(
                f"The limit of duplicates is {limit}. Expected a cosine above 0 and at most 1."
            )
    return {**BASE, **encoder, **given}
