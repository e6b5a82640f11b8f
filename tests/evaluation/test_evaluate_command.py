"""`recoseg evaluate` from an index to a report, with `lite` on a generated folder."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from recoseg.concepts import ConceptBank
from recoseg.datasets.spaces import class_lines, label_space
from recoseg.device import resolve_compute
from recoseg.refinement.refiner import RefineSettings
from recoseg.regions.providers import provider_of
from recoseg.segmentation.bank_segmenter import bank_segmenter
from recoseg.segmentation.voting import Voting
from tests.command import Session, run
from tests.pages import read_page

from .scenes import count_slowly, scene

CLASSES = ("sky", "grass", "brick wall")
SIZES = [(64, 96), (96, 64), (64, 96), (80, 112)]
RESULTS = ["confusion.png", "evaluation.json", "photos.jsonl", "report.md", "settings.json"]
FAST = ("--device", "cpu", "--precision", "fp32")


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A labelled folder, an index of its photos, and a bank of its classes."""
    pytest.importorskip("matplotlib")
    root = tmp_path_factory.mktemp("evaluate")
    for folder in ("images/town", "masks/town"):
        (root / "data" / folder).mkdir(parents=True)
    for number, size in enumerate(SIZES):
        image, target = scene(number, *size)
        image.save(root / "data/images/town" / f"{number}.png")
        Image.fromarray(target).save(root / "data/masks/town" / f"{number}.png")
    (root / "data/classes.txt").write_text("\n".join(CLASSES), encoding="utf-8")
    indexed = run("index", root / "data/images", "--out", root / "index", *FAST)
    assert indexed.code == 0, indexed.err
    learnt = learn(root, root / "data/classes.txt", "bank")
    assert learnt.code == 0, learnt.err
    return Session(root)


def learn(root, classes, bank, *arguments):
    return run(
        *("learn", root / "index", "--classes", classes, "--out", root / f"{bank}.safetensors"),
        *("-k", 2, "--context", "none", "--image-size", 64, *FAST, *arguments),
    )


def evaluate(session, *arguments, data="data", bank=True):
    banks = [session / "bank.safetensors", "--resize", 64] if bank else []
    return run(
        *("evaluate", *banks, "--dataset", "folder", "--root", session / data),
        *(*FAST, *arguments),
    )


def masks(session, out, *arguments):
    """The label maps that `recoseg segment` writes, by the names of the photos."""
    done = run(
        *("segment", session / "bank.safetensors", session / "data/images", "--out", session / out),
        *("--no-overlays", "--resize", 64, *FAST, *arguments),
    )
    assert done.code == 0, done.err
    return [np.asarray(Image.open(session / out / "labels/town" / f"{n}.png")) for n in range(4)]


@pytest.fixture(scope="module")
def written(session):
    """The label maps of the bank, in a folder as `--predictions` takes it."""
    labels = masks(session, "masks")
    shutil.copytree(session / "masks/labels", session / "predictions")
    return labels


@pytest.fixture(scope="module")
def evaluated(session):
    return evaluate(session, "--out", session / "out", "--boundary", 2)


def counts_of(folder):
    fields = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    return np.array(fields["counts"]), fields


