"""Reading classes from lines, from a file, or from the name of a label space."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from recoseg.classes import ClassNames, check_classes, parse_class
from recoseg.datasets.spaces import classes_of

Classes = str | Path | Sequence[str | ClassNames]
"""A list of classes (lines that `parse_class` reads, or `ClassNames`), the path of a file of
classes, or the name of a label space."""


def as_classes(classes: Classes, *, aliases: bool = False) -> list[ClassNames]:
    """The classes, with their words.

    Args:
        classes: See `Classes`.
        aliases: Whether to use the aliases of a label space as well.

    Raises:
        ConceptError: There is no class, a name occurs twice, or `classes` is neither a file nor a
            label space.

    Example:
        >>> [item.prompts for item in as_classes(["dog: dog; puppy", "sofa; couch"])]
        [('dog', 'puppy'), ('sofa', 'couch')]
    """
    if isinstance(classes, str | Path):
        return classes_of(os.fspath(classes), aliases)
    lines = [item for item in classes if isinstance(item, ClassNames) or item.strip()]
    return check_classes(
        [item if isinstance(item, ClassNames) else parse_class(item) for item in lines]
    )
