"""Photos that patterns of their names leave out, and errors that say what was expected."""

import pytest

import recoseg
from recoseg.datasets.excluded import names_left
from recoseg.errors import DatasetError
from tests.command import run
from tests.training.runs import write_pairs

NAMES = ["farm/1", "farm/2", "town/2", "cow"]


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        ([], NAMES),
        ("1", NAMES[1:]),
        (["town/*", "c?w"], ["farm/1", "farm/2"]),
        (["farm"], ["town/2", "cow"]),
    ],
)
def test_patterns_match_whole_names_or_their_parts(patterns, left):
    assert names_left(NAMES, patterns) == left


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (
            ["2", "cow.png"],
            "matches 'cow.png'. Names have no suffix, such as farm/1",
        ),
        (["*"], "All 4 photos are excluded"),
    ],
)
def test_patterns_that_do_not_fit(patterns, message):
    with pytest.raises(DatasetError, match=message):
        names_left(NAMES, patterns)


def test_training_leaves_them_out(tmp_path, monkeypatch):
    write_pairs(tmp_path / "data")
    names = sorted(path.stem for path in (tmp_path / "data/images").iterdir())
    seen = []

    def stop(data, **_):
        seen.extend(photo.name for photo in data.photos)
        raise DatasetError("stopped")

    monkeypatch.setattr("recoseg.pipeline.train.readable", stop)
    folders = {"masks": tmp_path / "data/masks", "images": tmp_path / "data/images"}
    small = {"encoder": "resnet18=random", "output_stride": 16}
    with pytest.raises(DatasetError, match="stopped"):
        recoseg.train(tmp_path / "run", **folders, **small, exclude=names[1])
    assert sorted(seen) == [names[0], *names[2:]]


def test_commands_say_what_does_not_fit(tmp_path):
    write_pairs(tmp_path / "data")
    trained = run(
        *("train", "--masks", tmp_path / "data/masks", "--images", tmp_path / "data/images"),
        *("--encoder", "resnet18=random", "--output-stride", 16),
        *("--out", tmp_path / "run", "--exclude", "absent/*"),
    )
    assert trained.code == 1
    assert "No photo to exclude has a name that matches 'absent/*'." in trained.err
    alone = run(
        *("ablate", "retrieval", "--index", tmp_path, "--out", tmp_path / "tables"),
        *("--exclude", "absent/*"),
    )
    assert alone.code == 2
    assert "--exclude leaves out photos of a data set" in alone.err
