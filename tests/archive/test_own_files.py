"""`recoseg index` writes to and deletes from its own index only, and a full disk is one line."""

import errno
import json
import os
import shutil

import numpy as np
import pytest

from recoseg.archive.index import ArchiveIndex
from recoseg.archive.layout import begin_run, clean, read_shards
from recoseg.errors import ArchiveError, FileError, OutputError
from recoseg.photos.refs import Photo
from recoseg.photos.sources import PhotoSource
from recoseg.storage import atomic
from recoseg.storage.sealed import sealed
from tests.archive.conftest import make_folder, make_photo
from tests.archive.test_build import contents, run
from tests.archive.test_index import foreign


def tree(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize(
    "name", ["metadata/2024.json", "shards/page1.npy", "img_emb/x", "manifest.json"]
)
def test_a_folder_of_the_users_own_files_is_refused_and_unchanged(tmp_path, photos, encoder, name):
    mine = tmp_path / "mine"
    (mine / name).parent.mkdir(parents=True)
    (mine / name).write_text('{"name": "mine"}')
    (mine / "notes.txt").write_text("mine")
    before = tree(mine)
    with pytest.raises((OutputError, ArchiveError), match=r"did not write|not the manifest"):
        run([photos], mine, encoder)
    assert {name: data for name, data in tree(mine).items() if name.name != ".lock"} == before


def test_the_users_files_in_an_index_are_kept(tmp_path, photos, encoder):
    index = tmp_path / "index"
    run([photos], index, encoder)
    names = ["metadata/2024.json", "shards/page1.json", "img_emb/img_emb_007.npy", "notes3.npy"]
    names += ["failures/img_emb_99.npy", "img_emb/img_emb_99.npy", "metadata/my_metadata_7.parquet"]
    for name in names:
        (index / name).parent.mkdir(exist_ok=True)
        (index / name).write_text("mine")
    make_photo(999).save(photos / "photo4.png")
    make_folder(photos, 3, first=50)
    run([photos], index, encoder)
    assert all((index / name).read_text() == "mine" for name in names)
    shutil.rmtree(index / "approximate", ignore_errors=True)
    run([photos], tmp_path / "fresh", encoder)
    assert contents(index) == contents(tmp_path / "fresh")


def test_what_a_killed_run_left_is_removed_and_nothing_else(tmp_path, photos, encoder):
    index = tmp_path / "index"
    run([photos], index, encoder)
    first = begin_run(index, 3)
    assert first == 5
    left = [f"img_emb/img_emb_{first}.npy", f"metadata/metadata_{first + 2}.parquet"]
    mine = [f"img_emb/img_emb_{first + 3}.npy", f"metadata/x_{first}.parquet"]
    for name in [*left, *mine]:
        (index / name).write_text("x")
    before = tree(index)
    clean(index)
    gone = {path.as_posix() for path in before.keys() - tree(index).keys()}
    assert gone == {*left, "unfinished.json"}


def marker(index, name, **fields):
    path = index / f"shards/shard_{name}.json"
    plain = json.loads((index / "shards/shard_0.json").read_text()) | {"number": name}
    path.write_bytes(sealed(plain | fields))
    return path


@pytest.mark.parametrize(
    "fields",
    [
        {"replaces": -1},
        {"replaces": 7},
        {"replaces": 8},
        {"replaces": 10**12},
        {"replaces": "../../mine"},
        {"replaces": True},
        {"number": 3},
        {"number": -1},
        {"photos": -5},
        {"photos": 10**30},
        {"failures": 1.5},
        {"source": None},
        {"checksums": []},
        {"surplus": 1},
    ],
)
def test_a_crafted_marker_deletes_nothing(tmp_path, photos, encoder, fields):
    index = tmp_path / "index"
    run([photos], index, encoder)
    (tmp_path / "mine.npy").write_text("mine")
    marker(index, 7, **fields)
    before = tree(tmp_path)
    with pytest.raises(ArchiveError, match=r"shard_7\.json is damaged") as caught:
        run([photos], index, encoder)
    assert "\n" not in str(caught.value)
    after = tree(tmp_path)
    assert {name: data for name, data in after.items() if name.name != ".lock"} == {
        name: data for name, data in before.items() if name.name != ".lock"
    }
    with pytest.raises(ArchiveError, match=r"shard_7\.json is damaged"):
        ArchiveIndex.open(index)


@pytest.mark.parametrize("name", ["img_emb", "metadata", "failures", "shards", "manifest.json"])
def test_links_out_of_the_index_are_refused(tmp_path, photos, encoder, name):
    index = tmp_path / "index"
    run([photos], index, encoder)
    (index / "failures").mkdir(exist_ok=True)
    (index / name).rename(tmp_path / name)
    (index / name).symlink_to(tmp_path / name)
    make_folder(photos, 3, first=50)
    begin_run(index, 10)
    before = tree(tmp_path)
    with pytest.raises(FileError, match="leaves the folder"):
        run([photos], index, encoder)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("checksums", [True, False])
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_shard_is_kept_while_its_replacement_is_damaged(
    tmp_path, photos, encoder, damage, checksums
):
    index = tmp_path / "index"
    run([photos], index, encoder)
    path = marker(index, 9, replaces=0, **({} if checksums else {"checksums": {}}))
    if damage == "cut":
        (index / "img_emb/img_emb_9.npy").write_bytes(b"")
    before = tree(index)
    with pytest.raises(ArchiveError, match=r"_9\..*Delete the marker .*shard_9\.json"):
        clean(index)
    assert tree(index) == before
    path.unlink()
    run([photos], index, encoder)
    assert len(ArchiveIndex.open(index)) == 23


@pytest.mark.parametrize("name", ["settings.json", "photo.png", "notes.txt"])
def test_a_new_index_shares_its_folder_with_nothing(tmp_path, photos, encoder, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text('{"format": "recoseg-masks-1"}')
    with pytest.raises(OutputError, match=r"did not write|another command"):
        run([photos], tmp_path / "out", encoder)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]
    (tmp_path / "out" / name).rename(tmp_path / "out/.DS_Store")
    run([photos], tmp_path / "out", encoder)
    assert len(ArchiveIndex.open(tmp_path / "out")) == 23


def test_a_full_disk_is_one_line_and_finished_shards_stay(tmp_path, photos, encoder, monkeypatch):
    real, calls = atomic.os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) > 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(OutputError, match=r"No space left on device\. The shards that") as caught:
        run([photos], tmp_path / "index", encoder)
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    assert 0 < len(ArchiveIndex.open(tmp_path / "index")) < 23
    encoder.embedded = 0
    run([photos], tmp_path / "index", encoder)
    assert encoder.embedded < 23
    run([photos], tmp_path / "fresh", encoder)
    assert contents(tmp_path / "index") == contents(tmp_path / "fresh")
    assert not list((tmp_path / "index").rglob(".tmp*"))


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, photos, encoder, monkeypatch, code):
    def refuse(*args, **options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(atomic.secrets, "token_hex", refuse)
    with pytest.raises(OutputError, match=f"Cannot write the index .*{os.strerror(code)}"):
        run([photos], tmp_path / "index", encoder)


def test_a_folder_below_a_file_is_one_line(tmp_path, photos, encoder):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArchiveError, match=r"cannot be read: Not a directory\."):
        run([photos], tmp_path / "file/index", encoder)


