"""Options of segmentation that do not fit together, or to the bank."""

from __future__ import annotations

import logging
from typing import get_args

from recoseg.config import Fusion, SegmentSettings
from recoseg.errors import RecosegError, UnknownNameError
from recoseg.memory.region_memory import RegionMemory
from recoseg.segmentation.naming import NameForm

_log = logging.getLogger(__name__)


def check_names(
    names: NameForm | None, names_temperature: float | None, temperature: float | None
) -> None:
    """Refuse unknown names, and a temperature that would have no effect."""
    if names is not None and names not in get_args(NameForm):
        raise UnknownNameError("names", names, list(get_args(NameForm)))
    if names == "softmax" and temperature is not None:
        raise RecosegError(
            "--names softmax refines probabilities of names, which --names-temperature decides; "
            "--temperature would have no effect. Leave it out."
        )
    if names != "softmax" and names_temperature is not None:
        raise RecosegError(
            "--names-temperature would have no effect without --names softmax. Add it, or leave "
            "the temperature out."
        )


def tell_memory(own: SegmentSettings, memory: RegionMemory | None) -> None:
    """Tell where photos are not segmented with the region memory that the bank is meant for."""
    if not own.memory or (memory is not None and memory.content == own.memory_content):
        return
    _log.warning(
        "The bank is meant for the region memory %s; photos are segmented %s.",
        own.memory,
        "without one" if memory is None else f"with {memory.location}, which holds other regions",
    )


def check_weights(fusion: Fusion, given: set[str], has_memory: bool) -> None:
    """Refuse weights that would have no effect."""
    for name, has_effect, needed in (
        ("phi_weights", fusion.uses_visual, "visual scores"),
        ("text_weight", fusion.form == "sum", "the fusion sum"),
        ("memory_weight", has_memory, "a memory (--memory)"),
    ):
        if name in given and not has_effect:
            option = name.replace("_weights", "_weight").replace("_", "-")
            raise RecosegError(
                f"--{option} would have no effect without {needed}; the fusion is {fusion.form}. "
                "Leave it out."
            )
