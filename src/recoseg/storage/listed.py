"""Names in one text, with commas between them."""

from __future__ import annotations

import csv

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
