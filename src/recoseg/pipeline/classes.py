"""Reading classes from lines, from a file, or from the name of a label space."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

from recoseg.classes import (
    MAX_CLASSES_FILE,
    VERBATIM,
    ClassNames,
    check_classes,
    parse_class,
    parse_classes,
    read_classes,
)
from recoseg.datasets.spaces import SPACES, classes_of
from recoseg.errors import ConceptError, did_you_mean
from recoseg.storage.listed import names_in
from recoseg.storage.reading import read_lines

Classes = str | Path | Sequence[str | ClassNames]
"""A list of classes (lines that `parse_class` reads, or `ClassNames`), the path of a file of
classes, the name of a label space, or a text of classes with commas between them."""

_PLAIN = re.compile(r"[^\W\d_]+(?:[ '\-:;]+[^\W\d_]+)*")
"""A class in a text of its own: a dot, a slash or a digit is more likely meant as a file's name."""

_COMMENT = re.compile(r"\s#")
_log = logging.getLogger(__name__)


def as_classes(classes: Classes, *, aliases: bool = False) -> list[ClassNames]:
    """The classes, with their words.

    Args:
        classes: See `Classes`.
        aliases: Whether to use the aliases of a label space as well.

    Raises:
        ConceptError: There is no class, a name occurs twice, `classes` is neither a file nor a
            label space, or a line looks as if more or less than a class was meant.

    Example:
        >>> [item.prompts for item in as_classes(["dog: dog; puppy", "sofa; couch"])]
        [('dog', 'puppy'), ('sofa', 'couch')]
        >>> [[item.name for item in as_classes(text)] for text in ("dog, cat", "dog")]
        [['dog', 'cat'], ['dog']]
    """
    if isinstance(classes, str | Path):
        text = os.fspath(classes)
        if text in SPACES:
            return classes_of(text, aliases)
        if Path(text).is_file():
            found = read_classes(Path(text))
            is_plain = read_lines(Path(text), MAX_CLASSES_FILE)[:1] != [VERBATIM]
            return check_meant(found, f"The file {text}") if is_plain else found
        if isinstance(classes, str) and ("," in text or _is_one_class(text)):
            return _checked_case(parse_classes(names_in(text)))
        return classes_of(text, aliases)  # says what was expected
    lines = [item for item in classes if isinstance(item, str)]
    if len(lines) == len(classes):
        return check_meant(parse_classes(lines), "The list")
    found = [item if isinstance(item, ClassNames) else parse_class(item) for item in classes]
    check_classes(found)
    return check_meant(found, "The list") if lines else found


def _is_one_class(text: str) -> bool:
    """Whether a text is a class rather than a mistyped file or label space."""
    mistyped = did_you_mean(text, SPACES) or Path(text).exists() or Path(f"{text}.txt").exists()
    return _PLAIN.fullmatch(text.strip()) is not None and not mistyped


def check_meant(classes: list[ClassNames], where: str) -> list[ClassNames]:
    """Return classes as people write them; refuse those that were meant in another way.

    Args:
        classes: The classes.
        where: What they were read from, as the beginning of a sentence.

    Raises:
        ConceptError: There is one class with commas in its name, a word has a comment behind it,
            or two names differ only in upper and lower case.
    """
    bare = [item.name for item in classes if (item.name,) == item.prompts]
    commas = [name for name in bare if len(name.split(",")) > 1]
    if len(classes) == 1 and commas:
        [name] = commas
        parts = [part.strip() for part in name.split(",") if part.strip()]
        raise ConceptError(
            f"{where} has one line, {name!r}, which would be one class of that name. Write one "
            f'class per line, or all as one text: --classes "{name}". If it is one class, divide '
            f"its words by semicolons: '{name}: {'; '.join(parts)}'."
        )
    for item in classes:
        commented = [
            word for word in (item.name, *item.prompts, *item.negatives) if _COMMENT.search(word)
        ]
        if commented:
            raise ConceptError(
                f"{where} has the line {str(item)!r}, all of which would belong to the class: "
                f"{commented[0]!r} would be a word for it. Put the comment into a line of its own "
                "that begins with #, or remove it."
            )
        for word in (*item.prompts, *item.negatives):
            if ": " in word:
                raise ConceptError(
                    f"{where} has the line {str(item)!r} with a second colon, so that {word!r} "
                    "would be a word for the class. Write one class per line, and its words behind "
                    "one colon."
                )
        both = {word.casefold() for word in item.prompts} & {
            word.casefold() for word in item.negatives
        }
        if both:
            raise ConceptError(
                f"{where} has the line {str(item)!r}, in which {min(both)!r} is both a word for "
                "the class and one to avoid. Remove one of them."
            )
    if commas:
        _log.warning(
            "%s has names with commas, such as %r; each line is one class, and its words are "
            "divided by semicolons.",
            where,
            commas[0],
        )
    return _checked_case(classes)


def _checked_case(classes: list[ClassNames]) -> list[ClassNames]:
    """Refuse names that differ only in upper and lower case."""
    first: dict[str, str] = {}
    for item in classes:
        other = first.setdefault(item.name.casefold(), item.name)
        if other != item.name:
            raise ConceptError(
                f"The classes {other!r} and {item.name!r} differ in upper and lower case only, and "
                "would share the same photos. Keep one of them, or give each its own words, such "
                f"as '{other.lower()}-2: {item.name}'."
            )
    _tell_equal_words(classes)
    return classes


def _tell_equal_words(classes: list[ClassNames]) -> None:
    """Warn of classes that nothing tells apart."""
    first: dict[object, str] = {}
    for item in classes:
        words = frozenset(word.casefold() for word in item.prompts)
        other = first.setdefault((words, frozenset(item.negatives)), item.name)
        if other != item.name:
            _log.warning(
                "The classes %r and %r have the same words, so they are learnt from the same "
                "photos, and one of them gets few pixels or none. Give each its own words.",
                other,
                item.name,
            )
