"""Parquet files for Hugging Face's `datasets`: photo, mask, name and classes of each row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from recoseg.formats.photo_files import PhotoFile
from recoseg.formats.place import Place
from recoseg.formats.protocol import Format, FormatSettings, Labelled
from recoseg.labels import Segmentation
from recoseg.storage.atomic import write_atomically
from recoseg.writers.formats import encode_label_map

_GROUP = 64 << 20
"""Bytes of photos and masks that are gathered before they are written."""

_SHARD = 500 << 20
"""Bytes after which a new file is begun."""


class HuggingFace(Format):
    """Rows of `image`, `mask`, `name` and `classes` (those present) in `data/train-NNNNN.parquet`.

    The mask is a PNG whose values are the labels, and 255 (65535 with more than 255 classes) is
    background. The names of all classes are those of the feature `classes`.
    """

    photos: ClassVar[Literal["copy", "none", "embed"]] = "embed"

    def __init__(self, place: Place, settings: FormatSettings) -> None:
        super().__init__(place, settings)
        features = _features(settings.names)
        self._schema: pa.Schema = features.arrow_schema
        self._spool = place.spool("shard")
        self._rows: list[dict[str, Any]] = []
        self._waiting = self._written = self._shards = self._photos = 0
        self._writer: Any = None

    def add(self, item: Labelled, photo: PhotoFile) -> None:
        """See `Format`."""
        found = Segmentation(item.labels, self.settings.names, self.settings.palette)
        mask, content = encode_label_map(found), photo.data or b""
        self._rows.append(
            {
                "image": {"bytes": content, "path": photo.named(item.name)},
                "mask": {"bytes": mask, "path": f"{item.name}.png"},
                "name": item.name,
                "classes": [region.label for region in item.classes],
            }
        )
        self._waiting += len(mask) + len(content)
        if self._waiting >= _GROUP:
            self._write_rows()
        if self._written >= _SHARD:
            self._end_shard()
            self._photos = item.number

    def finish(self) -> None:
        """See `Format`."""
        self._write_rows()
        if self._writer is not None:
            self._end_shard()

    def state(self, number: int) -> dict[str, int]:
        """See `Format`; a file that is not finished is begun again."""
        return {"photos": self._photos, "shards": self._shards}

    def restore(self, state: Mapping[str, int]) -> None:
        """See `Format`."""
        self._spool.cut(0)
        self._photos, self._shards = state.get("photos", 0), state.get("shards", 0)

    def close(self) -> None:
        """See `Format`."""
        if self._writer is not None:
            self._writer.close()
        super().close()

    def _write_rows(self) -> None:
        if not self._rows:
            return
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._spool.file, self._schema)
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._written += self._waiting
        self._rows, self._waiting = [], 0

    def _end_shard(self) -> None:
        self._writer.close()
        write_atomically(
            self.place.path(f"data/train-{self._shards:05d}.parquet"), self._spool.copy_to
        )
        self._spool.cut(0)
        self._shards += 1
        self._writer, self._written = None, 0


def _features(names: tuple[str, ...]) -> Any:
    from datasets import ClassLabel, Features, Image, Sequence, Value

    return Features(
        {
            "image": Image(),
            "mask": Image(),
            "name": Value("string"),
            "classes": Sequence(ClassLabel(names=list(names))),
        }
    )
