"""From options to what the library takes, for the commands that segment."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from recoseg.concepts import ConceptBank
from recoseg.config import Fusion, FusionForm
from recoseg.refinement.refiner import RefineForm, RefineSettings


def chosen_fusion(bank: ConceptBank, form: str | None) -> Fusion:
    """The bank's fusion, in another form where one is given."""
    fusion = bank.settings.segment.fusion
    return fusion if form is None else replace(fusion, form=cast("FusionForm", form))


def chosen_refinement(
    bank: ConceptBank, form: str, temperature: float | None, steps: int | None
) -> RefineSettings:
    """A form of refinement, at the bank's temperature unless another is given."""
    if temperature is None:
        temperature = bank.settings.segment.refine_temperature
    settings = RefineSettings(cast("RefineForm", form), temperature)
    if steps is None:
        return settings
    return replace(
        settings,
        pamr=replace(settings.pamr, iterations=steps),
        crf=replace(settings.crf, iterations=steps),
    )


def names_in(text: str) -> list[str]:
    """The names in a comma-separated list."""
    return [name.strip() for name in text.split(",") if name.strip()]
