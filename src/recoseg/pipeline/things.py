"""Which classes are things, whose objects are told apart, and which are stuff, such as grass."""

from __future__ import annotations

from collections.abc import Sequence

from recoseg.datasets.spaces import SPACES, label_space, stuff_of
from recoseg.errors import OptionError, UnknownNameError


def things_of(
    names: Sequence[str], things: Sequence[str] | None, stuff: Sequence[str] | None
) -> tuple[str, ...]:
    """The classes that are things.

    Args:
        names: All classes.
        things: Those that are things; the others are stuff.
        stuff: Those that are stuff; the others are things. The name of a label space that is no
            class stands for the classes of stuff in it. Without either, classes are stuff as in the
            label space that has just these classes, and things if there is none; see `stuff_of`.

    Raises:
        OptionError: Both are given.
        UnknownNameError: A name is no class.

    Example:
        >>> things_of(["dog", "sky", "tree"], None, ["sky"])
        ('dog', 'tree')
        >>> things_of(["person", "tree", "car"], None, ["cocostuff171"])
        ('person', 'car')
    """
    if things is not None and stuff is not None:
        raise OptionError("Things and stuff are given. Give one of them; the others are the rest.")
    if things is not None:
        return tuple(_known(names, things))
    if stuff is None:
        left = set(stuff_of(names))
    else:
        spaces = [name for name in stuff if name in SPACES and name not in names]
        left = {*_known(names, [name for name in stuff if name not in spaces])}
        left.update(*(label_space(name).stuff for name in spaces))
    return tuple(name for name in names if name not in left)


def _known(names: Sequence[str], given: Sequence[str]) -> Sequence[str]:
    unknown = [name for name in given if name not in names]
    if unknown:
        raise UnknownNameError("class", unknown[0], list(names))
    return given
