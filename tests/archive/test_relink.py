"""Archives that have moved: the index finds its photos again, embeds none and doubles none."""

import shutil

import numpy as np
import pytest

from recoseg.archive import build as building
from recoseg.archive.index import ArchiveIndex
from recoseg.archive.layout import read_shards
from recoseg.archive.selection import Selection
from recoseg.archive.verify import verify_index
from recoseg.photos.reading import read_photo
from recoseg.photos.refs import Photo
from tests.archive.conftest import make_folder, make_photo
from tests.archive.fake_encoder import FakeEncoder
from tests.building import build_index
from tests.photos.test_exclusion import closed
from tests.photos.test_sources import make_tar, png


@pytest.fixture
def home(tmp_path):
    """Nine photos in `old` and two folders below it; two are copies of one."""
    make_folder(tmp_path / "old", 4)
    make_folder(tmp_path / "old" / "x", 2, 4)
    make_folder(tmp_path / "old" / "y", 2, 6)
    shutil.copy(tmp_path / "old" / "photo0.png", tmp_path / "old" / "y" / "copy.png")
    (tmp_path / "old" / "broken.jpg").write_bytes(b"none")
    run(tmp_path, tmp_path / "old")
    return tmp_path


def run(home, *sources, encoder=None, **options):
    options = {"shard_size": 3} | options
    return build_index(sources, home / "index", encoder or FakeEncoder(), **options)


def rows(home):
    """Path, hash and embedding of every photo; what is at a path must have that hash."""
    index = ArchiveIndex.open(home / "index")
    assert not verify_index(home / "index").problems
    found = {}
    for at, photo in enumerate(index.photos()):
        assert photo.path not in found
        found[photo.path.removeprefix(f"{home}/")] = (photo.hash, index.embeddings([at]).numpy())
    return found


def same_rows(before, after, rename):
    assert sorted(map(rename, before)) == sorted(after)
    for name, (digest, row) in before.items():
        assert after[rename(name)][0] == digest
        assert np.array_equal(after[rename(name)][1], row)


def to_new(name):
    return f"new/{name.removeprefix('old/')}"


def test_a_moved_archive_is_found_by_its_content(home):
    before, encoder = rows(home), FakeEncoder()
    (home / "old").rename(home / "new")
    report = run(home, home / "new", relink=True, encoder=encoder)
    assert (report.moved, report.photos, report.unusable, encoder.embedded) == (9, 9, 1, 0)
    assert (report.doubled, report.unfound, report.again, report.missing) == (0, (), (), ())
    same_rows(before, rows(home), to_new)
    index = ArchiveIndex.open(home / "index")
    assert all(read_photo(Photo(photo.path)) for photo in index.photos())
    # From then on the index knows the new place as if it had been made there.
    for options in ({}, {"relink": True}, {"prune": True}):
        report = run(home, home / "new", **options)
        assert (report.new, report.changed, report.skipped) == (0, 0, 9)
    (home / "new" / "photo1.png").unlink()
    assert run(home, home / "new").missing == (f"{home}/new/photo1.png",)
    assert run(home, home / "new", prune=True).removed == 1


def test_names_may_change_and_copies_stay_copies(home):
    before, encoder = rows(home), FakeEncoder()
    for number, path in enumerate(sorted((home / "old").rglob("*.png"))):
        target = home / "new" / f"{number % 2}" / f"renamed{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    report = run(home, home / "new", relink=True, encoder=encoder)
    after = rows(home)
    assert (report.moved, encoder.embedded, len(after)) == (9, 0, 9)
    assert sorted(digest for digest, _ in before.values()) == sorted(d for d, _ in after.values())


