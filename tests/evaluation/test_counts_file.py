import json
from dataclasses import replace

import numpy as np
import pytest

from recoseg.errors import OutputError, RecosegError
from recoseg.evaluation.counts_file import CountsFile, PhotoCounts

CLASSES = 3
SETTINGS = {"protocol": {"crop": 320, "sizes": (1, 2)}, "split": "val"}


def counted(name, seed=0, rows=2, boundary=True):
    random = np.random.default_rng(seed)
    counts = random.integers(0, 3, (rows, CLASSES, CLASSES + 1)) * 1000
    edges = random.integers(0, 3, (rows, CLASSES, 4)) if boundary else ()
    return PhotoCounts(name, tuple(counts), tuple(edges))


def same(one, other):
    assert (one.name, one.error) == (other.name, other.error)
    for ours, theirs in ((one.counts, other.counts), (one.boundary, other.boundary)):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
    return True


def write(folder, photos, settings=SETTINGS, **options):
    with CountsFile(folder, settings, CLASSES, **options) as record:
        for photo in photos:
            record.add(photo)
    return folder / "photos.jsonl"


def resumed(folder, settings=SETTINGS):
    with CountsFile(folder, settings, CLASSES, resume=True) as record:
        return record.finished


NAMES = ("a/1", "été", "caf\udce9", "two\u2028lines\x85", "void")
PHOTOS = [
    *(counted(name, seed) for seed, name in enumerate(NAMES[:3])),
    counted(NAMES[3], 3, rows=1, boundary=False),
    PhotoCounts(NAMES[4], (np.zeros((CLASSES, CLASSES + 1), np.int64),)),
]


def test_counts_come_back_whatever_the_photos_are_called(tmp_path):
    lines = write(tmp_path, PHOTOS)
    found = resumed(tmp_path)
    assert list(found) == list(NAMES)
    assert all(same(found[photo.name], photo) for photo in PHOTOS)
    assert len(lines.read_bytes().split(b"\n")) == len(PHOTOS) + 1
    assert json.loads((tmp_path / "settings.json").read_text())["protocol"]["sizes"] == [1, 2]


def test_a_line_cut_off_anywhere_is_left_out_and_the_next_is_whole(tmp_path):
    lines = write(tmp_path, PHOTOS[:2])
    whole = lines.read_bytes()
    first = whole.index(b"\n") + 1
    # At the beginning, within the name's letters, and every few bytes.
    for cut in [*range(first, first + 25), *range(first + 25, len(whole) - 1, 23)]:
        lines.write_bytes(whole[:cut])
        with CountsFile(tmp_path, SETTINGS, CLASSES, resume=True) as record:
            assert list(record.finished) == ["a/1"], cut
            record.add(PHOTOS[1])
        assert lines.read_bytes() == whole


def test_damage_costs_its_line_only(tmp_path):
    lines = write(tmp_path, PHOTOS[:3])
    parts = lines.read_bytes().split(b"\n")
    parts[1:1] = [
        b"\xff\xfe{",
        b"17",
        b"[]",
        b'{"name": "x"}',
        b'{"name": "x", "counts": [[[99], [1]]]}',
    ]
    lines.write_bytes(b"\n".join(parts))
    assert list(resumed(tmp_path)) == list(NAMES[:3])


def test_failures_are_written_and_tried_again(tmp_path):
    lines = write(tmp_path, [PHOTOS[0], PhotoCounts("b", error="damaged: ü")])
    written = json.loads(lines.read_text("utf-8").splitlines()[1])
    assert written.keys() == {"run", "line", "name", "error"}
    assert (written["name"], written["error"]) == ("b", "damaged: ü")
    assert list(resumed(tmp_path)) == ["a/1"]
    assert len(lines.read_text().splitlines()) == 1


def test_other_settings_are_refused_and_nothing_is_lost(tmp_path):
    lines = write(tmp_path, PHOTOS)
    before = lines.read_bytes(), (tmp_path / "settings.json").read_bytes()
    changed = {"protocol": {"crop": 336}, "split": "val", "fusion": "sum"}
    with pytest.raises(
        RecosegError, match=r"other settings \(fusion, protocol\.crop, protocol\.sizes\)"
    ):
        resumed(tmp_path, changed)
    assert (lines.read_bytes(), (tmp_path / "settings.json").read_bytes()) == before


def test_it_begins_anew_only_if_it_is_asked_to(tmp_path):
    write(tmp_path, PHOTOS)
    with pytest.raises(OutputError, match=r"holds the counts of an earlier run.*--overwrite"):
        write(tmp_path, PHOTOS[:1], {"other": 1})
    assert list(resumed(tmp_path)) == list(NAMES)
    lines = write(tmp_path, PHOTOS[:1], {"other": 1}, overwrite=True)
    assert len(lines.read_text().splitlines()) == 1
    assert list(resumed(tmp_path, {"other": 1})) == ["a/1"]
    assert resumed(tmp_path / "new") == {}


def test_counts_of_changed_photos_are_dropped(tmp_path):
    lines = write(tmp_path, [replace(photo, stamp=f"old {photo.name}") for photo in PHOTOS[:3]])
    with CountsFile(tmp_path, SETTINGS, CLASSES, resume=True) as record:
        stamps = {photo.name: f"old {photo.name}" for photo in PHOTOS} | {NAMES[1]: "new"}
        assert list(record.unchanged(stamps)) == [NAMES[0], NAMES[2]]
        record.add(replace(PHOTOS[1], stamp="new"))
    assert lines.read_bytes().count(b"\n") == 3
    assert sorted(resumed(tmp_path)) == sorted(NAMES[:3])


def test_it_is_used_in_a_with_statement(tmp_path):
    with pytest.raises(ValueError, match="with statement"):
        CountsFile(tmp_path, SETTINGS, CLASSES).add(PHOTOS[0])
