"""Recipes: whole sets of settings for learning and segmenting, each with a name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from recoseg.config import PAPER_RECIPE
from recoseg.errors import UnknownNameError


@dataclass(frozen=True)
class Recipe:
    """Settings that differ from the paper's.

    Attributes:
        name: The name it is asked for by.
        note: What it does.
        learn: Fields of `LearnSettings`.
        segment: Fields of `SegmentSettings`.
    """

    name: str
    note: str
    learn: Mapping[str, Any] = field(default_factory=dict)
    segment: Mapping[str, Any] = field(default_factory=dict)


RECIPES = (
    Recipe(PAPER_RECIPE, "as published: context classes eliminated, every pixel by itself"),
    Recipe(
        "regions",
        "references are means of the seeds' regions, and superpixels vote",
        learn={"regions": "clusters"},
        segment={"regions": "superpixels"},
    ),
)
"""All recipes. Settings that suit an encoder, such as its fusion, are added to each of them."""


def recipe_of(name: str) -> Recipe:
    """Look up a recipe by name.

    Raises:
        UnknownNameError: There is no such recipe; the message lists the valid names.

    Example:
        >>> recipe_of("regions").segment["regions"]
        'superpixels'
    """
    for recipe in RECIPES:
        if recipe.name == name:
            return recipe
    raise UnknownNameError("recipe", name, [recipe.name for recipe in RECIPES])