def test_the_files_hold_the_numbers(session, evaluated, written):
    assert evaluated.code == 0, evaluated.err
    out = session / "out"
    assert sorted(path.name for path in out.iterdir()) == [".lock", *RESULTS, "sheet.jpg"]
    expected = sum(
        count_slowly(labels, scene(number, *size)[1], 3)
        for number, (labels, size) in enumerate(zip(written, SIZES, strict=True))
    )
    counts, fields = counts_of(out)
    np.testing.assert_array_equal(counts, expected)
    assert fields["scores"]["accuracy"] == np.trace(expected) / expected.sum()
    assert fields["names"] == list(CLASSES)
    assert [image["name"] for image in fields["images"]] == [f"town/{n}" for n in range(4)]
    settings = fields["settings"]
    bank = ConceptBank.load(session / "bank.safetensors")
    assert settings["bank"]["fingerprint"] == bank.fingerprint
    assert (settings["protocol"]["name"], settings["segment"]["resize"]) == ("native", 64)
    kept = json.loads((out / "settings.json").read_text(encoding="utf-8"))
    assert kept.pop("format") == "recoseg-evaluation-1"
    assert len(kept.pop("run")) == 16
    assert len(kept.pop("checksum")) == 32
    assert settings == kept
    report = (out / "report.md").read_text(encoding="utf-8")
    assert report.startswith("# bank on data, all\n")
    assert f"{100 * fields['scores']['miou']:.1f}" in evaluated.out
    assert f"{100 * fields['boundary_scores']['mean_f']:.1f} |" in report
    assert evaluated.out.split("\n")[2] in report
    assert f"Report: {out / 'report.md'}" in evaluated.out


def test_the_pictures(session, evaluated):
    with Image.open(session / "out/confusion.png") as picture:
        assert picture.format == "PNG"
        assert np.asarray(picture.convert("RGB")).std() > 5
    with Image.open(session / "out/sheet.jpg") as sheet:
        assert sheet.format == "JPEG"
        pixels = np.asarray(sheet)
    photo = scene(0, *SIZES[0])[0]
    # The colours of the first photo are somewhere on the sheet.
    colour = np.asarray(photo)[4, 4].astype(int)
    assert (np.abs(pixels.astype(int) - colour).max(-1) < 12).sum() > 50


def test_the_pages(session, evaluated, written, tmp_path):
    data = ("--predictions", session / "predictions", "--report", tmp_path / "pages")
    done = evaluate(session, *data, bank=False)
    assert done.code == 0, done.err
    index = tmp_path / "pages/index.html"
    assert f"Pages: {index}" in done.out
    counts, fields = counts_of(session / "out")
    page = read_page(index.read_text(encoding="utf-8"))
    measures = dict(
        zip(*[[tag.text for tag in page.all(name)] for name in ("dt", "dd")], strict=True)
    )
    assert measures["mIoU"] == f"{100 * fields['scores']['miou']:.1f}"
    assert measures["photos"] == "4"
    table = {row[0]: row[1:] for row in page.rows("classes")}
    for entry in fields["scores"]["classes"]:
        assert table[entry["name"]][0] == f"{100 * entry['iou']:.1f}"
    matrix = page.rows("confusion")
    shares = counts / counts.sum(1, keepdims=True)
    assert matrix[0] == ["true", *CLASSES, *(["(no prediction)"] if counts[:, -1].any() else [])]
    for row, name, expected in zip(matrix[1:], CLASSES, shares, strict=True):
        assert row[0] == name
        cells = [float(cell or 0) for cell in row[1:]]
        assert cells == pytest.approx(100 * expected[: len(cells)], abs=0.51)
    for label, name in enumerate(CLASSES, 1):
        tree = read_page((index.parent / f"classes/{label}.html").read_text(encoding="utf-8"))
        assert tree.all("h1")[0].text == name
        shown = [tag.text for tag in tree.all("figcaption")]
        assert len(shown) == 4  # each photo once, best or worst
        sources = [tag.attrs["src"] for tag in tree.all("img")]
        assert len(sources) == 12
        assert all((index.parent / "classes" / source).is_file() for source in sources)
        [rows] = [tree.rows("confused")] if counts[label - 1, label - 1] else [[]]
        assert all(len(row) == 3 for row in rows)
    refused = evaluate(session, *data, bank=False)
    assert refused.code == 1
    assert "holds a report already" in refused.err
    assert evaluate(session, *data, "--overwrite", bank=False).code == 0


