"""From options to what the library takes, for the commands that segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from recoseg.concepts import ConceptBank
from recoseg.config import Fusion, FusionForm
from recoseg.device import Compute
from recoseg.errors import RecosegError
from recoseg.photos.refs import Photo
from recoseg.photos.sources import list_sources
from recoseg.refinement.refiner import RefineForm, RefineSettings
from recoseg.segmentation.bank_segmenter import bank_segmenter
from recoseg.segmentation.segmenter import Segmenter
from recoseg.training.model import is_model


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
    return refinement(form, temperature, steps)


def refinement(form: str, temperature: float, steps: int | None) -> RefineSettings:
    """A form of refinement with its temperature and, where given, another number of steps."""
    settings = RefineSettings(cast("RefineForm", form), temperature)
    if steps is None:
        return settings
    return replace(
        settings,
        pamr=replace(settings.pamr, iterations=steps),
        crf=replace(settings.crf, iterations=steps),
    )


def open_segmenter(
    path: Path,
    compute: Compute,
    *,
    fusion: str | None,
    refine: str,
    temperature: float | None,
    refine_steps: int | None,
    phi: str | None,
    saliency: str | None,
    **options: Any,
) -> Segmenter:
    """The segmenter of a concept bank, or of a trained model, whichever the path is.

    Raises:
        RecosegError: There is none, or an option has no meaning for a trained model.
    """
    if not is_model(path):
        bank = ConceptBank.load(path)
        chosen = chosen_refinement(bank, refine, temperature, refine_steps)
        return bank_segmenter(
            bank,
            phi=phi,
            saliency=saliency,
            compute=compute,
            fusion=chosen_fusion(bank, fusion),
            refine=chosen,
            **options,
        )
    given = {"--fusion": fusion, "--phi": phi, "--saliency": saliency}
    meant = [option for option, value in given.items() if value is not None]
    if meant:
        raise RecosegError(
            f"{path} is a trained model, for which {', '.join(meant)} would do nothing."
        )
    from recoseg.training.model_segmenter import model_segmenter

    chosen = refinement(refine, 1.0 if temperature is None else temperature, refine_steps)
    return model_segmenter(path, compute=compute, refine=chosen, **options)


def photos_in(images: Sequence[str]) -> list[Photo]:
    """All photos of the sources, in order, with what listing them has told.

    Raises:
        RecosegError: There are none.
    """
    photos = [photo for source in list_sources(images) for photo in source.photos]
    if not photos:
        raise RecosegError(f"No photos found in {', '.join(images)}.")
    return photos


def names_in(text: str) -> list[str]:
    """The names in a comma-separated list."""
    return [name.strip() for name in text.split(",") if name.strip()]