def test_what_is_not_found_is_named_and_kept_or_pruned(home):
    before = rows(home)
    (home / "old").rename(home / "new")
    (home / "new" / "photo1.png").unlink()
    (home / "new" / "x" / "photo4.png").unlink()
    make_photo(77).save(home / "new" / "fresh.png")
    encoder = FakeEncoder()
    report = run(home, home / "new", relink=True, encoder=encoder)
    gone = {f"{home}/old/photo1.png", f"{home}/old/x/photo4.png"}
    assert (set(report.unfound), set(report.missing)) == (gone, gone)
    assert (report.moved, report.new, report.photos, encoder.embedded) == (7, 1, 10, 1)
    after = rows(home)
    assert {"old/photo1.png", "old/x/photo4.png", "new/fresh.png"} <= after.keys()
    shutil.copytree(home / "index", home / "copy")
    for options in ({"relink": True, "prune": True}, {"prune": True}):
        shutil.rmtree(home / "index")
        shutil.copytree(home / "copy", home / "index")
        assert run(home, home / "new", **options).removed == 2
        kept = {to_new(name) for name in before} - {"new/photo1.png", "new/x/photo4.png"}
        assert rows(home).keys() == kept | {"new/fresh.png"}


def test_pruning_in_the_same_run(home):
    (home / "old").rename(home / "new")
    (home / "new" / "photo1.png").unlink()
    report = run(home, home / "new", relink=True, prune=True)
    assert (report.moved, report.removed, len(rows(home))) == (8, 1, 8)


def test_nothing_is_pruned_where_folders_cannot_be_read(home, monkeypatch):
    before = rows(home)
    (home / "old").rename(home / "new")
    closed(monkeypatch, "x")
    report = run(home, home / "new", relink=True, prune=True)
    assert (report.moved, report.removed, report.photos) == (7, 0, 9)
    assert set(report.unfound) == {f"{home}/{name}" for name in before if "/x/" in name}
    assert [photo.path for photo in report.failures if "folder" in photo.failure] == [
        f"{home}/new/x"
    ]
    monkeypatch.undo()
    report = run(home, home / "new", relink=True)
    assert (report.moved, report.photos, report.unfound) == (2, 9, ())


def test_without_relink_the_run_says_what_it_doubles_and_relink_mends_it(home):
    before = rows(home)
    (home / "old").rename(home / "new")
    report = run(home, home / "new")
    assert (report.new, report.photos, len(report.again)) == (9, 18, 9)
    assert all(path.startswith(f"{home}/new/") for path in report.again)
    encoder = FakeEncoder()
    report = run(home, home / "new", relink=True, encoder=encoder)
    assert (report.moved, report.doubled, report.photos, encoder.embedded) == (0, 9, 9, 0)
    same_rows(before, rows(home), to_new)


@pytest.mark.parametrize("dies_at", [0, 1, 2])
def test_an_interrupted_relink_goes_on(home, monkeypatch, dies_at):
    before = rows(home)
    (home / "old").rename(home / "new")
    (home / "new" / "y" / "photo6.png").unlink()
    real, count = building.write_shard, iter(range(99))

    def write_shard(*arguments):
        if next(count) == dies_at:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(building, "write_shard", write_shard)
    with pytest.raises(KeyboardInterrupt):
        run(home, home / "new", relink=True)
    assert len(rows(home)) == 9
    monkeypatch.setattr(building, "write_shard", real)
    encoder = FakeEncoder()
    report = run(home, home / "new", relink=True, prune=True, encoder=encoder)
    assert (report.moved + min(dies_at * 3, 9) >= 6, encoder.embedded) == (True, 0)
    after = rows(home)
    same_rows({n: r for n, r in before.items() if "photo6" not in n}, after, to_new)


def test_members_of_moved_shards(tmp_path):
    (tmp_path / "old").mkdir()
    for shard in range(2):
        members = {f"{n}.png": png(shard * 10 + n) for n in range(3)}
        make_tar(tmp_path / "old" / f"{shard}.tar", members)
    run(tmp_path, f"{tmp_path}/old/*.tar")
    before, encoder = rows(tmp_path), FakeEncoder()
    (tmp_path / "old").rename(tmp_path / "new")
    report = run(tmp_path, f"{tmp_path}/new/*.tar", relink=True, encoder=encoder)
    assert (report.moved, report.photos, encoder.embedded) == (6, 6, 0)
    same_rows(before, rows(tmp_path), to_new)
    shards, _ = read_shards(tmp_path / "index")
    assert {shard.source for shard in shards} == {f"{tmp_path}/new/{n}.tar" for n in range(2)}
    assert run(tmp_path, f"{tmp_path}/new/*.tar").skipped == 6
    # Packed otherwise, they are found, too.
    (tmp_path / "new").rename(tmp_path / "gone")
    members = {f"m/{s}{n}.png": png(s * 10 + n) for n in range(3) for s in range(2)}
    one = make_tar(tmp_path / "one.tar", members)
    assert run(tmp_path, one, relink=True, encoder=encoder).moved == 6
    assert encoder.embedded == 0


