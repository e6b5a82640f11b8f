"""`verify_index` finds every damaged byte, and says what has no checksum."""

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recoseg.archive.index import ArchiveIndex
from recoseg.archive.layout import FOLDERS
from recoseg.archive.verify import verify_index
from recoseg.errors import ArchiveError
from tests.archive.test_build import contents, run
from tests.archive.test_index import foreign, unit


def without_checksums(root):
    """Rewrite an index as an early version wrote it."""
    for path in [root / "manifest.json", *(root / "shards").glob("*.json")]:
        fields = json.loads(path.read_text())
        fields.pop("checksum")
        fields.pop("checksums", None)
        path.write_text(json.dumps(fields))


@pytest.fixture
def index(photos, tmp_path, encoder):
    (photos / "broken.png").write_bytes(b"broken")
    run([photos], tmp_path / "index", encoder)
    return tmp_path / "index"


def data_files(root):
    return sorted(
        path
        for path in root.rglob("*")
        if (path.is_file() and path.parent.name in FOLDERS) or path.name == "manifest.json"
    )


def test_a_whole_index_has_no_problem(index):
    found = verify_index(index)
    assert (found.what, found.problems, found.unchecked) == ("index", (), 0)
    assert found.checked == len(data_files(index)) == 1 + 3 * 5 + 1


def test_every_flipped_bit_is_found(index):
    for path in data_files(index):
        data = path.read_bytes()
        for place in {0, len(data) // 3, len(data) // 2, len(data) - 1}:
            path.write_bytes(data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :])
            [problem] = verify_index(index).problems[:1]
            assert "\n" not in problem
            path.write_bytes(data)
    assert verify_index(index).problems == ()


def test_missing_files_and_files_of_no_shard_are_found(index):
    (index / "img_emb/img_emb_1.npy").rename(index / "img_emb/img_emb_99.npy")
    problems = verify_index(index).problems
    assert len(problems) == 2
    assert "img_emb_1.npy" in problems[0]
    assert "img_emb_99.npy belongs to no finished shard" in problems[1]


def test_an_index_of_an_early_version_opens_and_is_told(index):
    before = contents(index)
    without_checksums(index)
    found = verify_index(index)
    assert (found.checked, found.problems) == (0, ())
    assert found.unchecked == len(data_files(index))
    assert contents(index) == before
    rows = np.load(index / "img_emb/img_emb_0.npy")
    rows[2] *= 2
    rows[3, 0] = np.nan
    np.save(index / "img_emb/img_emb_0.npy", rows)
    [problem] = verify_index(index).problems
    assert "2 rows of another length than 1, such as row 2" in problem


def test_it_continues_an_index_of_an_early_version(index, photos, encoder):
    before = contents(index)
    without_checksums(index)
    again = run([photos], index, encoder)
    assert (again.skipped, again.failed) == (23, 1)
    assert contents(index) == before


def test_metadata_and_failures_are_checked_when_they_are_read(index):
    for path in (index / "metadata/metadata_0.parquet", *(index / "failures").iterdir()):
        data = path.read_bytes()
        path.write_bytes(data[:20] + bytes([data[20] ^ 1]) + data[21:])
    opened = ArchiveIndex.open(index)
    with pytest.raises(ArchiveError, match=r"metadata_0\.parquet is damaged"):
        opened.path(0)
    with pytest.raises(ArchiveError, match=r"failures_\d\.parquet is damaged"):
        opened.failures()


def test_a_folder_of_another_program_has_no_checksums(tmp_path):
    root = foreign(tmp_path / "emb", [3, 5])
    found = verify_index(root)
    assert (found.checked, found.unchecked, found.problems) == (0, 4, ())
    pq.write_table(pa.table({"image_path": [None, "a", "b"]}), root / "metadata/metadata_0.parquet")
    assert "rows without `image_path`" in verify_index(root).problems[0]
    assert "No index was found at" in verify_index(tmp_path / "none").problems[0]


@pytest.mark.parametrize("row", [1, 4997, 9999])
@pytest.mark.parametrize("value", [3, np.nan, np.inf, 0])
def test_every_row_of_another_program_is_checked(tmp_path, monkeypatch, row, value):
    monkeypatch.setenv("RECOSEG_CACHE", str(tmp_path / "cache"))
    root = foreign(tmp_path / "emb", [5, 10_000])
    rows = unit(10_000, seed=1)
    rows[row] *= value
    np.save(root / "img_emb/img_emb_1.npy", rows)
    with pytest.raises(ArchiveError, match=f"1 row of another length than 1; row {row:,} "):
        ArchiveIndex.open(root)


def test_a_verdict_that_took_long_is_remembered_until_a_file_changes(tmp_path, monkeypatch):
    from recoseg.archive import rows as module

    monkeypatch.setenv("RECOSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "_REMEMBERED_AFTER", -1.0)
    real, checked = module.wrong_rows, []
    monkeypatch.setattr(module, "wrong_rows", lambda rows: checked.append(1) or real(rows))
    root = foreign(tmp_path / "emb", [3, 5])
    ArchiveIndex.open(root), ArchiveIndex.open(root)
    assert len(checked) == 2
    np.save(root / "img_emb/img_emb_1.npy", unit(5, seed=1) * 2)
    with pytest.raises(ArchiveError, match="of another length than 1"):
        ArchiveIndex.open(root)
    [verdict] = (tmp_path / "cache/verdicts").iterdir()
    verdict.write_bytes(b"junk")
    np.save(root / "img_emb/img_emb_1.npy", unit(5, seed=1))
    assert len(ArchiveIndex.open(root)) == 8


@pytest.mark.parametrize("name", ["img_emb/img_emb_0.npy", "metadata/metadata_1.parquet"])
def test_a_pipe_in_place_of_a_file_is_a_problem(index, name):
    """Reading it would never end."""
    (index / name).unlink()
    os.mkfifo(index / name)
    problems = verify_index(index).problems
    assert len(problems) >= 1
    assert all(name in problem for problem in problems)
