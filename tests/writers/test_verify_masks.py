"""Masks are verified, and what others have changed in their folder does not count."""

import json
from pathlib import Path

import numpy as np
import pytest

from recoseg.errors import FileError
from recoseg.photos.refs import Photo
from recoseg.segmentation.verify import verify_masks
from recoseg.storage.claim import format_in
from recoseg.storage.json_lines import line_of, write_json_lines
from recoseg.storage.sealed import sealed_line
from recoseg.writers.folder import FORMAT
from recoseg.writers.names import output_names
from tests.writers.test_folder import PHOTO, Names, fill, make, output


def test_verifying_finds_each_changed_file(tmp_path):
    scores = np.zeros((2, 1, 1), np.float16)
    with output(tmp_path, writers=["labels", "overlays", "scores", Names()]) as out:
        for name in "ab":
            out.write(name, Photo(f"{name}.jpg"), PHOTO, make([[1]], scores=scores))
    found = verify_masks(tmp_path)
    assert (found.checked, found.unchecked, found.problems) == (8, 2, ())
    for name in ("labels/a.png", "overlays/b.jpg", "scores/a.npz"):
        path = tmp_path / name
        whole = path.read_bytes()
        for at in range(0, len(whole), 101):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
            assert [Path(name).name in text for text in verify_masks(tmp_path).problems] == [True]
        path.unlink()
        assert len(verify_masks(tmp_path).problems) == 1
        path.write_bytes(whole)
    (tmp_path / "classes.txt").write_text("sky\n")
    [problem] = verify_masks(tmp_path).problems
    assert "classes.txt is damaged" in problem
    with pytest.raises(FileError, match="holds no masks"):
        verify_masks(tmp_path / "labels")


RECORDS = ["settings.json", "segmentations.jsonl", "classes.txt"]


@pytest.mark.parametrize("name", RECORDS)
def test_verifying_finds_each_changed_byte_of_the_records(tmp_path, name):
    fill(tmp_path, [Photo("a.jpg"), Photo("b.jpg")])
    assert not verify_masks(tmp_path).problems
    path = tmp_path / name
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        if format_in(tmp_path) == FORMAT:
            assert verify_masks(tmp_path).problems, whole[at - 20 : at + 20]
        else:  # the mark itself no longer tells what is in the folder
            with pytest.raises(FileError, match="holds no masks"):
                verify_masks(tmp_path)
    if name != "settings.json":
        for content in (b"", whole[: len(whole) // 2]):
            path.write_bytes(content)
            assert verify_masks(tmp_path).problems


def test_verifying_finds_lines_of_other_runs_and_files_of_no_line(tmp_path):
    fill(tmp_path, [Photo("a.jpg"), Photo("b.jpg")])
    path = tmp_path / "segmentations.jsonl"
    first, second = path.read_bytes().splitlines(keepends=True)
    run = json.loads(first)["run"]
    path.write_bytes(first)
    assert [text.split(" is ")[0] for text in verify_masks(tmp_path).problems] == [
        str(tmp_path / "labels/b.png"),
        str(tmp_path / "overlays/b.jpg"),
    ]
    for line, problem in (
        (sealed_line({"run": "x", "path": "c"}), "belongs to another run"),
        (sealed_line({"run": run, "path": "c"}), "names no files"),
        ({"run": run, "path": "c", "error": "damaged"}, "is damaged"),
    ):
        path.write_bytes(first + second + line_of(line))
        [found] = verify_masks(tmp_path).problems
        assert problem in found


def test_a_damaged_line_does_not_count(tmp_path):
    fill(tmp_path, [Photo("a.jpg"), Photo("b.jpg")])
    path = tmp_path / "segmentations.jsonl"
    whole = path.read_text()
    path.write_text(whole.replace('"b.jpg"', '"c.jpg"'))
    assert fill(tmp_path, [Photo("a.jpg"), Photo("b.jpg")], resume=True) == ["b"]
    assert path.read_text() == whole
    assert not verify_masks(tmp_path).problems


def test_an_output_of_an_early_version_is_continued(tmp_path):
    fill(tmp_path, [Photo("a.jpg"), Photo("b.jpg")])
    whole = contents(tmp_path)
    without_checksums(tmp_path)
    found = verify_masks(tmp_path)
    assert (found.checked, found.unchecked, found.problems) == (4, 2, ())
    assert fill(tmp_path, [Photo("a.jpg"), Photo("b.jpg")], resume=True) == []
    assert contents(tmp_path) == whole


def contents(folder):
    return {name: (folder / name).read_bytes() for name in RECORDS}


def without_checksums(folder):
    """Rewrite the records as an early version wrote them."""
    path = folder / "settings.json"
    fields = json.loads(path.read_text())
    del fields["checksum"], fields["checksums"]
    path.write_text(json.dumps(fields))
    path = folder / "segmentations.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    write_json_lines(path, [{k: v for k, v in line.items() if k != "line"} for line in lines])


@pytest.mark.parametrize("name", ["notes.txt", "labels/notes.txt", "mine/a.png", "a.png"])
@pytest.mark.parametrize("run", ["x", None])
def test_a_line_of_strangers_removes_no_file_that_a_run_would_not_write(tmp_path, name, run):
    fill(tmp_path, [Photo("a.jpg")])
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    run = run or json.loads((tmp_path / "settings.json").read_text())["run"]
    for options in ({"resume": True}, {"overwrite": True}):
        for line in ({"run": run, "files": [name]}, sealed_line({"run": run, "files": [name]})):
            with (tmp_path / "segmentations.jsonl").open("ab") as file:
                file.write(line_of(line))
        fill(tmp_path, [Photo("a.jpg")], **options)
        assert (tmp_path / name).read_text() == "mine"


def test_names_of_outputs_hold_no_hidden_characters():
    assert output_names(["a\u202eb.jpg", "c\u2028d.jpg", "e\x1b\u202ef.jpg"]) == [
        "a_b",
        "c_d",
        "e_f",
    ]
    assert output_names(["été 犬\u200d.jpg"]) == ["été 犬\u200d"]
