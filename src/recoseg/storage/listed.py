"""Names in one text, with commas between them."""

from __future__ import annotations

import csv
from collections.abc import Iterable

from recoseg.errors import OptionError


def names_in(text: str) -> list[str]:
    """The names in a comma-separated list; one that holds a comma is put in double quotes.

    Raises:
        RecosegError: A quote is not closed.

    Example:
        >>> names_in('sky, "building, edifice"')
        ['sky', 'building, edifice']
    """
    try:
        [found] = csv.reader([text], skipinitialspace=True, strict=True)
    except (csv.Error, ValueError) as error:
        raise OptionError(
            f"The list {text!r} cannot be read. Expected names with commas between them, such as "
            'sky, "building, edifice".'
        ) from error
    return [name.strip() for name in found if name.strip()]


def separated(texts: Iterable[str]) -> list[str]:
    """The names in an option that can be repeated, each of which may hold several.

    Raises:
        OptionError: A quote is not closed.

    Example:
        >>> separated(["coco,yolo", "voc"])
        ['coco', 'yolo', 'voc']
    """
    return [name for text in texts for name in names_in(text)]
