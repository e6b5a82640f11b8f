"""Options of segmentation that do not fit together are refused before a model is loaded."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import get_args

from recoseg.concepts import ConceptBank
from recoseg.config import Fusion, SegmentSettings
from recoseg.decoders.sam3 import Sam3Decoder
from recoseg.encoders.decoder_sources import NO_DECODER
from recoseg.errors import OptionError, UnknownNameError
from recoseg.hub.address import is_hub
from recoseg.memory.region_memory import RegionMemory
from recoseg.refinement.refiner import RefineForm, RefineSettings
from recoseg.segmentation.instances import InstanceForm
from recoseg.segmentation.naming import NameForm
from recoseg.segmentation.segmenter import Segmenter
from recoseg.training.model import TrainedModel

_log = logging.getLogger(__name__)


def check_names(
    names: NameForm | None, names_temperature: float | None, temperature: float | None
) -> None:
    """Refuse unknown names, and a temperature that would have no effect."""
    if names is not None and names not in get_args(NameForm):
        raise UnknownNameError("names", names, list(get_args(NameForm)))
    if names == "softmax" and temperature is not None:
        raise OptionError(
            "--temperature would have no effect with --names softmax, which has a temperature of "
            "its own, --names-temperature. Leave out --temperature."
        )
    if names != "softmax" and names_temperature is not None:
        raise OptionError(
            "--names-temperature would have no effect without --names softmax. Add --names "
            "softmax, or leave out --names-temperature."
        )


def tell_memory(own: SegmentSettings, memory: RegionMemory | None) -> None:
    """Tell where photos are not segmented with the region memory that the bank is meant for."""
    if not own.memory or (memory is not None and memory.content == own.memory_content):
        return
    _log.warning(
        "The bank is meant for the region memory %s; photos are segmented %s. To use it: --memory "
        "%s",
        own.memory,
        "without one" if memory is None else f"with {memory.location}, which holds other regions",
        own.memory,
    )


def check_weights(
    fusion: Fusion, given: set[str], has_memory: bool, has_decoder: bool = False
) -> None:
    """Refuse weights that would have no effect."""
    adds = fusion.form not in ("product", "decoder")
    for name, has_effect, needed in (
        ("phi_weights", fusion.uses_visual, "visual scores"),
        ("text_weight", fusion.form == "sum", "the fusion sum"),
        ("memory_weight", has_memory, "a memory (--memory)"),
        ("decoder_weight", has_decoder, "a decoder (--decoder)"),
        ("decoder_weight", adds, "a fusion that adds scores, such as --fusion sum"),
    ):
        if name in given and not has_effect:
            option = name.replace("_weights", "_weight").replace("_", "-")
            raise OptionError(
                f"--{option} would have no effect without {needed}; the fusion is {fusion.form}. "
                "Leave it out."
            )


def refuse_for_a_model(source: object, **given: object) -> None:
    """Refuse options that a trained model has no use for; None is an option that is not given."""
    unused = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None]
    if unused:
        what = "This" if isinstance(source, TrainedModel) else str(Path(str(source)))
        raise OptionError(
            f"{what} is a trained model; {', '.join(unused)} would have no effect. Leave it out."
        )


def refinement_of(form: RefineForm, temperature: float, steps: int | None) -> RefineSettings:
    """The settings of a form of refinement; `steps` takes the place of its default number.

    Raises:
        OptionError: There are steps of no refinement.
    """
    settings = RefineSettings(form, temperature)
    if steps is None:
        return settings
    if form == "none":
        raise OptionError(
            f"There is no refinement, so that its number of steps, {steps}, would have no effect. "
            "Choose one by --refine, or leave out --refine-steps."
        )
    if settings.spreads_patches:
        return replace(settings, lposs=replace(settings.lposs, steps=steps))
    return replace(
        settings,
        pamr=replace(settings.pamr, iterations=steps),
        crf=replace(settings.crf, iterations=steps),
    )


def with_source(segmenter: Segmenter, source: object) -> Segmenter:
    """The segmenter whose settings also say at which commit of the Hub its bank or model is."""
    if not is_hub(source):
        return segmenter
    return replace(segmenter, settings={**segmenter.settings, "source": str(source)})


def with_instances(segmenter: Segmenter, form: InstanceForm) -> Segmenter:
    """A segmenter whose results have instances of some form."""
    if form == "parts":
        return segmenter
    labeller = replace(segmenter.labeller, instances=form)
    return replace(segmenter, labeller=labeller, settings={**segmenter.settings, "instances": form})


def decoder_of(decoder: str | Sam3Decoder | None, bank: ConceptBank) -> str | Sam3Decoder | None:
    """The decoder to segment with; a warning says if the bank has prompts that none would use.

    Args:
        decoder: The decoder that is asked for; `none` for none, None for that of the bank.
        bank: The bank.
    """
    if decoder == NO_DECODER:
        return None
    found = decoder or bank.settings.segment.decoder or None
    if found is None and any(concept.prompt for concept in bank.classes):
        _log.warning(
            "The bank has learnt prompts for SAM 3, which are not used. Add --decoder sam3 to use "
            "them, or --decoder none to do without."
        )
    return found
