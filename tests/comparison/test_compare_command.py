"""`recoseg compare` on masks, labelled photos, evaluations, banks and recipes."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import recoseg
from recoseg.labels import Segmentation
from recoseg.photos.sources import list_sources
from recoseg.writers.folder import OutputFolder
from tests.command import Session, run
from tests.evaluation.scenes import scene
from tests.pages import read_page
from tests.segmentation.fakes import make_bank

CLASSES = ("sky", "grass", "wall")
PALETTE = ((0, 0, 250), (0, 250, 0), (250, 0, 0))
SIZES = [(64, 96), (96, 64), (64, 96), (80, 112)]


def labels_of(number, size, wrong):
    """The truth, with a part of it wrong, and the first class as the second in photo 3."""
    found = np.where(scene(number, *size)[1] == 255, 0, scene(number, *size)[1]).astype(np.uint8)
    found[: round(wrong * size[0])] = 2
    return found


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Labelled photos; two runs of which the second is better, and one in plain files."""
    root = tmp_path_factory.mktemp("compare")
    for folder in ("data/images/town", "data/masks/town", "plain/town"):
        (root / folder).mkdir(parents=True)
    for number, size in enumerate(SIZES):
        image, target = scene(number, *size)
        image.save(root / f"data/images/town/{number}.png")
        Image.fromarray(target).save(root / f"data/masks/town/{number}.png")
        Image.fromarray(labels_of(number, size, 0.5)).save(root / f"plain/town/{number}.png")
    for folder in ("data", "plain"):
        (root / folder / "classes.txt").write_text("\n".join(CLASSES), encoding="utf-8")
    for name, wrong in (("half", 0.5), ("most", 0.1)):
        write(root, name, wrong)
    return Session(root)


def write(root, name, wrong):
    [source] = list_sources([str(root / "data/images")])
    photos = list(source.photos)
    with OutputFolder(
        root / name, CLASSES, PALETTE, writers=["labels"], settings={"wrong": wrong}
    ) as folder:
        for number, (photo, size) in enumerate(zip(photos, SIZES, strict=True)):
            found = Segmentation(labels_of(number, size, wrong), CLASSES, PALETTE)
            folder.write(f"town/{number}", photo, Image.new("RGB", size[::-1]), found)


def compare(session, *arguments):
    """Names of what is in the session stand for their paths."""
    there = {path.name for path in session.root.iterdir()}
    return run("compare", *(session / name if name in there else name for name in arguments))


def rows(page, name):
    text = (page.parent / f"rows/{name}-0.js").read_text(encoding="utf-8")
    return json.loads(text[text.index("[") : text.rindex("]") + 1])


