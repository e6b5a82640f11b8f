"""A damaged file of an index: the error says what to delete, and the next run then mends it."""

from pathlib import Path

import numpy as np
import pytest

from recoseg.archive.index import ArchiveIndex
from recoseg.archive.repair import repair_advice
from recoseg.errors import ArchiveError
from tests.archive.test_build import run


def use(root):
    index = ArchiveIndex.open(root)
    for position in range(len(index)):
        index.photo(position)
    list(index.blocks())


@pytest.mark.parametrize("name", ["img_emb/img_emb_1.npy", "metadata/metadata_1.parquet"])
def test_what_the_error_says_mends_the_index(name, photos, tmp_path, encoder):
    root = tmp_path / "index"
    run([photos], root, encoder)
    whole = [np.array(block) for _, block in ArchiveIndex.open(root).blocks()]
    file = root / name
    file.write_bytes(file.read_bytes()[:-9])
    marker = root / "shards" / "shard_1.json"
    with pytest.raises(ArchiveError, match=f"Delete {marker} and run `recoseg index` again"):
        use(root)
    marker.unlink()
    run([photos], root, encoder)
    again = [np.array(block) for _, block in ArchiveIndex.open(root).blocks()]
    assert sum(map(len, again)) == sum(map(len, whole))
    assert np.array_equal(
        np.sort(np.concatenate(again), axis=0), np.sort(np.concatenate(whole), axis=0)
    )


def test_files_without_a_marker_are_made_elsewhere():
    assert repair_advice(Path("a/img_emb/img_emb_3.npy")) == (
        "Run `recoseg index` again with another folder."
    )
