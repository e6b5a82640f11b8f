"""The page of the demo: its order, its texts, and that it needs nothing but itself."""

import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from recoseg.drawing.demo_page import Common, DemoPage, LearntClass, Timing, write_demo_page
from recoseg.drawing.photo_pair import small_result
from recoseg.drawing.retrieval_sheet import SheetCell
from recoseg.labels import Segmentation
from recoseg.photos.refs import Photo
from tests.pages import read_page

URI = "data:image/jpeg;base64,AA"
NAMES = ("dog", "sky")
PALETTE = ((230, 159, 0), (120, 190, 235))


def segmented(name, share=0.5, size=(80, 60)):
    labels = np.full(size[::-1], 255, np.uint8)
    labels[:, : round(share * size[0])] = 0
    photo = Image.new("RGB", size, (90, 90, 90))
    return small_result(f"/{name}.jpg", name, photo, Segmentation(labels, NAMES, PALETTE), 640)


def learnt(name, weak=False, colour="#e69f00"):
    reasons = ("Only one of its 2 photos fits.",) if weak else ("Both fit.",)
    cells = [SheetCell(f"/{n}.jpg", f"{n}. {name}.jpg", "0.300", URI, "") for n in (1, 2)]
    common = [Common(URI, cell.name) for cell in cells]
    return LearntClass(name, name, colour, "found in 1 photo", weak, reasons, cells, common)


@pytest.fixture
def page():
    return DemoPage(
        photos=30,
        pairs=[segmented(name).pair(640) for name in ("best", "second", "third")],
        empty=[segmented("bare", 0).pair(64)],
        left_out=5,
        classes=[learnt("dog"), learnt("sky", weak=True), learnt("road", colour="")],
        timings=[Timing("Load the models", 0, "", 1.5), Timing("Index", 30, "photos", 2.0)],
        machine="CPU, 2 threads, fp32",
        settings="Threshold 0.4.",
        commands=["recoseg index PHOTOS --out index"],
        class_lines=["dog", "sky"],
        failures=[Photo("/broken.jpg", failure="no photo")],
    )


def read(page, tmp_path):
    return read_page(write_demo_page(tmp_path / "p.html", page).read_text(encoding="utf-8"))


def test_the_page_begins_with_the_best_result(page, tmp_path):
    tree = read(page, tmp_path)
    first, second = tree.all("img")[:2]
    assert tree.within("hero", "img") == [first, second]
    assert first.attrs["alt"] == "best: the photo"
    assert second.attrs["alt"] == "best: its masks, dog 50.0%"
    assert "loading" not in first.attrs
    parts = [tag.attrs["id"] for tag in tree.all("section")]
    assert parts[:4] == ["result", "method", "photos", "classes"]
    assert parts[4:] == ["timings", "own", "next", "failures"]


def test_five_sentences_tell_the_method_beside_a_drawing(page, tmp_path):
    steps = read(page, tmp_path).within("method", "li")
    assert [step.all("h3")[0].text for step in steps] == [
        *("Archive", "Retrieve", "Co-segment", "Concept bank", "Segment"),
    ]
    for step in steps:
        [sentence] = step.all("p")
        assert sentence.text.count(".") == 1
        assert sentence.text.endswith(".")
        assert len(sentence.text.split()) <= 20
        [drawing] = step.all("svg")
        assert drawing.attrs["aria-hidden"] == "true"
        assert len(drawing.all("rect", "circle", "path")) >= 4


def test_each_photo_stands_beside_its_masks_with_the_shares_as_text(page, tmp_path):
    tree = read(page, tmp_path)
    figures = tree.within("justified", "figure")
    for name, figure in zip(("second", "third"), figures, strict=True):
        assert [img.attrs["alt"] for img in figure.all("img")] == [
            f"{name}: the photo",
            f"{name}: its masks, dog 50.0%",
        ]
        assert figure.all("li")[0].text.strip() == "dog 50.0%"
    [bare] = tree.within("nothing", "img")
    assert bare.attrs["alt"] == "bare: no class was found"
    assert "5 more photos" in tree.text


def test_each_class_has_photos_what_they_share_and_a_verdict(page, tmp_path):
    tree = read(page, tmp_path)
    assert [row[:2] for row in tree.rows("classes")[1:]] == [["dog", "good"], ["sky", "weak"]]
    for number, (name, badge) in enumerate([("dog", "good"), ("sky", "weak"), ("road", None)], 1):
        [part] = [tag for tag in tree.all() if tag.attrs.get("id") == f"class-{number}"]
        assert part.all("h3")[0].text == name
        assert [tag.text for tag in part.all("span") if "badge" in tag.attrs.get("class", "")] == (
            [badge] if badge else []
        )
        assert len(part.all("img")) == 4
    assert "Only one of its 2 photos fits." in tree.text
    assert "1 of 2 classes is weak" in tree.text


def test_timings_commands_and_classes_are_told(page, tmp_path):
    tree = read(page, tmp_path)
    assert tree.rows("timings")[1:] == [
        ["Load the models", "1.5", "", ""],
        ["Index", "2.0", "30 photos", "15"],
    ]
    assert "CPU, 2 threads, fp32" in tree.text
    lines = [pre.text for pre in tree.all("pre")]
    assert lines[0] == "dog\nsky\n"
    assert lines[-1] == "recoseg index PHOTOS --out index\n"
    assert "/broken.jpg: no photo" in tree.text


def test_the_page_needs_nothing_but_itself(page, tmp_path):
    path = write_demo_page(tmp_path / "p.html", page)
    text = path.read_text(encoding="utf-8")
    tree = read_page(text)
    assert not tree.all("script", "link", "iframe", "object", "form")
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[^\"]+", "", text))
    assert not [name for tag in tree.all() for name in tag.attrs if name.startswith("on")]
    ids = [tag.attrs["id"] for tag in tree.all() if "id" in tag.attrs]
    assert len(ids) == len(set(ids))
    for tag in tree.all("a"):
        assert tag.attrs["href"].removeprefix("#") in ids
    for tag in tree.all("img"):
        assert tag.attrs["alt"].strip()
        assert tag.attrs["src"].startswith("data:image/jpeg;base64,")
    assert all("loading" in tag.attrs for tag in tree.all("img")[2:])
    assert "prefers-color-scheme: dark" in text


def test_a_run_that_found_nothing_has_a_page_too(page, tmp_path):
    tree = read(replace(page, pairs=[], classes=[], failures=[], left_out=0), tmp_path)
    assert "None of the classes was found in any photo." in tree.text
    assert not tree.within("hero", "img")
    assert len(tree.within("nothing", "img")) == 1


def test_pictures_are_made_small_and_never_enlarged():
    small = segmented("a", size=(80, 60))
    assert (small.pair(640).width, small.pair(640).height) == (80, 60)
    assert (small.pair(40).width, small.pair(40).height) == (40, 30)
    kept = small_result("", "", *_big(), 640)
    assert kept.image.size == (640, 320)
    assert kept.segmentation.labels.shape == (320, 640)
    assert [(item.name, item.colour, item.share) for item in kept.shares] == [
        ("sky", "#78beeb", "75.0%"),
        ("dog", "#e69f00", "25.0%"),
    ]
    assert (kept.segmentation.labels[:, :160] == 0).all()
    assert (kept.segmentation.labels[:, 160:] == 1).all()


def _big():
    labels = np.ones((400, 800), np.uint8)
    labels[:, :200] = 0
    return Image.new("RGB", (800, 400)), Segmentation(labels, NAMES, PALETTE)
