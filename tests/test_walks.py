"""Commands that walk through photos: what they exclude, cannot read, and find again."""

import pytest

from recoseg.archive.index import ArchiveIndex
from recoseg.concepts import ConceptBank
from recoseg.memory.region_memory import RegionMemory
from tests.archive.conftest import make_photo
from tests.command import Session, run
from tests.photos.test_exclusion import closed

NAMES = ("open/a.png", "open/b.png", "closed/c.png", "thumbs/d.png", "@eaDir/a.png/e.png")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An index, a bank of its photos, and a memory of theirs, with `lite`."""
    root = tmp_path_factory.mktemp("walks")
    for number, name in enumerate(NAMES):
        (root / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        make_photo(number).resize((96, 96)).save(root / "photos" / name)
    index = run("index", root / "photos", "--out", root / "index", "--exclude", "thumbs")
    assert index.code == 0, index.err
    assert "3 photos; this run: 3 new" in index.out
    (root / "classes.txt").write_text("dog\ncar\n")
    options = ("--classes", root / "classes.txt", "--out", root / "bank.safetensors", "-k", 2)
    learnt = run("learn", root / "index", *options, "--context", "none", "--image-size", 96)
    assert learnt.code == 0, learnt.err
    remembered = run("remember", root / "index", "--out", root / "memory", "--size", 96)
    assert remembered.code == 0, remembered.err
    return Session(root)


@pytest.mark.parametrize("command", ["segment", "pseudo-label"])
def test_excluded_and_unreadable_folders(made, tmp_path, monkeypatch, command):
    options = (
        made / "bank.safetensors",
        made / "photos",
        "--exclude",
        "*/thumbs/*",
        "--out",
        tmp_path / "out",
    )
    closed(monkeypatch, "closed")
    result = run(command, *options)
    assert result.code == 0, result.err
    reason = "the folder cannot be read: Permission denied"
    assert f"Left out: {made / 'photos'}/closed: {reason}" in result.err
    assert "of 2 photos" in result.out
    labels = tmp_path / "out" / "labels"
    assert sorted(path.name for path in labels.rglob("*.png")) == ["a.png", "b.png"]
    closed(monkeypatch, "closed", "open", "photos")
    result = run(command, *options[:-1], tmp_path / "none")
    assert result.code == 1
    assert "The only input could not be" in result.err
    result = run(command, *options[:2], "--exclude", "*", "--out", tmp_path / "all")
    assert (result.code, "that are not excluded by '*'" in result.err) == (1, True)


def test_nothing_is_pruned_below_an_unreadable_folder(made, monkeypatch):
    closed(monkeypatch, "closed")
    index = ("index", made / "photos", "--out", made / "index", "--exclude", "thumbs")
    for options in ((), ("--prune",), ("--relink", "--prune")):
        result = run(*index, *options)
        assert result.code == 0, result.err
        assert "3 photos; this run" in result.out
        assert "removed" not in result.err
    monkeypatch.undo()
    result = run(*index, "--exclude", "open", "--exclude", "closed/*")
    assert (result.code, "excluded by 'thumbs', 'open', 'closed/*'" in result.err) == (1, True)
    result = run(*index, "--exclude", "open/b*")
    assert "1 indexed photo is excluded now but kept; --prune removes such photos." in result.err


def test_a_moved_archive_keeps_its_bank_and_memory(made):
    """The last of this file: it moves the photos."""
    before = ArchiveIndex.open(made / "index")
    ids = [photo.id for photo in before.photos()]
    (made / "photos").rename(made / "moved")
    index = ("index", made / "moved", "--out", made / "index", "--exclude", "thumbs")
    result = run(*index)
    assert "3 of the new photos, such as" in result.err
    assert "run the command again with --relink" in result.err
    result = run(*index, "--relink")
    assert result.code == 0, result.err
    assert "3 photos, held under two paths, now kept under one." in result.err
    after = ArchiveIndex.open(made / "index")
    assert sorted(photo.id for photo in after.photos()) == sorted(ids)
    assert all(photo.path.startswith(str(made / "moved")) for photo in after.photos())
    memory = RegionMemory.open(made / "memory", index=after)
    assert all(memory.is_selected(position) for position in range(len(memory)))
    again = run("remember", made / "index", "--out", made / "memory", "--size", 96)
    assert "this run: 0 new, 3 known" in again.out
    retrieved = ConceptBank.load(made / "bank.safetensors").classes[0].retrieved
    assert {photo.photo_id for photo in retrieved} <= set(ids)
    assert all(photo.path.startswith(str(made / "photos")) for photo in retrieved)
    found = run("retrieve", made / "index", "dog", "-k", 3)
    assert str(made / "moved") in found.out


def test_photos_that_are_not_found_are_named(tmp_path):
    for number in range(4):
        (tmp_path / "old").mkdir(exist_ok=True)
        make_photo(number).save(tmp_path / "old" / f"{number}.png")
    assert run("index", tmp_path / "old", "--out", tmp_path / "index").code == 0
    (tmp_path / "old").rename(tmp_path / "new")
    (tmp_path / "new" / "3.png").unlink()
    result = run("index", tmp_path / "new", "--out", tmp_path / "index", "--relink")
    assert "3 photos have moved; the index has the new paths." in result.err
    assert f"Not found: {tmp_path}/old/3.png" in result.err
    assert "1 indexed photo is no longer there but kept; --prune removes such photos." in result.err
    result = run("index", tmp_path / "new", "--out", tmp_path / "index", "--prune")
    assert "Removed: 1 photo, no longer there or excluded." in result.err
    assert "(3 photos; this run: 0 new" in result.out
