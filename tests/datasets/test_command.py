"""`recoseg datasets`, and the development photos as data sets."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recoseg.classes import read_classes
from recoseg.cli import app
from recoseg.datasets.dataset_table import TABLE, open_dataset
from recoseg.datasets.spaces import SPACES, classes_of


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["datasets", *arguments], env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_table():
    text = printed()
    assert all(row.name in text for row in TABLE)
    assert "171, scored as 27" in text
    assert "gtFine/val/<city>/*_gtFine_labelIds.png" in text


@pytest.mark.parametrize("name", SPACES)
def test_printed_classes_are_those_that_learn_reads(tmp_path, name):
    path = tmp_path / "classes.txt"
    for options in ([], ["--aliases"]):
        path.write_text(printed(name, *options), encoding="utf-8")
        assert read_classes(path) == classes_of(name, aliases=bool(options))


def test_cityscapes_lines():
    found = printed("cityscapes27").splitlines()
    assert found[:3] == ["road", "sidewalk", "parking: parking lot"]
    assert "truck: truck; lorry" in printed("cityscapes27", "--aliases").splitlines()


def test_unknown_names():
    result = CliRunner().invoke(app, ["datasets", "pets"])
    assert result.exit_code == 2
    assert "Unknown label space 'pets'. Valid: " in result.stderr


def test_classes_are_printed_without_loading_the_hub():
    code = (
        "import sys; sys.argv = ['recoseg', 'datasets', 'voc20']\n"
        "from recoseg.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        "assert not {'datasets', 'timm', 'open_clip', 'transformers'} & set(sys.modules)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.splitlines()[0] == "aeroplane"


@pytest.mark.photos
@pytest.mark.skipif("RECOSEG_TEST_DATA" not in os.environ, reason="needs RECOSEG_TEST_DATA")
@pytest.mark.parametrize(("name", "photos", "classes"), [("msrc21", 296, 21), ("camvid", 101, 11)])
def test_development_photos(name, photos, classes):
    dataset = open_dataset("folder", Path(os.environ["RECOSEG_TEST_DATA"]) / name)
    assert (len(dataset), len(dataset.space.classes)) == (photos, classes)
    seen = set()
    for sample in dataset.samples[::10]:
        labels = sample.read_target()
        assert labels.shape == sample.read_image().size[::-1]
        seen |= set(labels.ravel().tolist())
    assert seen <= {*range(classes), 255}
    assert len(seen) > classes // 2
