"""An index on another file system gives the same results as the local original."""

import io
import os

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFile

from recoseg.archive import remote
from recoseg.archive.index import ArchiveIndex
from recoseg.errors import ArchiveError
from tests.archive.conftest import make_photo
from tests.archive.test_build import run
from tests.archive.test_index import foreign


@pytest.fixture
def url(tmp_path, monkeypatch):
    monkeypatch.setenv("RECOSEG_CACHE", str(tmp_path / "cache"))
    fs = fsspec.filesystem("memory")
    yield "memory://bucket/index"
    if fs.exists("/bucket"):
        fs.rm("/bucket", recursive=True)


def upload(folder):
    fs = fsspec.filesystem("memory")
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            fs.pipe_file(f"/bucket/index/{path.relative_to(folder)}", path.read_bytes())


def whole(index):
    return np.concatenate([block for _, block in index.blocks(4)])


def test_embeddings_are_fetched_by_shard_when_used(photos, tmp_path, encoder, url):
    run([photos], tmp_path / "index", encoder)
    upload(tmp_path / "index")
    here, there = ArchiveIndex.open(tmp_path / "index"), ArchiveIndex.open(url)
    assert len(there) == 23
    assert (there.info, there.manifest) == (here.info, here.manifest)
    fetched = there.root / "img_emb"
    assert not fetched.exists()
    assert there.embeddings([6]).equal(here.embeddings([6]))
    assert [path.name for path in fetched.iterdir()] == ["img_emb_1.npy"]
    assert np.array_equal(whole(there), whole(here))
    assert [there.path(at) for at in range(23)] == [here.path(at) for at in range(23)]
    assert there.read(3).tobytes() == here.read(3).tobytes()
    for path in (tmp_path / "cache").rglob("*"):
        assert ".tmp" not in path.name
    fsspec.filesystem("memory").rm("/bucket/index/img_emb", recursive=True)
    assert np.array_equal(whole(there), whole(here))


def test_a_changed_index_gets_a_new_copy(photos, tmp_path, encoder, url):
    run([photos], tmp_path / "index", encoder)
    upload(tmp_path / "index")
    before = ArchiveIndex.open(url)
    assert ArchiveIndex.open(url).root == before.root
    (photos / "photo0.png").unlink()
    run([photos], tmp_path / "index", encoder, prune=True)
    fsspec.filesystem("memory").rm("/bucket", recursive=True)
    upload(tmp_path / "index")
    after = ArchiveIndex.open(url)
    assert after.root != before.root
    assert np.array_equal(whole(after), whole(ArchiveIndex.open(tmp_path / "index")))


def test_folders_of_clip_retrieval(tmp_path, url):
    upload(foreign(tmp_path / "emb", [3, 1, 5]))
    index = ArchiveIndex.open(url)
    assert index.manifest is None
    assert np.array_equal(whole(index), whole(ArchiveIndex.open(tmp_path / "emb")))
    assert index.path(4) == ArchiveIndex.open(tmp_path / "emb").path(4)


OUTSIDE = [
    "img_emb/../../../evil.npy",
    "img_emb/%2e%2e/%2e%2e/%2e%2e/evil.npy",
    "img_emb/..\\..\\evil.npy",
    "metadata/..",
    "C:\\evil.npy",
    "/evil.npy",
    "shards/\0.json",
]


