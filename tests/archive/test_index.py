"""Opening indexes of recoseg and clip-retrieval, and refusing files that do not match."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recoseg.archive import index as index_module
from recoseg.archive.index import ArchiveIndex
from recoseg.errors import ArchiveError, BadImageError, OutputError
from tests.archive.conftest import make_photo
from tests.archive.test_build import run


def unit(rows, dim=7, seed=0):
    drawn = np.random.default_rng(seed).normal(size=(rows, dim))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float16)


def foreign(root, sizes, name="{}", dim=7):
    """A folder of embeddings as clip-retrieval writes it."""
    (root / "img_emb").mkdir(parents=True)
    (root / "metadata").mkdir()
    for number, size in enumerate(sizes):
        shown = name.format(number)
        np.save(root / f"img_emb/img_emb_{shown}.npy", unit(size, dim, number))
        paths = [f"{root}/{number}_{row}.png" for row in range(size)]
        table = {"image_path": paths, "caption": ["x"] * size, "hash": list(range(size))}
        pq.write_table(pa.table(table), root / f"metadata/metadata_{shown}.parquet")
    return root


@pytest.mark.parametrize("name", ["{}", "{:04}"])
def test_clip_retrieval_folder(tmp_path, name):
    root = foreign(tmp_path / "emb", [3] * 11, name)
    index = ArchiveIndex.open(root)
    assert (len(index), index.dim, index.info, index.preset) == (33, 7, None, None)
    assert index.path(32) == f"{root}/10_2.png"
    assert index.path(7) == f"{root}/2_1.png"
    assert len(index.photo_id(7)) == 32
    assert index.photo_id(7) != index.photo_id(8)
    assert np.allclose(index.embeddings([7, 32])[1], unit(3, seed=10)[2])
    assert index.failures() == []
    make_photo(1).save(f"{root}/2_1.png")
    assert index.read(7).tobytes() == make_photo(1).tobytes()
    with pytest.raises(BadImageError, match="no such file"):
        index.read(8)
    with pytest.raises(IndexError):
        index.path(33)
    with pytest.raises(IndexError):
        index.path(-1)


def test_blocks_cover_every_row_once(tmp_path):
    index = ArchiveIndex.open(foreign(tmp_path / "emb", [3, 1, 5]))
    whole = np.concatenate([unit(size, seed=number) for number, size in enumerate([3, 1, 5])])
    for rows in (1, 2, 4, 100):
        starts, blocks = zip(*index.blocks(rows), strict=True)
        assert (np.concatenate(blocks) == whole).all()
        assert list(starts) == np.cumsum([0, *map(len, blocks)])[:-1].tolist()
        assert max(map(len, blocks)) <= rows


def test_metadata_is_read_on_demand(tmp_path, monkeypatch):
    root = foreign(tmp_path / "emb", [3, 3])
    index = ArchiveIndex.open(root)
    read, real = [], index_module.read_table
    monkeypatch.setattr(
        index_module, "read_table", lambda path, *a, **kw: read.append(path) or real(path, *a, **kw)
    )
    index.path(4), index.path(5)
    assert read == [root / "metadata/metadata_1.parquet"]


def test_adding_to_another_programs_folder_is_refused(tmp_path, encoder):
    make_photo(0).save(tmp_path / "a.png")
    foreign(tmp_path / "emb", [3])
    with pytest.raises(OutputError, match="which this command did not write"):
        run([tmp_path / "a.png"], tmp_path / "emb", encoder)


def spoil_dims(root):
    np.save(root / "img_emb/img_emb_1.npy", unit(3, 8))


def spoil_rows(root):
    np.save(root / "img_emb/img_emb_1.npy", unit(4))


def spoil_norms(root):
    np.save(root / "img_emb/img_emb_1.npy", unit(3) * 3)


def spoil_type(root):
    np.save(root / "img_emb/img_emb_1.npy", np.zeros((3, 7), np.int8))


def spoil_array(root):
    (root / "img_emb/img_emb_1.npy").write_bytes(b"junk")


def spoil_pickle(root):
    np.save(root / "img_emb/img_emb_1.npy", np.array([{}], object), allow_pickle=True)


def spoil_table(root):
    (root / "metadata/metadata_1.parquet").write_bytes(b"junk")


def spoil_column(root):
    pq.write_table(pa.table({"url": ["x"] * 3}), root / "metadata/metadata_1.parquet")


def spoil_count(root):
    (root / "metadata/metadata_1.parquet").unlink()


def spoil_all(root):
    for path in root.rglob("*.*"):
        path.unlink()


def spoil_manifest(root):
    (root / "manifest.json").write_text("{")


def spoil_version(root):
    (root / "manifest.json").write_text('{"format": "recoseg-index", "version": 99}')


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_dims, "Expected 7 columns"),
        (spoil_rows, "3 rows for 4 embeddings"),
        (spoil_norms, "3 rows of another length than 1; row 0 is of length 3"),
        (spoil_type, "Expected float16 or float32"),
        (spoil_array, "not a readable array"),
        (spoil_pickle, "holds object"),
        (spoil_table, "not a readable parquet"),
        (spoil_column, "Expected `image_path`"),
        (spoil_count, "2 files of embeddings and 1 of metadata"),
        (spoil_all, "No index was found at"),
        (spoil_manifest, "damaged"),
        (spoil_version, "Expected .'recoseg-index', 1."),
    ],
)
def test_files_that_do_not_match_are_refused(tmp_path, spoil, message):
    root = foreign(tmp_path / "emb", [3, 3])
    spoil(root)
    with pytest.raises(ArchiveError, match=message):
        ArchiveIndex.open(root)


def test_an_index_of_recoseg_is_checked_too(tmp_path, encoder):
    for number in range(4):
        make_photo(number).save(tmp_path / f"{number}.png")
    run([tmp_path], tmp_path / "index", encoder)
    np.save(tmp_path / "index/img_emb/img_emb_0.npy", unit(3, 13))
    with pytest.raises(ArchiveError, match="Expected 4, as its marker says"):
        ArchiveIndex.open(tmp_path / "index")


def test_blocks_of_a_range_of_positions(photos, tmp_path, encoder):
    run([photos], tmp_path / "index", encoder)
    index = ArchiveIndex.open(tmp_path / "index")
    whole = np.concatenate([block for _, block in index.blocks()])
    for first, stop in ((0, 23), (3, 4), (4, 17), (5, 10), (22, None), (7, 7)):
        found = list(index.blocks(4, first=first, stop=stop))
        parts = np.concatenate([whole[:0], *(block for _, block in found)])
        assert np.array_equal(parts, whole[first:stop])
        assert [whole[start].tobytes() for start, _ in found] == [b[0].tobytes() for _, b in found]
        assert all(len(block) <= 4 for _, block in found)
