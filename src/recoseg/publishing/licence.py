"""The licence of a bank, a model or a memory, from those of the weights that it was made with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from recoseg.encoders.licences import (
    APPLE_AMLR,
    APPLE_ASCL,
    CC_BY_NC,
    DINOV3,
    NVIDIA_OPEN,
    Use,
    use_of,
)

_IDENTIFIERS = {
    "MIT": "mit",
    "Apache-2.0": "apache-2.0",
    CC_BY_NC: "cc-by-nc-4.0",
    APPLE_AMLR: "apple-amlr",
    APPLE_ASCL: "apple-ascl",
}
"""The names that the Hub has for licences."""

_OTHERS = {DINOV3: "dinov3-license", NVIDIA_OPEN: "nvidia-open-model-license"}
"""Names of licences for which the Hub has none of its own."""

_FREEDOM: dict[Use, int] = {"any": 0, "see licence": 1, "non-commercial": 2}
_WITHIN = ("MIT", "Apache-2.0")  # the latter asks for more: notices and what was changed


@dataclass(frozen=True)
class HubLicence:
    """A licence as the metadata of a model card name it.

    Attributes:
        identifier: The Hub's name of it; `other` where it has none, `unknown` where none is known.
        name: A name of its own, if the identifier is `other`.
    """

    identifier: str
    name: str = ""


def strictest(licences: Iterable[str]) -> HubLicence:
    """The licence that allows least, of those that are named.

    Args:
        licences: Licences as encoders record them; empty where one is not known.

    Returns:
        The strictest one; all of them by name where several are equally strict.

    Example:
        >>> strictest(["MIT", "Apache-2.0", ""])
        HubLicence(identifier='apache-2.0', name='')
        >>> strictest(["MIT", "DINOv3 licence"])
        HubLicence(identifier='other', name='dinov3-license')
    """
    named = sorted({licence for licence in licences if licence})
    if not named:
        return HubLicence("unknown")
    least = max(map(_strictness, named))
    found = [licence for licence in named if _strictness(licence) == least]
    if len(found) == 1 and found[0] in _IDENTIFIERS:
        return HubLicence(_IDENTIFIERS[found[0]])
    names = [_IDENTIFIERS.get(one) or _OTHERS.get(one) or _plain(one) for one in found]
    return HubLicence("other", "-and-".join(names))


def _strictness(licence: str) -> tuple[int, int]:
    within = _WITHIN.index(licence) if licence in _WITHIN else len(_WITHIN)
    return _FREEDOM[use_of(licence)], within if use_of(licence) == "any" else 0


def _plain(licence: str) -> str:
    """A licence in small letters, digits and hyphens, as the Hub's names are."""
    words = "".join(letter if letter.isalnum() else " " for letter in licence.lower()).split()
    return "-".join(words)
