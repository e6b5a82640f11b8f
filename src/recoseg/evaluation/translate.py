"""From predicted labels to the scored labels of a label space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recoseg.datasets.label_space import LabelSpace
from recoseg.datasets.spaces import SPACES
from recoseg.errors import LabelError
from recoseg.labels import IGNORE_INDEX
from recoseg.storage.counts import count_of


def translation(
    names: Sequence[str], space: LabelSpace, ignored: int, background: Sequence[str] = ()
) -> np.ndarray:
    """A table from predicted labels to scored ones: (65536,) int16.

    Labels without a name become -1, which is out of range.

    Args:
        names: The class of each predicted label, in any order; the background class of the label
            space may be missing.
        space: The label space; its groups are scored if it has groups.
        ignored: The predicted label of background. It becomes the background class of the label
            space, or, if there is none, no prediction.
        background: Names that are always background; they need not be in the label space.

    Raises:
        LabelError: A class of the label space is missing, or a name is not in the label space.

    Example:
        >>> from recoseg.datasets.label_space import LabelClass
        >>> classes = tuple(LabelClass(name, (0, 0, 0)) for name in ("dog", "cat"))
        >>> translation(["cat", "dog"], LabelSpace("pets", "Pets", classes), 255)[[0, 1, 255]]
        array([  1,   0, 255], dtype=int16)
    """
    missing = [name for name in space.names if name not in names and name != space.background]
    unknown = [name for name in names if name not in (*space.names, *background)]
    if missing or unknown:
        parts = [
            f"{what}: {_shown(found)}"
            for what, found in (("missing", missing), ("not in the label space", unknown))
            if found
        ]
        source = space.name if space.name in SPACES else "FILE"
        raise LabelError(
            f"Expected the classes of {space.title} ({count_of(len(space.names), 'names')}); got "
            f"{len(names)}, {'; '.join(parts)}. All of them are needed, because they compete: "
            f"learn a bank of them by `recoseg learn --classes {source}`, or, for masks of other "
            "programs, put the classes of their values into classes.txt beside them. To score some "
            "classes alone, write 255 into the masks of the data set where other classes are."
        )
    merge = space.merge_table()
    table = np.full(1 << 16, -1, np.int16)
    table[ignored] = (
        IGNORE_INDEX if space.background is None else merge[space.names.index(space.background)]
    )
    for label, name in enumerate(names):
        known = name in space.names
        table[label] = merge[space.names.index(name)] if known else table[ignored]
    return table


def _shown(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
