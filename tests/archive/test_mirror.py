"""An index on another file system gives the same results as the local original."""

import fsspec
import numpy as np
import pytest

from recoseg.archive.index import ArchiveIndex
from recoseg.errors import ArchiveError
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


@pytest.mark.parametrize("name", ["../evil.txt", "img_emb/../../../evil.npy", "a/.."])
def test_names_outside_the_folder_are_refused(tmp_path, url, monkeypatch, name):
    fs = fsspec.filesystem("memory")
    listing = {f"/bucket/index/{given}": {"size": 1} for given in ("manifest.json", name)}
    monkeypatch.setattr(fs, "find", lambda path, detail: listing)
    monkeypatch.setattr(fs, "get_file", lambda remote, local: pytest.fail("it was fetched"))
    with pytest.raises(
        ArchiveError, match=r"lists the file '.*\.\..*', which is outside its folder"
    ):
        ArchiveIndex.open(url)
    assert not (tmp_path / "cache").exists()


def test_refusals(photos, tmp_path, encoder, url):
    with pytest.raises(ArchiveError, match="There is no index at memory://bucket/index"):
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
    with pytest.raises(ArchiveError, match="build the index again"):
        index.embeddings([11])
