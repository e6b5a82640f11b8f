"""The settings of learning that a caller gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from recoseg.concepts import ConceptBank
from recoseg.config import NO_REGIONS, LearnSettings
from recoseg.errors import OptionError
from recoseg.learning.seed_regions import seed_regions

AUTO = "auto"
"""Asks for as many photos per class as stand out."""

LEAST_K = 20
"""The fewest photos per class where their number is chosen: fewer make references worse."""


def settings_given(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `LearnSettings` that a caller gives, in the form in which a bank keeps them.

    Args:
        settings: Fields of `LearnSettings`; None leaves the default, and `k="auto"` chooses the
            number of photos.

    Raises:
        OptionError: A value is out of range, or classes cannot be learnt with these regions.
    """
    changes = {name: value for name, value in settings.items() if value is not None}
    if changes.get("k") == AUTO:
        del changes["k"]
        changes = {"least_k": LEAST_K} | changes
    elif "k" in changes:
        changes = {"least_k": 0} | changes
    if isinstance(changes.get("k"), str):
        raise OptionError(f"k is {changes['k']!r}; expected a number, such as 50, or {AUTO!r}.")
    if changes.get("regions") == NO_REGIONS:
        changes["regions"] = ""
    if isinstance(changes.get("context"), str):
        raise OptionError(
            f"context is {changes['context']!r}; expected a list of classes, such as "
            '["sky", "tree: tree; forest"]; an empty one eliminates nothing.'
        )
    # Refuses values out of range, and regions that classes cannot be learnt with.
    seed_regions(replace(LearnSettings(), **changes).regions)
    return changes


def check_settings(bank: ConceptBank, given: Mapping[str, Any]) -> None:
    """Refuse settings that would have no effect, since a bank keeps its own."""
    own = bank.settings.learn
    for name, value in given.items():
        kept = getattr(own, name)
        if name == "least_k" and value and not kept:
            raise OptionError(
                "A bank that classes are added to keeps its settings, so -k auto only works for a "
                "new bank. Leave out -k auto, or leave out --add-to to learn a new bank."
            )
        if (tuple(value) if isinstance(kept, tuple) else value) != kept:
            raise OptionError(
                f"A bank that classes are added to keeps its settings: {name} is {kept!r} there, "
                f"and {value!r} would have no effect. Leave it out, or learn a new bank."
            )
