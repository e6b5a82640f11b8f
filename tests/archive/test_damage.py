"""Damaged and crafted files of an index give one line: no traceback, no write, bounded memory."""

import json
import random
import shutil
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recoseg.archive.index import ArchiveIndex
from recoseg.archive.selection import Selection
from recoseg.archive.tables import METADATA, read_table
from recoseg.archive.verify import verify_index
from recoseg.errors import ArchiveError, RecosegError
from recoseg.storage.arrays import map_array
from recoseg.storage.sealed import sealed
from tests.archive.test_build import run
from tests.archive.test_index import foreign, unit
from tests.archive.test_own_files import tree
from tests.archive.test_verify import without_checksums

QUICK = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
FILES = [
    "manifest.json",
    "shards/shard_1.json",
    "metadata/metadata_1.parquet",
    "img_emb/img_emb_1.npy",
    "failures/failures_4.parquet",
]


@pytest.fixture(params=[True, False], ids=["checksums", "early version"])
def index(request, photos, tmp_path, encoder):
    (photos / "zz.png").write_bytes(b"broken")
    run([photos], tmp_path / "index", encoder)
    if not request.param:
        without_checksums(tmp_path / "index")
    return tmp_path / "index"


def use(root):
    """All that reads an index; errors that are meant for users are one line."""
    try:
        index = ArchiveIndex.open(root)
        for position in range(len(index)):
            index.photo(position)
        index.failures()
        return sum(len(block) for _, block in index.blocks())
    except RecosegError as error:
        if "\n" in str(error) or len(str(error)) > 1500:
            raise
        return None


JSONS = [
    "[]",
    "null",
    "{}",
    "3",
    "",
    "{",
    '"x"',
    "[" * 100_000,
    '{"a":' * 50_000,
    "NaN",
    '{"checksum": null}',
    '{"format": [], "version": {}}',
    "\0",
    "\ufeff{}",
]


@pytest.mark.parametrize("text", JSONS)
@pytest.mark.parametrize("name", FILES[:2])
def test_crafted_json_is_one_line(index, name, text):
    (index / name).write_text(text)
    with pytest.raises(ArchiveError) as caught:
        ArchiveIndex.open(index)
    assert "\n" not in str(caught.value)
    assert verify_index(index).problems


@pytest.mark.parametrize(
    "change",
    [
        {"photos": -1},
        {"shards": 10**40},
        {"encoder": None},
        {"encoder": {"name": "x", "weights": "y", "fingerprint": "z", "dim": 0}},
        {"encoder": {"name": "x", "weights": "y", "fingerprint": "z", "dim": 1e9}},
        {"precision": 3},
        {"frame": []},
        {"version": 2},
    ],
)
def test_crafted_fields_of_the_manifest_are_one_line(index, change):
    fields = json.loads((index / "manifest.json").read_text()) | change
    (index / "manifest.json").write_bytes(sealed(fields))
    with pytest.raises(ArchiveError) as caught:
        ArchiveIndex.open(index)
    assert "\n" not in str(caught.value)


def header(text, data=b""):
    text = text.encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def npz(path):
    with path.open("wb") as file:
        np.savez(file, unit(5, 13))


def fortran(path):
    np.save(path, np.asfortranarray(unit(5, 13)))


def swapped(path):
    np.save(path, unit(5, 13).astype(">f2"))


def pickled(path):
    np.save(path, np.array([{}] * 5, object), allow_pickle=True)


def short(path):
    text = "{'descr': '<f2', 'fortran_order': False, 'shape': (5, 4000000000000), }"
    path.write_bytes(header(text, bytes(130)))


ARRAYS = [
    npz,
    fortran,
    swapped,
    pickled,
    short,
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(b"\x93NUMPY"),
    lambda path: path.write_bytes(path.read_bytes()[:40]),
    lambda path: path.write_bytes(path.read_bytes()[:-1]),
    lambda path: path.write_bytes(path.read_bytes() + b"x"),
    lambda path: path.write_bytes(header("(" * 60_000)),
    lambda path: path.write_bytes(header("{'descr': '<f2', 'shape': (5, -13), }")),
    lambda path: path.write_bytes(
        header("{'descr': '<f2', 'fortran_order': False, 'shape': (-5, -13), }", bytes(130))
    ),
    lambda path: path.write_bytes(
        header("{'descr': [('a', '<f2')], 'fortran_order': False, 'shape': (5, 13), }", bytes(130))
    ),
    lambda path: (path.unlink(), path.mkdir()),
]


@pytest.mark.parametrize("spoil", ARRAYS)
def test_crafted_arrays_are_one_line(index, tmp_path, spoil):
    spoil(index / "img_emb/img_emb_1.npy")
    with pytest.raises(ArchiveError) as caught:
        ArchiveIndex.open(index)
    assert "\n" not in str(caught.value)
    root = foreign(tmp_path / "emb", [5, 5], dim=13)
    spoil(root / "img_emb/img_emb_1.npy")
    assert use(root) is None


def test_a_pipe_is_not_waited_for(index, tmp_path):
    import os

    root = foreign(tmp_path / "emb", [5])
    for path in (
        index / "img_emb/img_emb_1.npy",
        index / "metadata/metadata_1.parquet",
        index / "shards/shard_2.json",
        root / "metadata/metadata_0.parquet",
    ):
        path.unlink()
        os.mkfifo(path)
    assert use(index) is None
    assert use(root) is None


