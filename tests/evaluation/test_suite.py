"""`recoseg evaluate --dataset community`: all data sets that are there, in one table."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from recoseg.concepts import ConceptBank
from recoseg.datasets.spaces import class_lines, label_space
from recoseg.evaluation.evaluation import Evaluation, ImageScore
from recoseg.evaluation.suite import FOLDERS, mean_miou, place_of, suite_json, suite_markdown
from tests.command import Session, run
from tests.datasets.trees import write_ade, write_cityscapes, write_coco, write_pascal

FAST = ("--device", "cpu", "--precision", "fp32")


def evaluation(counts, failed=0):
    """An evaluation of two classes on three photos."""
    images = [ImageScore(str(n), error="gone" if n < failed else None) for n in range(3)]
    colours = ((0, 0, 0), (1, 1, 1))
    counts = np.array(counts)
    return Evaluation("x", "d", "val", ("a", "b"), colours, counts, None, {}, tuple(images), 0)


def test_the_mean_is_of_those_that_are_there():
    found = {
        "voc20": evaluation([[3, 1, 0], [1, 3, 0]]),  # IoU 3 / 5 each
        "ade150": evaluation([[4, 0, 0], [0, 0, 4]], failed=1),  # IoU 1 and 0
        "voc21": evaluation([[0, 0, 0], [0, 0, 0]]),
    }
    table = suite_markdown(found, {"context59": "no\nfolder *x*"}, {})
    cells = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]]
        for line in table.splitlines()
        if line.startswith("|")
    }
    assert list(cells)[2:] == [*FOLDERS, "mean of 2 of 8"]
    assert cells["voc20"] == ["3", "60.0", "75.0", "75.0"]
    assert cells["ade150"] == ["2 of 3", "50.0", "50.0", "50.0"]
    assert cells["voc21"] == ["3", "-", "-", "-"]
    assert cells["context59"] == cells["cityscapes19"] == ["-", "-", "-", "-"]
    assert cells["mean of 2 of 8"] == ["", "55.0", "", ""]
    assert table.endswith("Left out:\n\n- context59: no folder \\*x\\*\n")
    assert mean_miou(found) == pytest.approx(0.55)
    fields = suite_json(found, {}, {"voc20": "full"})
    assert fields["data_sets"]["ade150"]["failed"] == 1
    assert fields["data_sets"]["voc21"]["scores"] is None
    assert (fields["left_out"], fields["failed"]) == ({}, {"voc20": "full"})
    assert suite_markdown({}, {}, {"voc20": "a | b"}).endswith("Failed:\n\n- voc20: a \\| b\n")
    assert mean_miou({}) is None
    assert "mean of 0 of 8" in suite_markdown({}, {}, {})


def test_places(tmp_path):
    assert place_of("voc21", tmp_path) == tmp_path
    (tmp_path / "voc").mkdir()
    assert place_of("voc21", tmp_path) == tmp_path / "voc"
    (tmp_path / "voc21").mkdir()
    assert place_of("voc21", tmp_path) == tmp_path / "voc21"
    assert place_of("voc20", tmp_path) == tmp_path / "voc"


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """VOC and Cityscapes below one root, an index of a few photos, and a bank for Cityscapes."""
    root = tmp_path_factory.mktemp("suite")
    write_pascal(root / "data/voc", [0, 15, 1], "SegmentationClass", "Segmentation")
    write_cityscapes(root / "data/cityscapes", [7, 8, 26])
    (root / "photos").mkdir()
    random = np.random.default_rng(0)
    for number in range(4):
        pixels = random.integers(0, 256, (48, 64, 3), np.uint8)
        Image.fromarray(pixels).save(root / f"photos/{number}.png")
    indexed = run("index", root / "photos", "--out", root / "index", *FAST)
    assert indexed.code == 0, indexed.err
    learnt = run(
        *("learn", root / "index", "--classes", "cityscapes19_community", "-k", 2, *FAST),
        *("--image-size", 64, "--out", root / "banks/cityscapes19.safetensors"),
        *("--context", "none", "--prompts", "none"),
    )
    assert learnt.code == 0, learnt.err
    return Session(root)


def suite(session, *arguments, root="data", banks="banks"):
    return run(
        *("evaluate", session / banks, "--dataset", "community", "--root", session / root),
        *("--resize", 64, *FAST, *arguments),
    )


def test_what_is_missing_is_said(session):
    result = suite(session)
    assert result.code == 0, result.err
    assert "mean of 1 of 8" in result.out
    missing = [line for line in result.err.splitlines() if line.startswith("Left out: ")]
    assert [line.split(": ")[1] for line in missing] == [
        name for name in FOLDERS if name != "cityscapes19"
    ]
    assert "Left out: ade150: ADE20K: no folder images/validation." in missing
    assert "annotations/validation/<id>.png" in result.err
    assert "--classes voc21_community --out" in result.err
    nothing = suite(session, root="photos")
    assert nothing.code == 1
    assert "None of the 8 data sets could be scored." in nothing.err
    assert "gtFine/val/<city>/*_gtFine_labelIds.png" in nothing.err


def test_a_data_set_that_fails_does_not_end_the_run(session, tmp_path):
    """Damage to a bank and to photos is told at the end, and mended data sets are scored then."""
    banks = tmp_path / "banks"
    shutil.copytree(session / "banks", banks)
    (banks / "voc20.safetensors").write_bytes(b"no bank")
    shutil.copy(banks / "cityscapes19.safetensors", banks / "voc21.safetensors")
    out = tmp_path / "out"
    result = suite(session, "--out", out, banks=banks)
    assert result.code == 1
    assert "mean of 1 of 8" in result.out
    assert "Failed: voc20: " in result.err
    *_, last = result.err.splitlines()
    assert "2 of the data sets failed: voc21, voc20." in last
    fields = json.loads((out / "suite.json").read_text())
    assert list(fields["data_sets"]) == ["cityscapes19"]
    assert list(fields["failed"]) == ["voc21", "voc20"]
    for name in ("voc21", "voc20"):
        (banks / f"{name}.safetensors").unlink()
    again = suite(session, "--out", out, "--resume", banks=banks)
    assert again.code == 0, again.err
    assert json.loads((out / "suite.json").read_text())["failed"] == {}


def test_a_data_set_without_a_photo_that_can_be_read_fails(session, tmp_path):
    shutil.copytree(session / "data/cityscapes", tmp_path / "cityscapes")
    for photo in tmp_path.rglob("*_leftImg8bit.png"):
        photo.write_bytes(b"cut")
    result = suite(session, root=tmp_path)
    assert result.code == 1
    assert "\ncityscapes19: None of 2 photos could be evaluated." in result.err


@pytest.mark.slow
def test_banks_are_learnt_and_a_run_goes_on(session):
    out = session / "out"
    shutil.copytree(session / "banks", session / "learnt")
    first = suite(session, "--out", out)
    assert first.code == 0, first.err
    alone = (out / "cityscapes19/evaluation.json").read_text()
    refused = suite(session, "--out", out)
    assert refused.code == 1
    assert "holds the suite of evaluations of an earlier run" in refused.err
    shutil.rmtree(out / "cityscapes19")
    goes_on = ("--out", out, "--index", session / "index", "--resume")
    again = suite(session, *goes_on, banks="learnt")
    assert again.code == 0, again.err
    assert "mean of 3 of 8" in again.out
    assert f"Table: {out / 'suite.md'}" in again.out
    bank = ConceptBank.load(session / "learnt/voc21.safetensors")
    assert [item.words for item in bank.classes] == class_lines(label_space("voc21_community"))
    assert "words of later papers" not in again.err
    fields = json.loads((out / "suite.json").read_text())
    assert list(fields["data_sets"]) == ["voc21", "voc20", "cityscapes19"]
    mious = [one["scores"]["miou"] for one in fields["data_sets"].values()]
    assert fields["mean_miou"] == pytest.approx(sum(mious) / 3)
    protocols = {one["settings"]["protocol"]["name"] for one in fields["data_sets"].values()}
    assert protocols == {"tcl"}
    before = json.loads(alone)
    after = json.loads((out / "cityscapes19/evaluation.json").read_text())
    assert {**before, "seconds": 0} == {**after, "seconds": 0}
    other = suite(session, "--out", out, "--resume", "--protocol", "native")
    assert "made with other settings (protocol)" in other.err


def test_banks_are_learnt_by_the_recipe(session):
    write_cityscapes(session / "city/cityscapes", [7])
    given = ("--index", session / "index", "--recipe", "paper")
    result = suite(session, *given, root="city", banks="by-recipe")
    assert result.code == 0, result.err
    bank = ConceptBank.load(session / "by-recipe/cityscapes19.safetensors")
    assert bank.settings.recipe == "paper"
    assert [info.name for info in bank.encoders.phi] == ["lite"]


def test_a_threshold_is_for_background(session):
    """Cityscapes has none, so all its pixels keep a class."""
    result = suite(session, "--out", session / "threshold", "--threshold", 1e3)
    assert result.code == 0, result.err
    fields = json.loads((session / "threshold/suite.json").read_text())
    [one] = fields["data_sets"].values()
    assert one["settings"]["segment"]["background_threshold"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--split", "train"), "--split would have no effect for the data set community"),
        (("--ids", "x", "--published-quirks"), "--ids, --published-quirks would have no effect"),
        (("--resume",), "--resume needs the folder of the earlier run: --out"),
    ],
)
def test_options_that_do_not_fit(session, arguments, message):
    result = suite(session, *arguments)
    assert result.code == 2
    assert message in result.err


def test_a_single_bank_is_no_folder_of_banks(session, tmp_path):
    (tmp_path / "bank.safetensors").write_bytes(b"")
    result = run(
        "evaluate", tmp_path / "bank.safetensors", "--dataset", "community", "--root", tmp_path
    )
    assert result.code == 1
    assert "bank.safetensors is a single file. Expected a folder with a bank" in result.err


def test_an_index_for_one_data_set_and_no_folder_of_banks(tmp_path):
    given = ("--root", tmp_path, "--index", tmp_path)
    result = run("evaluate", tmp_path, "--dataset", "voc20", *given)
    assert "--index would have no effect without the data set community" in result.err
    result = run("evaluate", "--dataset", "community", *given)
    assert "Expected the folder of the banks and, by --root" in result.err


def test_all_data_sets_are_found(tmp_path):
    """With every data set there, only their banks are missing."""
    write_pascal(tmp_path / "voc/VOC2012", [0, 15], "SegmentationClass", "Segmentation")
    write_pascal(tmp_path / "context", [0, 15], "SegmentationClassContext", "SegmentationContext")
    write_coco(tmp_path / "coco", [0, 255])
    write_cityscapes(tmp_path / "cityscapes", [7])
    write_ade(tmp_path / "ade20k/ADEChallengeData2016", [1])
    result = run("evaluate", tmp_path / "banks", "--dataset", "community", "--root", tmp_path)
    assert result.code == 1
    assert result.err.count("No bank was found at ") == len(FOLDERS)