def test_other_archives_keep_their_photos(home):
    """One that is not given and still there, although another one has copies of its photos."""
    make_folder(home / "other", 3)  # the content of photo0 to photo2
    run(home, home / "other", home / "old")
    before = rows(home)
    (home / "old").rename(home / "new")
    report = run(home, home / "new", relink=True, prune=True)
    after = rows(home)
    assert (report.moved, report.doubled, report.removed) == (9, 0, 0)
    same_rows(before, after, lambda name: to_new(name) if name.startswith("old") else name)
    # One that is not mounted loses no more than what the other has.
    (home / "other").rename(home / "unmounted")
    report = run(home, home / "new", relink=True, prune=True)
    assert {n for n in after if n.startswith("new/")} <= rows(home).keys()


def test_photos_that_move_within_the_archive(home):
    before, encoder = rows(home), FakeEncoder()
    (home / "old" / "z").mkdir()
    (home / "old" / "x" / "photo4.png").rename(home / "old" / "z" / "sorted.png")
    report = run(home, home / "old", relink=True, prune=True, encoder=encoder)
    assert (report.moved, report.skipped, report.removed, encoder.embedded) == (1, 8, 0, 0)
    after = rows(home)
    assert after["old/z/sorted.png"][0] == before["old/x/photo4.png"][0]
    assert len(after) == 9
    assert run(home, home / "old").skipped == 9


def test_archives_that_are_divided(home):
    """Photos of one shard that are in two places now are gone only if both list others."""
    before = rows(home)
    (home / "one").mkdir()
    (home / "old" / "x").rename(home / "one" / "x")
    (home / "old").rename(home / "two")
    report = run(home, home / "one", home / "two", relink=True)
    assert (report.moved, report.photos) == (9, 9)
    assert run(home, home / "one", prune=True).removed == 0
    assert run(home, home / "two", prune=True).removed == 0
    assert len(rows(home)) == len(before)
    (home / "one" / "x" / "photo4.png").unlink()
    assert run(home, home / "one", home / "two", prune=True).removed == 1


def test_an_archive_that_was_copied(home):
    shutil.copytree(home / "old", home / "new")
    before, encoder = rows(home), FakeEncoder()
    report = run(home, home / "new", relink=True, encoder=encoder)
    assert (report.moved, report.photos, encoder.embedded) == (9, 9, 0)
    same_rows(before, rows(home), to_new)


def test_excluded_photos_stay_unless_pruned(home):
    report = run(home, home / "old", exclude=["x", "*.jpg"])
    assert (report.excluded, report.removed, report.missing) == (2, 0, ())
    assert (report.photos, report.unusable) == (9, 1)
    report = run(home, home / "old", exclude=["x", "*.jpg"], relink=True)
    assert (report.excluded, report.moved, report.photos) == (2, 0, 9)
    report = run(home, home / "old", exclude=["x", "*.jpg"], prune=True)
    assert (report.excluded, report.removed, report.photos, report.unusable) == (2, 2, 7, 0)
    assert not [name for name in rows(home) if "/x/" in name]
    assert run(home, home / "old").new == 2


def test_a_shard_without_usable_photos_is_no_obstacle(tmp_path):
    make_folder(tmp_path / "old", 2)
    (tmp_path / "old" / "z.jpg").write_bytes(b"none")
    run(tmp_path, tmp_path / "old", shard_size=2)
    index = ArchiveIndex.open(tmp_path / "index", Selection({"0" * 32: "none"}))
    assert [len(list(index.photos())), len(list(index.failures()))] == [2, 1]
    assert sum(len(rows) for _, rows in index.blocks()) == 2
