"""The licences of published weights, and what they allow."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Literal

from recoseg.encoders.protocols import EncoderInfo

_log = logging.getLogger(__name__)

Use = Literal["any", "non-commercial", "see licence"]
"""What a licence allows: any use, commercial use too; no commercial use; or uses that it lists."""

CC_BY_NC = "CC BY-NC 4.0"
APPLE_AMLR = "Apple AMLR"
"""Apple's licence for machine learning research: for research alone."""
APPLE_ASCL = "Apple ASCL"
"""Apple's sample code licence, as timm records it of the Data Filtering Networks."""
DINOV3 = "DINOv3 licence"
"""Meta's own licence, with conditions of its own."""
NVIDIA_OPEN = "NVIDIA Open Model"
"""NVIDIA's own licence, with conditions of its own."""
SAM = "SAM licence"
"""Meta's own licence of SAM 3, with conditions of its own; the weights are given out on request."""

_ANY_USE = {"MIT", "Apache-2.0"}
_NON_COMMERCIAL = {CC_BY_NC, APPLE_AMLR}


def use_of(licence: str) -> Use:
    """What the licence of weights allows, in one word; the licence itself is what counts.

    Example:
        >>> use_of("MIT"), use_of("CC BY-NC 4.0"), use_of("DINOv3 licence")
        ('any', 'non-commercial', 'see licence')
    """
    if licence in _ANY_USE:
        return "any"
    return "non-commercial" if licence in _NON_COMMERCIAL else "see licence"


def tell_licences(licences: Iterable[tuple[str, str]]) -> None:
    """Tell which weights are not for commercial use, and whether SAM 3 is among them.

    Nothing is told of others.

    Args:
        licences: Names of encoders and the licences of their weights.
    """
    each = list(dict.fromkeys(licences))
    if any(licence == SAM for _, licence in each):
        _log.warning(
            "The weights of SAM 3 have a licence of Meta's own (%s), and Meta gives them out on "
            "request. Read the licence before you use or share what is made with them.",
            SAM,
        )
    limited = [
        f"{name} ({licence})" for name, licence in each if use_of(licence) == "non-commercial"
    ]
    if limited:
        _log.warning(
            "These weights are published for non-commercial use: %s. Commercial use of what is "
            "made with them needs other encoders, such as --preset open.",
            ", ".join(limited),
        )


def tell_licences_of(infos: Iterable[EncoderInfo]) -> None:
    """Tell which encoders have weights that are not for commercial use, by their records."""
    tell_licences((info.name, info.licence) for info in infos)