def test_written_predictions_give_the_same_scores(session, evaluated, written):
    out = session / "out-predictions"
    folder = session / "predictions"
    result = evaluate(session, "--predictions", folder, "--out", out, "--boundary", 2, bank=False)
    assert result.code == 0, result.err
    ours, theirs = counts_of(session / "out"), counts_of(out)
    np.testing.assert_array_equal(theirs[0], ours[0])
    for key in ("scores", "boundary_scores", "images", "names", "palette"):
        assert theirs[1][key] == ours[1][key]
    assert theirs[1]["name"] == "predictions"


def test_protocols_change_what_is_scored(session):
    out = session / "out-paper"
    arguments = ("--protocol", "paper", "--published-quirks", "--resize", 64, "--out", out)
    result = evaluate(session, *arguments)
    assert result.code == 0, result.err
    counts, fields = counts_of(out)
    sizes = [scene(n, *size)[1] for n, size in enumerate(SIZES)]
    assert len(sizes) * 320 * 320 > counts.sum() > len(sizes) * 320 * 300
    assert fields["settings"]["protocol"]["nearest"] is True


def test_resuming(session, evaluated):
    out = session / "resumed"
    shutil.copytree(session / "out", out)
    lines = (out / "photos.jsonl").read_bytes()
    first, second, _ = lines.split(b"\n", 2)
    (out / "photos.jsonl").write_bytes(first + b"\n" + second[:40])
    result = evaluate(session, "--out", out, "--boundary", 2, "--resume")
    assert result.code == 0, result.err
    assert "Evaluating: 3 images" in result.err
    assert (out / "photos.jsonl").read_bytes() == lines
    ours, theirs = (counts_of(folder)[1] for folder in (session / "out", out))
    assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}
    refused = evaluate(session, "--out", out, "--boundary", 2, "--resume", "--threshold", 0.3)
    assert refused.code == 1
    assert "made with other settings (segment)" in refused.err
    assert (out / "photos.jsonl").read_bytes() == lines


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


@pytest.mark.parametrize(
    ("arguments", "bank", "message"),
    [
        ((), False, "Expected either a bank (or trained model) or --predictions"),
        (
            ("--predictions", "{}/data/masks"),
            True,
            "Expected either a bank (or trained model) or --predictions",
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


def test_a_bank_of_other_classes(session):
    shutil.copytree(session / "data", session / "renamed")
    (session / "renamed/classes.txt").write_text("sky\nlawn\nbrick wall\n", encoding="utf-8")
    result = evaluate(session, data="renamed")
    assert result.code == 1
    assert "missing: lawn; not in the label space: grass." in result.err


def test_a_boundary_below_zero_is_refused(session):
    result = evaluate(session, "--boundary", "-1")
    assert result.code == 2
    assert "--boundary" in result.err


def test_segment_with_refinement(session, written):
    refined = masks(session, "refined", "--refine", "pamr", "--temperature", 0.05)
    loaded = ConceptBank.load(session / "bank.safetensors")
    settings = json.loads((session / "refined/settings.json").read_text(encoding="utf-8"))
    assert settings["refine"]["form"] == "pamr"
    assert settings["refine"]["temperature"] == 0.05
    plain = json.loads((session / "masks/settings.json").read_text(encoding="utf-8"))
    assert plain["refine"]["form"] == "none"
    assert plain["refine"]["temperature"] == loaded.settings.segment.refine_temperature
    assert loaded.settings.segment.regions == plain["regions"].partition("(")[0] == "superpixels"
    made = bank_segmenter(
        loaded,
        resize=64,
        refine=RefineSettings("pamr", 0.05),
        voting=Voting(provider_of("superpixels"), "mean"),
        compute=resolve_compute("cpu", "fp32"),
    )
    for number, labels in enumerate(refined):
        image = Image.open(session / f"data/images/town/{number}.png")
        assert (labels == made(image).labels).mean() > 0.999
    assert any((one != other).any() for one, other in zip(refined, written, strict=True))


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
