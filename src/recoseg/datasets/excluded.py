"""Photos of a data set that are left out by patterns of their names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from recoseg.datasets.folder_layout import shown_names
from recoseg.errors import DatasetError
from recoseg.photos.exclusion import Exclusion


def names_left(names: Sequence[str], exclude: str | Iterable[str]) -> list[str]:
    """The names of photos that patterns do not leave out, in order.

    Args:
        names: Names of all photos, without suffixes.
        exclude: Patterns of their names; see `Exclusion`.

    Raises:
        DatasetError: A pattern matches no name, or no photo is left.
        RecosegError: A pattern is empty.

    Example:
        >>> names_left(["farm/1", "farm/2", "cow"], ["farm/*"])
        ['cow']
    """
    for pattern in Exclusion.of(exclude).patterns:
        one = Exclusion((pattern,))
        if not any(map(one.leaves_out, names)):
            raise DatasetError(
                f"No photo to exclude has a name that matches {pattern!r}. Names have no suffix, "
                f"such as {shown_names(names[:2])}."
            )
    exclusion = Exclusion.of(exclude)
    left = [name for name in names if not exclusion.leaves_out(name)]
    if not left:
        raise DatasetError(f"All {len(names)} photos are excluded. Exclude fewer.")
    return left
