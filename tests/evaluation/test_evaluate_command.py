"""What `recoseg evaluate` writes, from an index to a report, with `lite` on a generated folder."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from recoseg.concepts import ConceptBank
from recoseg.device import resolve_compute
from recoseg.refinement.refiner import RefineSettings
from recoseg.regions.providers import provider_of
from recoseg.segmentation.bank_segmenter import bank_segmenter
from recoseg.segmentation.voting import Voting
from tests.pages import read_page

from .commands import CLASSES, SIZES, counts_of, evaluate, masks
from .scenes import count_slowly, scene

RESULTS = ["confusion.png", "evaluation.json", "photos.jsonl", "report.md", "settings.json"]


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
    assert "made with other settings (segment.background_threshold)" in refused.err
    assert (out / "photos.jsonl").read_bytes() == lines


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