def test_masks_without_labels_are_compared_with_each_other(session, tmp_path):
    done = compare(session, "half", "most", "--report", tmp_path / "page", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["names"] == ["half", "most"]
    assert found["settings"] == [{"name": "wrong", "one": "0.5", "other": "0.1"}]
    pixels = agreeing = 0
    shares = {}
    for number, size in enumerate(SIZES):
        same = labels_of(number, size, 0.5) == labels_of(number, size, 0.1)
        pixels, agreeing = pixels + same.size, agreeing + same.sum()
        shares[f"town/{number}"] = same.mean()
    assert found["agreement"]["share"] == pytest.approx(agreeing / pixels)
    order = sorted(shares, key=lambda name: (shares[name], name))
    assert [photo["name"] for photo in found["agreement"]["photos"]] == order
    page = tmp_path / "page/index.html"
    assert found["page"] == str(page)
    shown = rows(page, "photos")
    assert [row["name"] for row in shown] == order
    assert [row["score"] for row in shown] == pytest.approx([shares[n] for n in order], abs=1e-4)
    number = int(order[0][-1])
    photo = np.asarray(Image.open(page.parent / shown[0]["pictures"][0])).astype(int)
    assert np.abs(photo - np.asarray(scene(number, *SIZES[number])[0])).mean() < 20
    tree = read_page(page.read_text(encoding="utf-8"))
    assert "The two agree on" in tree.text
    assert tree.rows("table-4")[1:] == [["wrong", "0.5", "0.1"]]


def test_plain_masks_need_no_photos(session):
    done = compare(session, "half", "plain")
    assert done.code == 0, done.err
    assert done.out.startswith("The two agree on 100.0 % of the pixels of 4 photos.")
    assert "Classes" in done.out


def test_masks_are_scored_on_labelled_photos(session, tmp_path):
    data = ("--dataset", "folder", "--root", session / "data")
    done = compare(
        session, "half", "most", *data, "--report", tmp_path / "page", "--resamples", 200
    )
    assert done.code == 0, done.err
    scores = [
        recoseg.evaluate(None, "folder", root=session / "data", predictions=session / name)
        for name in ("half", "most")
    ]
    one, other = (report.evaluation.scores.miou for report in scores)
    assert f"mIoU {100 * one:.1f} % and {100 * other:.1f} %" in done.out
    assert "most is better, beyond what the choice of photos explains" in done.out
    page = tmp_path / "page/index.html"
    shown = rows(page, "photos")
    assert len(shown) == 4
    assert all(len(row["pictures"]) == 4 for row in shown)
    changes = [row["score"] for row in shown]
    assert changes == sorted(changes, reverse=True)
    titles = read_page(page.read_text(encoding="utf-8")).within("panel", "span")
    assert [tag.text for tag in titles] == ["photo", "truth", "half", "most"]
    again = compare(session, "half", "most", *data, "--report", tmp_path / "page")
    assert again.code == 1
    assert "holds a report already" in again.err


def test_evaluations_give_the_same_scores_as_their_masks(session):
    folders = []
    for name in ("half", "most"):
        folders.append(session / f"evaluated-{name}")
        recoseg.evaluate(
            None, "folder", root=session / "data", predictions=session / name, out=folders[-1]
        )
    stored = recoseg.compare(*folders, resamples=50)
    masks = recoseg.compare(
        session / "half", session / "most", dataset="folder", root=session / "data", resamples=50
    )
    assert stored.scores == masks.scores
    assert [change.name for change in stored.settings] == ["predictions"]
    (session / "few.txt").write_text("town/1\ntown/2\n", encoding="utf-8")
    recoseg.evaluate(
        None,
        "folder",
        root=session / "data",
        predictions=session / "half",
        ids=session / "few.txt",
        out=session / "evaluated-few",
    )
    refused = compare(session, "evaluated-half", "evaluated-few")
    assert refused.code == 1
    assert "evaluations on different photos or classes" in refused.err


def test_banks(session, tmp_path):
    make_bank(("red", "green")).save(session / "old.safetensors")
    make_bank(("red", "blue"), short_side=64).save(session / "new.safetensors")
    done = compare(session, "old.safetensors", "new.safetensors", "--report", tmp_path / "page")
    assert done.code == 0, done.err
    assert done.out.startswith(
        "1 class was added, 1 class was removed, and 0 of 2 shared classes differ; "
        "1 setting differs."
    )
    tree = read_page((tmp_path / "page/index.html").read_text(encoding="utf-8"))
    assert tree.rows("table-1") == [
        ["class", "old", "new"],
        ["blue", "", "yes"],
        ["green", "yes", ""],
    ]
    assert tree.rows("table-2")[1:] == [
        ["sky (context)", "unknown", "1.000", "0 of 0 and 0"],
        ["red", "unknown", "1.000", "0 of 0 and 0"],
    ]
    assert tree.rows("table-3")[1:] == [["segment.short_side", "0", "64"]]
    assert not tree.within("gallery")


def test_recipes(session):
    done = compare(session, "paper", "regions", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["settings"] == [
        {"name": "learn.regions", "one": "", "other": "clusters"},
        {"name": "segment.regions", "one": "", "other": "superpixels"},
    ]
    assert "Compare two banks to see those, too." in compare(session, "paper", "regions").out


def test_equal_masks_have_no_empty_tables(session):
    done = compare(session, "half", "half")
    assert "100.0 % of the pixels" in done.out
    assert "What changed most" not in done.out


def test_damaged_masks_are_left_out_and_the_others_compared(session):
    shutil.copytree(session / "plain", session / "damaged")
    (session / "damaged/town/0.png").write_bytes(b"no mask")
    Image.new("L", (5, 6)).save(session / "damaged/town/1.png")
    done = compare(session, "half", "damaged")
    assert done.code == 0, done.err
    assert "of the pixels of 2 photos" in done.out
    assert "Left out: town/0: " in done.err
    assert "Left out: town/1: its masks differ in size: 64 x 96 and 5 x 6 pixels" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("paper", "regionz"), 1, "Did you mean 'regions'?"),
        (("half", "most", "--dataset", "folder"), 2, "Name it by --root FOLDER"),
        (("half", "gone"), 1, "Nothing was found at gone. Expected two concept banks"),
        (("half", "paper"), 1, "paper is a recipe. Expected two concept banks"),
        (("half", "half", "--root", "."), 2, "would have no effect without --dataset"),
        (("paper", "regions", "--dataset", "folder"), 2, "would have no effect without masks"),
        (("half", "half", "--resamples", "0"), 2, "resamples is 0; expected 1 or more"),
        (("half", "other"), 1, "have no photo in common; the first are town/0 and a"),
    ],
)
def test_what_cannot_be_compared_is_refused(session, arguments, code, message):
    (session / "other").mkdir(exist_ok=True)
    Image.new("L", (5, 6)).save(session / "other/a.png")
    (session / "other/classes.txt").write_text("sky\n", encoding="utf-8")
    done = compare(session, *arguments)
    assert (done.code, done.out) == (code, "")
    assert message in done.err
