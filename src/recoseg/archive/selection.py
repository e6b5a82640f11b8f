"""Which photos of an index are used, and why the others are left out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recoseg.archive.tables import read_table
from recoseg.errors import ArchiveError
from recoseg.photos.refs import Photo
from recoseg.storage.atomic import write_atomically

SELECTION = "selection.parquet"
"""Name of a selection in a folder of `recoseg curate`."""

_PHOTO_ID = re.compile("[0-9a-f]{32}")
_COLUMNS = {"photo_id": pa.string(), "reason": pa.string()}


@dataclass(frozen=True)
class Selection:
    """Photos of an index that are left out of search and learning, each with a reason.

    Photos are identified by their content (see `Photo.id`), so a selection stays valid when the
    index changes and applies to every copy of a photo. One of several copies alone is identified by
    its path (see `Photo.path_id`). Nothing is deleted from the index.

    Attributes:
        left_out: Reason for each photo that is left out, by photo id, or by path id for a single
            copy.

    Example:
        >>> blurred = Selection({"a" * 32: "blurred"})
        >>> blurred.left_out_with({"b" * 32: "a duplicate"}).left_out.values()
        dict_values(['a duplicate', 'blurred'])
    """

    left_out: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.left_out, Mapping):
            raise ArchiveError(
                "Expected a selection as a mapping from photo ids to reasons, such as "
                f'{{index.photo_id(7): "blurred"}}; got a {type(self.left_out).__name__}.'
            )
        for photo_id in self.left_out:
            if not _PHOTO_ID.fullmatch(str(photo_id)):
                raise ArchiveError(
                    f"{photo_id!r} is not the id of a photo. Expected 32 hexadecimal digits, as "
                    "`index.photo_id(position)` gives them."
                )

    def left_out_with(self, more: Mapping[str, str]) -> Selection:
        """A selection that leaves out more photos; photos left out already keep their reason."""
        return Selection({**more, **self.left_out})

    def reasons(self) -> dict[str, int]:
        """How many photos are left out for each reason, the most frequent reason first."""
        counts: dict[str, int] = {}
        for reason in self.left_out.values():
            counts[reason] = counts.get(reason, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: -item[1]))

    def save(self, path: str | Path) -> None:
        """Write the selection as a parquet file with the columns `photo_id` and `reason`."""
        columns = [list(self.left_out), list(self.left_out.values())]
        table = pa.table(columns, schema=pa.schema(_COLUMNS))
        write_atomically(Path(path), lambda file: pq.write_table(table, file))

    @classmethod
    def load(cls, path: str | Path) -> Selection:
        """Read a selection that `save` wrote.

        Args:
            path: The file, or the folder that `recoseg curate` wrote it to.

        Raises:
            ArchiveError: The file does not exist or is not a selection.
        """
        path = Path(path)
        if path.is_dir():  # of `recoseg curate`
            path = path / SELECTION
        if not path.exists():
            raise ArchiveError(f"No selection file was found at {path}.")
        try:
            table = read_table(path, _COLUMNS, required=tuple(_COLUMNS))
        except ArchiveError as error:
            raise ArchiveError(
                f"{path} is not a selection ({error}). Expected a parquet file with the columns "
                f"{' and '.join(_COLUMNS)}."
            ) from error
        return cls(dict(zip(*(column.to_pylist() for column in table.columns), strict=True)))

    def leaves_out(self, photos: Sequence[Photo]) -> np.ndarray:
        """Whether each photo is left out, by its content or by its path, (n,) bool."""
        out = self.left_out
        return np.array([photo.id in out or photo.path_id in out for photo in photos], bool)

    def mask(self, photo_ids: Sequence[str]) -> np.ndarray:
        """Whether all photos of each content are left out, (n,) bool."""
        return np.array([photo_id in self.left_out for photo_id in photo_ids], bool)