def files_below(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("manifest", [True, False])
def test_names_outside_the_folder_are_refused(tmp_path, url, monkeypatch, name, manifest):
    fs = fsspec.filesystem("memory")

    names = [name, *(["manifest.json"] if manifest else [])]

    def listing(path, detail):
        found = [f"/bucket/index/{given}" for given in names]
        return [
            {"name": entry, "size": 1, "type": "file", "created": 1}
            for entry in found
            if entry.startswith(path.rstrip("/") + "/")
        ]

    monkeypatch.setattr(fs, "ls", listing)
    monkeypatch.setattr(fs, "_open", lambda *a, **kw: pytest.fail("it was fetched"))
    with pytest.raises(ArchiveError, match="is refused, and nothing was fetched"):
        ArchiveIndex.open(url)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("manifest", [True, False])
def test_crafted_keys_write_nothing_outside(photos, tmp_path, encoder, url, manifest):
    if manifest:
        run([photos], tmp_path / "index", encoder)
        upload(tmp_path / "index")
    else:
        upload(foreign(tmp_path / "emb", [3]))
    fs = fsspec.filesystem("memory")
    for name in OUTSIDE:
        fs.store[f"/bucket/index/{name}"] = MemoryFile(fs, name, b"evil")
    before = files_below(tmp_path)
    with pytest.raises(ArchiveError, match="is refused, and nothing was fetched"):
        ArchiveIndex.open(url)
    assert files_below(tmp_path) == before


def test_more_files_than_the_limit_are_not_fetched(tmp_path, url, monkeypatch):
    upload(foreign(tmp_path / "emb", [3, 1, 5]))
    monkeypatch.setattr(remote, "MAX_FILES", 4)
    with pytest.raises(ArchiveError, match="has more than 4 files"):
        ArchiveIndex.open(url)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    "name", ["manifest.json", "shards/shard_0.json", "metadata/metadata_0.parquet"]
)
def test_files_that_are_too_large_are_not_fetched(photos, tmp_path, encoder, url, name):
    run([photos], tmp_path / "index", encoder)
    upload(tmp_path / "index")
    fsspec.filesystem("memory").pipe_file(f"/bucket/index/{name}", bytes(5 << 20))
    with pytest.raises(ArchiveError, match=r"has 5,242,880 bytes\. Expected .* not fetched"):
        ArchiveIndex.open(url)


def test_a_file_that_arrives_half_or_damaged_is_not_kept(
    photos, tmp_path, encoder, url, monkeypatch
):
    run([photos], tmp_path / "index", encoder)
    upload(tmp_path / "index")
    fs = fsspec.filesystem("memory")
    real, spoil = fs._open, lambda data: data[:-20]

    def spoilt(path, mode="rb", **options):
        file = real(path, mode, **options)
        return io.BytesIO(spoil(file.getvalue())) if path.endswith(".npy") else file

    monkeypatch.setattr(fs, "_open", spoilt)
    index = ArchiveIndex.open(url)
    with pytest.raises(ArchiveError, match=r"got \d+ of \d+ bytes"):
        index.embeddings([6])
    spoil = lambda data: data[:-3] + b"x" + data[-2:]  # noqa: E731
    with pytest.raises(ArchiveError, match="its checksum is"):
        index.embeddings([6])
    assert not list(index.root.rglob("*.npy"))
    monkeypatch.undo()
    here = ArchiveIndex.open(tmp_path / "index")
    assert index.embeddings([6]).equal(here.embeddings([6]))


def test_superseded_copies_are_removed_after_a_day(photos, tmp_path, encoder, url, monkeypatch):
    monkeypatch.setenv("RECOSEG_CACHE", str(tmp_path / "cache"))
    roots = []
    for number in range(3):
        make_photo(700 + number).save(photos / f"more{number}.png")
        run([photos], tmp_path / "index", encoder)
        upload(tmp_path / "index")
        roots.append(ArchiveIndex.open(url).root)
        if number == 0:
            os.utime(roots[0], (0, 0))
            (tmp_path / "mine").mkdir()
            (roots[0].parent / ("f" * 16)).symlink_to(tmp_path / "mine")
    assert [root.exists() for root in roots] == [False, True, True]
    assert (tmp_path / "mine").exists()


def test_refusals(photos, tmp_path, encoder, url):
    with pytest.raises(ArchiveError, match="No index was found at memory://bucket/index"):
        ArchiveIndex.open(url)
    with pytest.raises(ArchiveError, match="Cannot read nonsense://x: expected a URL"):
        ArchiveIndex.open("nonsense://x")
    run([photos], tmp_path / "index", encoder)
    upload(tmp_path / "index")
    fs = fsspec.filesystem("memory")
    fs.rm("/bucket/index/img_emb/img_emb_1.npy")
    index = ArchiveIndex.open(url)
    with pytest.raises(ArchiveError, match=r"Cannot fetch /bucket/index/img_emb/img_emb_1\.npy"):
        index.embeddings([6])
    fs.copy("/bucket/index/img_emb/img_emb_4.npy", "/bucket/index/img_emb/img_emb_2.npy")
    index = ArchiveIndex.open(url)
    with pytest.raises(ArchiveError, match=r"it is damaged, or the\s+index has changed"):
        index.embeddings([11])
