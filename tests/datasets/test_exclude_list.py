"""Lists of photos that are left out: what they name, and errors that say what was expected."""

import pytest

import recoseg
from recoseg.datasets.exclude_list import names_left
from recoseg.errors import DatasetError
from tests.command import run
from tests.training.runs import write_pairs

NAMES = ["farm/1", "farm/2", "town/2", "cow"]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("1.jpg\n", NAMES[1:]),
        ("# old ones\n\n  town/2 \ncow.png\ncow\n", ["farm/1", "farm/2"]),
    ],
)
def test_names_are_whole_or_their_last_part(tmp_path, text, left):
    (tmp_path / "out.txt").write_text(text)
    assert names_left(NAMES, tmp_path / "out.txt") == left


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "There is no file .*out.txt. Expected a text file with the names"),
        ("# none\n", "out.txt names no photo. Expected a text file"),
        (
            "2\nhen\ncow\n",
            "2 of 3 names in .*out.txt are not names of photos: 2, hen. Expected names",
        ),
        ("\n".join(NAMES), "leaves out all 4 photos"),
    ],
)
def test_lists_that_do_not_fit(tmp_path, text, message):
    if text is not None:
        (tmp_path / "out.txt").write_text(text)
    with pytest.raises(DatasetError, match=message):
        names_left(NAMES, tmp_path / "out.txt")


def test_training_leaves_them_out(tmp_path, monkeypatch):
    write_pairs(tmp_path / "data")
    names = sorted(path.stem for path in (tmp_path / "data/images").iterdir())
    (tmp_path / "out.txt").write_text(f"{names[1]}.png\n")
    seen = []

    def stop(data, **_):
        seen.extend(photo.name for photo in data.photos)
        raise DatasetError("stopped")

    monkeypatch.setattr("recoseg.pipeline.train.readable", stop)
    folders = {"masks": tmp_path / "data/masks", "images": tmp_path / "data/images"}
    small = {"encoder": "resnet18=random", "output_stride": 16}
    with pytest.raises(DatasetError, match="stopped"):
        recoseg.train(tmp_path / "run", **folders, **small, exclude=tmp_path / "out.txt")
    assert sorted(seen) == [names[0], *names[2:]]


def test_commands_say_what_does_not_fit(tmp_path):
    write_pairs(tmp_path / "data")
    trained = run(
        *("train", "--masks", tmp_path / "data/masks", "--images", tmp_path / "data/images"),
        *("--encoder", "resnet18=random", "--output-stride", 16),
        *("--out", tmp_path / "run", "--exclude", tmp_path / "absent.txt"),
    )
    assert trained.code == 1
    assert f"There is no file {tmp_path / 'absent.txt'}." in trained.err
    alone = run(
        *("ablate", "retrieval", "--index", tmp_path, "--out", tmp_path / "tables"),
        *("--exclude", tmp_path / "absent.txt"),
    )
    assert alone.code == 1
    assert "--exclude leaves out photos of a data set" in alone.err
