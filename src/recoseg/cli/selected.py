"""Opening an index with the selection of `--selection`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from recoseg.cli.output import say
from recoseg.storage.counts import count_of

if TYPE_CHECKING:
    from recoseg.archive.index import ArchiveIndex


def selected(index: str | Path, selection: Path | None) -> ArchiveIndex | str | Path:
    """An index without the photos that a selection leaves out, whose number is told.

    Args:
        index: Folder or URL of the index.
        selection: The selection's file or folder; without one, the index is left to be opened.
    """
    if selection is None:
        return index
    from recoseg.pipeline.index import open_index

    opened = open_index(index, selection=selection)
    left_out = opened.left_out
    say(f"The selection leaves out {left_out:,} of {count_of(len(opened), 'photos')}.", err=True)
    return opened
