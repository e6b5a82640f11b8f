"""What `recoseg evaluate` takes: masks of others, banks of other words, damaged photos, errors."""

import shutil

import numpy as np
import pytest
from PIL import Image

from recoseg.concepts import ConceptBank
from recoseg.datasets.spaces import class_lines, label_space
from tests.command import run

from .commands import CLASSES, FAST, counts_of, evaluate, learn, masks
from .scenes import scene


def test_masks_as_segment_writes_them(session, evaluated, tmp_path):
    shutil.copytree(session / "data/images/town", tmp_path / "data/images")
    shutil.copytree(session / "data/masks/town", tmp_path / "data/masks")
    shutil.copy(session / "data/classes.txt", tmp_path / "data")
    masks(session, "segmented")
    flat = session / "segmented/labels/town"
    shutil.copy(session / "segmented/classes.txt", flat)
    result = evaluate(
        session,
        *("--predictions", flat, "--root", tmp_path / "data", "--out", tmp_path / "out"),
        bank=False,
    )
    assert result.code == 0, result.err
    ours, theirs = counts_of(session / "out"), counts_of(tmp_path / "out")
    np.testing.assert_array_equal(theirs[0], ours[0])
    assert theirs[1]["settings"]["classes"] == list(CLASSES)


def test_masks_of_nested_folders_are_found_and_missing_ones_are_an_error(session, evaluated):
    masks(session, "nested")
    folder = session / "nested"
    result = evaluate(session, "--predictions", folder, bank=False)
    assert result.code == 0, result.err
    assert result.out == evaluate(session, "--resize", 64, bank=True).out
    for number in (0, 2, 3):
        (folder / f"labels/town/{number}.png").unlink()
    result = evaluate(session, "--predictions", folder, bank=False)
    assert (result.code, result.out) == (1, "")
    assert "3 of 4 photos have no prediction in" in result.err
    assert "town/0, town/2, town/3. Expected a mask with the name of each photo" in result.err
    out = session / "some"
    result = evaluate(session, "--predictions", folder, "--allow-missing", "--out", out, bank=False)
    assert result.code == 0, result.err
    assert result.err.count("Left out") == 1
    assert "Left out: 3 photos, such as town/0: no prediction in" in result.err
    assert "| 1 of 4 |" in result.out
    report = (out / "report.md").read_text(encoding="utf-8")
    assert "|\n\nOf 1 of 4 photos.\n" in report
    (folder / "labels/town/1.png").unlink()
    result = evaluate(session, "--predictions", folder, "--allow-missing", bank=False)
    assert result.code == 1
    assert "4 of 4 photos have no prediction" in result.err


def test_bare_names_under_a_protocol_of_aliases(session, tmp_path):
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (tmp_path / folder).mkdir(parents=True)
    image, _ = scene(0, 64, 96)
    image.save(tmp_path / "JPEGImages/a.jpg")
    Image.new("P", (96, 64), 3).save(tmp_path / "SegmentationClass/a.png")
    (tmp_path / "ImageSets/Segmentation/val.txt").write_text("a\n")
    named = "voc20_community"
    for name, classes, arguments in (
        *(("bare", "voc20", ()), ("rich", "voc20", ("--aliases",)), (named, named, ())),
    ):
        learnt = learn(session, classes, name, *arguments)
        assert learnt.code == 0, learnt.err
        result = run(
            *("evaluate", session / f"{name}.safetensors", "--dataset", "voc20"),
            *("--root", tmp_path, "--protocol", "tcl", "--resize", 64, *FAST),
        )
        assert result.code == 0, result.err
        note = "words of later papers (`recoseg learn INDEX --classes voc20_community`)"
        assert (note in result.err) == (name == "bare")


def test_learning_a_label_space(session):
    plain = learn(session, "voc21", "voc", "--prompts", "none")
    assert plain.code == 0, plain.err
    assert "(classes: 20)" in plain.out, "nothing can be retrieved for background"
    with_aliases = learn(session, "voc21", "voc-aliases", "--aliases", "--prompts", "none")
    assert with_aliases.code == 0, with_aliases.err
    for name, aliases in (("voc", False), ("voc-aliases", True)):
        bank = ConceptBank.load(session / f"{name}.safetensors")
        assert [item.words for item in bank.classes] == class_lines(
            label_space("voc21"), aliases=aliases
        )
    assert bank.classes[0].name == "background"
    assert bank.classes[0].words.prompts == label_space("voc21").background_words


def test_photos_that_cannot_be_read_are_named(session):
    shutil.copytree(session / "data", session / "damaged")
    (session / "damaged/images/town/1.png").write_bytes(b"no photo")
    (session / "damaged/masks/town/3.png").write_bytes(b"no mask")
    result = evaluate(session, "--out", session / "out-damaged", data="damaged")
    assert result.code == 0, result.err
    assert "Left out: town/1: not an image of a known format" in result.err
    assert "Left out: town/3: its mask is not a PNG" in result.err
    report = (session / "out-damaged/report.md").read_text(encoding="utf-8")
    assert "2 of 4 photos" in report
    assert "- town/1: not an image" in report


def test_a_bank_of_other_classes(session):
    shutil.copytree(session / "data", session / "renamed")
    (session / "renamed/classes.txt").write_text("sky\nlawn\nbrick wall\n", encoding="utf-8")
    result = evaluate(session, data="renamed")
    assert result.code == 1
    assert "missing: lawn; not in the label space: grass." in result.err


@pytest.mark.parametrize(
    ("arguments", "bank", "message"),
    [
        ((), False, "Expected a bank (or trained model), or --predictions; got "),
        (
            ("--predictions", "{}/data/masks"),
            True,
            "Expected a bank (or trained model), or --predictions; got ",
        ),
        (("--resume",), True, "--resume needs the folder of the earlier run: --out"),
        (
            ("--protocol", "best"),
            True,
            "Unknown protocol 'best'. Valid: paper, tcl, proxyclip, native.",
        ),
        (("--published-quirks",), True, "Only the protocol 'paper' has published quirks"),
        (("--predictions", "{}/gone"), False, "No folder of predictions at"),
        (
            ("--predictions", "{}/data", "--refine", "pamr", "--threshold", "0.5"),
            False,
            "takes label maps as they are; --threshold, --refine would have no effect",
        ),
        (("--threshold", "nan"), True, "threshold is nan; expected a fused score"),
        (
            ("--predictions", "{}/data"),
            False,
            "4 of 4 photos have no prediction in",
        ),
        (("--allow-missing",), True, "--allow-missing would have no effect without --predictions"),
    ],
)
def test_errors_are_one_message(session, arguments, bank, message):
    given = [str(argument).format(session.root) for argument in arguments]
    result = evaluate(session, *given, bank=bank)
    assert result.code in (1, 2)
    assert message in result.err
    assert "Traceback" not in result.err


def test_a_boundary_below_zero_is_refused(session):
    result = evaluate(session, "--boundary", "-1")
    assert result.code == 2
    assert "--boundary" in result.err