def test_damaged_rows_are_not_copied_into_a_new_shard(tmp_path, photos, encoder):
    index = tmp_path / "index"
    run([photos], index, encoder)
    data = bytearray((index / "img_emb/img_emb_1.npy").read_bytes())
    data[-1] ^= 1
    (index / "img_emb/img_emb_1.npy").write_bytes(data)
    changed = ArchiveIndex.open(index).path(6)
    make_photo(999).save(changed)
    with pytest.raises(ArchiveError, match=r"img_emb_1\.npy is damaged"):
        run([photos], index, encoder)
    assert [shard.number for shard in read_shards(index)[0]] == [0, 1, 2, 3, 4]


class Listed:
    """What `list_sources` returns, as a test wants it."""

    def __init__(self, monkeypatch):
        from recoseg.archive import build

        self.real = build.list_sources
        self.change = lambda sources: sources
        monkeypatch.setattr(build, "list_sources", lambda *given: self.change(self.real(*given)))


def test_photos_below_an_unreadable_folder_are_kept(tmp_path, photos, encoder, monkeypatch):
    index, listed = tmp_path / "index", Listed(monkeypatch)
    run([photos], index, encoder)
    before = contents(index)
    (photos / "photo0.png").unlink()

    def unreadable(sources):
        [source] = sources
        kept = [photo for photo in source.photos if "/deep/" not in photo.path]
        place = Photo(f"{photos}/deep", failure="the folder cannot be read: Permission denied")
        return [PhotoSource(source.name, (*kept, place))]

    listed.change = unreadable
    report = run([photos], index, encoder, prune=True)
    assert report.missing == (str(photos / "photo0.png"),)
    assert [photo.path for photo in report.failures] == [f"{photos}/deep"]
    assert contents(index).keys() == before.keys() - {"photo0.png"}
    listed.change = lambda sources: sources
    report = run([photos], index, encoder)
    assert (report.unusable, report.new, report.missing) == (0, 0, ())
    assert contents(index).keys() == before.keys() - {"photo0.png"}


def test_members_of_a_damaged_tar_are_kept(tmp_path, photos, encoder):
    from tests.photos.test_sources import make_tar

    files = sorted(photos.rglob("*.png"))
    make_tar(tmp_path / "0.tar", {path.name: path.read_bytes() for path in files})
    index = tmp_path / "index"
    run([tmp_path / "0.tar"], index, encoder)
    (tmp_path / "0.tar").write_bytes(b"no tar")
    report = run([tmp_path / "0.tar"], index, encoder, prune=True)
    assert (report.missing, report.photos, report.failed) == ((), 23, 1)


def test_photos_of_a_source_that_lists_nothing_are_kept(tmp_path, photos, encoder):
    index, other = tmp_path / "index", make_folder(tmp_path / "other", 3)
    run([photos, other], index, encoder)
    shutil.rmtree(photos)
    photos.mkdir()
    report = run([photos, other], index, encoder, prune=True)
    assert (report.photos, report.missing, report.empty) == (26, (), (str(photos),))
    with pytest.raises(ArchiveError, match="No photos in"):
        run([photos], index, encoder, prune=True)
    assert len(ArchiveIndex.open(index)) == 26


def test_a_foreign_folder_is_not_changed(tmp_path, photos, encoder):
    root = foreign(tmp_path / "emb", [3])
    before = tree(root)
    with pytest.raises(OutputError, match="did not write"):
        run([photos], root, encoder)
    assert tree(root) == before
    assert np.load(root / "img_emb/img_emb_0.npy").shape == (3, 7)