NULL = pa.nulls(5, pa.string())
GOOD = {"image_path": ["a", "b", "c", "d", "e"]}
"""Replaced by the paths of the index, so that only other columns are wrong."""
TABLES = [
    {"image_path": NULL},
    {"image_path": [1, 2, 3, 4, 5]},
    {"image_path": [["a"]] * 5},
    {"image_path": [b"\xff\xfe"] * 5},
    {"url": ["a"] * 5},
    {"image_path": ["a"] * 6},
    {"image_path": []},
    GOOD | {"width": ["x"] * 5},
    GOOD | {"offset": [-(10**12)] * 5},
    GOOD | {"bytes": [1.5] * 5},
    GOOD | {"hash": ["../../../evil"] * 5},
    GOOD | {"hash": [3] * 5},
    GOOD | {"stamp": [b"x"] * 5},
]


@pytest.mark.parametrize("columns", TABLES)
def test_crafted_tables_are_one_line(photos, tmp_path, encoder, columns):
    run([photos], tmp_path / "index", encoder)
    without_checksums(tmp_path / "index")
    path = tmp_path / "index/metadata/metadata_1.parquet"
    if columns.get("image_path") == GOOD["image_path"]:
        columns = columns | {"image_path": pq.read_table(path)["image_path"]}
    pq.write_table(pa.table(columns), path)
    index = ArchiveIndex.open(tmp_path / "index")
    with pytest.raises(ArchiveError) as caught:
        index.photo(7)
    assert "\n" not in str(caught.value)
    assert verify_index(tmp_path / "index").problems


@pytest.mark.parametrize(
    "path", [["x" * 5_000_000] * 5, ["\0" * 3_000_000] * 5], ids=["repeated", "compressed"]
)
def test_a_small_file_cannot_fill_the_memory(photos, tmp_path, encoder, path):
    run([photos], tmp_path / "index", encoder)
    without_checksums(tmp_path / "index")
    file = tmp_path / "index/metadata/metadata_1.parquet"
    pq.write_table(pa.table({"image_path": path}), file, compression="zstd")
    assert file.stat().st_size < 5_000_000
    index = ArchiveIndex.open(tmp_path / "index")
    tracemalloc.start()
    with pytest.raises(ArchiveError, match="bytes"):
        index.photo(7)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_a_file_that_repeats_a_long_text_is_refused(tmp_path):
    root = foreign(tmp_path / "emb", [200])
    table = pa.table({"image_path": ["x" * 1_000_000] * 200})
    pq.write_table(table, root / "metadata/metadata_0.parquet")
    assert (root / "metadata/metadata_0.parquet").stat().st_size < 1 << 20
    before = pa.total_allocated_bytes()
    with pytest.raises(ArchiveError, match=r"has 200,000,000 bytes of `image_path`"):
        ArchiveIndex.open(root).path(0)
    assert pa.total_allocated_bytes() - before < 50_000_000


@pytest.mark.parametrize("photo_id", [None, "x", 7])
def test_crafted_selections_are_one_line(tmp_path, photo_id):
    path = tmp_path / "selection.parquet"
    pq.write_table(pa.table({"photo_id": [photo_id], "reason": ["x"]}), path)
    with pytest.raises(ArchiveError) as caught:
        Selection.load(path)
    assert "\n" not in str(caught.value)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ArchiveError, match=r"No selection file was found at .*folder.selection"):
        Selection.load(tmp_path / "folder")


def test_every_bit_of_a_tables_footer(tmp_path):
    """Damaged statistics of a column are an error, too, and do not end the process."""
    path = tmp_path / "metadata_0.parquet"
    pq.write_table(pa.table({"image_path": [f"{at}.png" for at in range(7)]}), path)
    whole = path.read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    refused = []
    for place in range(footer, len(whole) - 8):
        for bit in range(8):
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
            path.write_bytes(changed)
            try:
                read_table(path, METADATA, 7)
            except ArchiveError as error:
                refused.append(str(error))
    assert len(refused) > 100
    assert not any("\n" in message for message in refused)
    path.write_bytes(whole)
    assert read_table(path, METADATA, 7).num_rows == 7


@pytest.mark.parametrize("name", FILES)
def test_random_bits_and_cuts(index, tmp_path, name):
    before = tree(tmp_path)
    data = (index / name).read_bytes()
    chance = random.Random(name)
    for turn in range(36):
        changed = bytearray(data)
        if turn % 3 == 0:
            del changed[chance.randrange(len(changed)) :]
        else:
            for _ in range(1 + turn % 4):
                changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        (index / name).write_bytes(changed)
        use(index)
        assert all("\n" not in problem for problem in verify_index(index).problems)
    (index / name).write_bytes(data)
    assert tree(tmp_path) == before
    assert use(index) == 23


@QUICK
@given(data=st.data())
def test_random_fields_of_a_marker(data, tmp_path_factory):
    value = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just([]), st.just({})
    )
    fields = data.draw(
        st.fixed_dictionaries(
            dict.fromkeys(
                ("number", "source", "photos", "failures", "replaces", "checksums"), value
            )
        )
    )
    root = tmp_path_factory.getbasetemp() / "crafted"
    shutil.rmtree(root, ignore_errors=True)
    (root / "shards").mkdir(parents=True)
    manifest = {
        **{"format": "recoseg-index", "version": 1, "precision": "fp32", "preset": None},
        "encoder": {"name": "x", "weights": "y", "fingerprint": "z", "dim": 3},
        **{"frame": {"size": 8}, "recoseg": "1", "dim": 3, "dtype": "float16"},
    }
    (root / "manifest.json").write_bytes(sealed(manifest))
    (root / "shards/shard_0.json").write_bytes(sealed(fields))
    use(root)
    assert verify_index(root).what == "index"


@QUICK
@given(text=st.text(max_size=80), data=st.binary(max_size=40))
def test_random_array_headers(text, data, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "crafted.npy"
    encoded = text.encode("utf-8", "ignore")
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(encoded).to_bytes(2, "little") + encoded + data)
    with pytest.raises(RecosegError):
        map_array(path)
