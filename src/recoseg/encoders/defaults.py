"""The settings that suit a choice of encoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from recoseg.config import BankSettings, LearnSettings, SegmentSettings
from recoseg.encoders.encoder_table import find_row
from recoseg.encoders.protocols import EncoderInfo
from recoseg.encoders.recipes import recipe_of
from recoseg.encoders.spec import EncoderDefaults, EncoderRole
from recoseg.errors import UnknownNameError


def default_settings(
    saliency: EncoderInfo,
    phi: EncoderInfo | Sequence[EncoderInfo],
    recipe: str | None = None,
) -> BankSettings:
    """The settings to learn and to segment with, where none are given.

    They are the paper's, with what the recipe and the encoders' rows of the table change. If
    several phi encoders change the same setting, the first one counts.

    Args:
        saliency: The saliency encoder.
        phi: The phi encoder or several; encoders that are not in the table change nothing.
        recipe: Name of a recipe; see `recoseg.encoders.recipes`. By default that of the saliency
            encoder: `regions` for `lite`, `paper` for all others.

    Raises:
        UnknownNameError: There is no such recipe.
    """
    several = [phi] if isinstance(phi, EncoderInfo) else phi
    chosen = recipe_of(recipe or _defaults_of(saliency, "saliency").recipe)
    settings = BankSettings(
        LearnSettings(**chosen.learn), SegmentSettings(**chosen.segment), chosen.name
    )
    for defaults in [
        *(_defaults_of(info, "phi") for info in reversed(several)),
        _defaults_of(saliency, "saliency"),
    ]:
        settings = replace(
            settings,
            learn=replace(settings.learn, **defaults.learn),
            segment=replace(
                settings.segment, **{**defaults.segment, **defaults.by_recipe.get(chosen.name, {})}
            ),
        )
    return settings


def default_prompts(retrieval: EncoderInfo) -> str:
    """The prompt set to search an archive with, where none is given."""
    return replace(LearnSettings(), **_defaults_of(retrieval, "retrieval").learn).prompts


def curation_limits(retrieval: EncoderInfo) -> Mapping[str, float]:
    """The limits of `recoseg curate` that suit the encoder of an index, by name."""
    return _defaults_of(retrieval, "retrieval").curate


def _defaults_of(info: EncoderInfo, role: EncoderRole) -> EncoderDefaults:
    try:
        row, _ = find_row(info.name, role)
    except UnknownNameError:
        return EncoderDefaults()
    return row.defaults.get(role, EncoderDefaults())
