"""Numbers that the manifest of an index claims are bounded."""

import json

import pytest

from recoseg.archive.index import ArchiveIndex
from recoseg.errors import ArchiveError
from recoseg.storage.sealed import sealed
from tests.building import build_index


@pytest.mark.parametrize(
    ("place", "field", "value"),
    [
        ("encoder", "dim", 0),
        ("encoder", "dim", 10**12),
        ("encoder", "stride", -1),
        ("encoder", "stride", 10**12),
        ("frame", "size", 0),
        ("frame", "size", 10**9),
        (None, "photos", -1),
        (None, "shards", 10**18),
    ],
)
def test_numbers_are_bounded(photos, tmp_path, encoder, place, field, value):
    build_index([photos], tmp_path / "index", encoder)
    path = tmp_path / "index" / "manifest.json"
    fields = json.loads(path.read_text())
    del fields["checksum"]
    (fields[place] if place else fields)[field] = value
    path.write_bytes(sealed(fields))
    with pytest.raises(ArchiveError, match=r"is damaged \(.*expected .*[01] to"):
        ArchiveIndex.open(tmp_path / "index")
