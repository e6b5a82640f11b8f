"""Labels of tiles that are finished, kept on the disk until the whole raster is."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from jaxtyping import UInt

from recoseg.storage.checksums import checksum
from recoseg.storage.json_lines import line_of
from recoseg.storage.reading import open_regular
from recoseg.storage.sealed import is_whole, sealed_line

_LONGEST = 1 << 20  # bytes of a line


class TileParts:
    """A file of compressed labels of tiles, which a later run takes up; a context manager.

    The first line says what the labels belong to. Each tile then has a line with its number, what
    is known of it, and size and checksum of its labels, which follow. What a kill has cut off is
    removed when the file is opened again, and so are tiles that belong to something else.

    Args:
        path: The file; it is created if it does not exist.
        identity: What decides the labels.

    Attributes:
        done: What is known of each finished tile, by its number.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self._path = path
        self._head = line_of({"identity": identity})
        self._places: dict[int, tuple[int, Mapping[str, Any]]] = {}
        self._file: IO[bytes] | None = None
        self.done: dict[int, Mapping[str, Any]] = {}

    def __enter__(self) -> Self:
        end = self._take_up() if self._path.is_file() else 0
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("r+b" if end else "w+b")
        if not end:
            self._file.write(self._head)
        self._file.seek(end or len(self._head))
        self._file.truncate()
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def _take_up(self) -> int:
        """Read what is there; returns the end of what is whole, or 0."""
        with open_regular(self._path) as file:
            if file.readline(_LONGEST) != self._head:
                return 0
            end = file.tell()
            while (fields := _fields(file.readline(_LONGEST))) is not None:
                start = file.tell()
                data = file.read(fields["size"])
                if len(data) < fields["size"] or checksum(data) != fields["checksum"]:
                    break
                self._places[fields["tile"]] = start, fields
                self.done[fields["tile"]] = fields["known"]
                end = file.tell()
        return end

    def add(self, tile: int, labels: UInt[np.ndarray, ...], known: Mapping[str, Any]) -> None:
        """Keep the labels of a tile.

        Args:
            tile: Its number.
            labels: Its labels, and what else is known pixel by pixel.
            known: What is known of it, as JSON fields.
        """
        assert self._file is not None
        data = zlib.compress(np.ascontiguousarray(labels).tobytes(), 1)
        fields = {
            "tile": tile,
            "known": dict(known),
            "shape": list(labels.shape),
            "dtype": labels.dtype.name,
            "size": len(data),
            "checksum": checksum(data),
        }
        line = line_of(sealed_line(fields))
        self._places[tile] = self._file.tell() + len(line), fields
        self._file.write(line + data)
        self._file.flush()
        self.done[tile] = known

    def read(self, tile: int) -> UInt[np.ndarray, ...]:
        """What was kept of a tile, given its number."""
        assert self._file is not None
        start, fields = self._places[tile]
        self._file.seek(start)
        data = zlib.decompress(self._file.read(fields["size"]))
        return np.frombuffer(data, fields["dtype"]).reshape(fields["shape"])

    def remove(self) -> None:
        """Remove the file."""
        self.__exit__()
        self._path.unlink(missing_ok=True)


def _fields(line: bytes) -> dict[str, Any] | None:
    """The fields of a tile's line; None where it is cut off, damaged, or the end."""
    try:
        fields = json.loads(line)
        kinds = {"tile": int, "size": int, "known": dict, "shape": list, "dtype": str}
        is_known = all(isinstance(fields[name], kind) for name, kind in kinds.items())
        return fields if is_known and is_whole(fields, required=True) else None
    except (ValueError, KeyError, TypeError):
        return None
