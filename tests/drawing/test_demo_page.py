"""The page of the demo: its order, its texts, and that it needs nothing from elsewhere."""

import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from recoseg.drawing.demo_page import (
    Common,
    DemoPage,
    Hero,
    LearntClass,
    Share,
    Timing,
    write_demo_page,
)
from recoseg.drawing.gallery import Gallery, GalleryPhoto, LegendEntry
from recoseg.drawing.photo_pair import shares_of, shrunk
from recoseg.drawing.report import Report
from recoseg.drawing.retrieval_sheet import SheetCell
from recoseg.labels import Segmentation
from recoseg.photos.refs import Photo
from tests.pages import read_page

FILE = "pictures/0123456789abcdef0123.jpg"
NAMES = ("dog", "sky")
PALETTE = ((230, 159, 0), (120, 190, 235))


def learnt(name, judgement="good", colour="#e69f00"):
    reasons = ("Both fit.",) if judgement == "good" else ("Only one of its 2 photos fits.",)
    cells = [SheetCell(f"/{n}.jpg", f"{n}. {name}.jpg", "0.300", FILE, "") for n in (1, 2)]
    common = [Common(FILE, cell.name) for cell in cells]
    return LearntClass(name, name, colour, "found in 1 photo", judgement, reasons, cells, common)


@pytest.fixture
def page():
    photos = [
        GalleryPhoto(name, (FILE, FILE), (80, 60), shares)
        for name, shares in (("best", ((0, 0.5),)), ("second", ((0, 0.2),)), ("bare", ()))
    ]
    legend = [LegendEntry("dog", "#e69f00", 2), LegendEntry("sky", "#78beeb", 0)]
    return DemoPage(
        photos=30,
        hero=Hero("best", FILE, FILE, 80, 60, (Share("dog", "#e69f00", 0.5),)),
        gallery=Gallery("photos", ("photo", "masks"), True, legend, photos, "confidence"),
        classes=[
            learnt("dog"),
            learnt("sky", "weak"),
            learnt("bus", "probably absent"),
            learnt("tree", "unknown"),
            learnt("road", "unknown", colour=""),
        ],
        timings=[Timing("Load the models", 0, "", 1.5), Timing("Index", 30, "photos", 2.0)],
        machine="CPU, 2 threads, fp32",
        settings="Threshold 0.4.",
        commands=["recoseg index PHOTOS --out index"],
        class_lines=["dog", "sky", "bus", "tree"],
        failures=[Photo("/broken.jpg", failure="no photo")],
    )


def write(page, tmp_path):
    with Report(tmp_path / "report") as report:
        return write_demo_page(report, page)


def read(page, tmp_path):
    return read_page(write(page, tmp_path).read_text(encoding="utf-8"))


def test_the_page_begins_with_the_best_result(page, tmp_path):
    tree = read(page, tmp_path)
    first, second = tree.all("img")[:2]
    assert tree.within("hero", "img") == [first, second]
    assert first.attrs["alt"] == "best: the photo"
    assert second.attrs["alt"] == "best: its masks"
    assert tree.within("hero", "li")[0].text.strip() == "dog 50.0%"
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


def test_all_photos_are_in_the_gallery_with_a_legend(page, tmp_path):
    tree = read(page, tmp_path)
    [root] = [tag for tag in tree.all("div") if "gallery" in tag.attrs.get("class", "")]
    assert (root.attrs["data-photos"], root.attrs["data-chunks"]) == ("3", "1")
    buttons = [
        (button.text, "disabled" in button.attrs) for button in tree.within("legend", "button")
    ]
    assert buttons == [("dog 2", False), ("sky 0", True), ("none of them 1", False)]


def test_each_class_has_photos_what_they_share_and_a_verdict(page, tmp_path):
    tree = read(page, tmp_path)
    verdicts = [("dog", "good"), ("sky", "weak"), ("bus", "probably absent"), ("tree", "unknown")]
    assert [tuple(row[:2]) for row in tree.rows("classes")[1:]] == verdicts
    for number, (name, badge) in enumerate([*verdicts, ("road", None)], 1):
        [part] = [tag for tag in tree.all() if tag.attrs.get("id") == f"class-{number}"]
        assert part.all("h3")[0].text == name
        assert [tag.text for tag in part.all("span") if "badge" in tag.attrs.get("class", "")] == (
            [badge] if badge else []
        )
        assert len(part.all("img")) == 4
    assert "Only one of its 2 photos fits." in tree.text
    assert "Look twice at the masks of 2 of 4 classes: sky, bus." in tree.text


def test_the_recommended_preset_is_that_of_the_guide(page, tmp_path):
    items = read(page, tmp_path).within("next", "li")
    advice = next(tag.text for tag in items if "larger" in tag.text)
    assert "--preset open takes larger ones for work of any kind" in advice


def test_timings_commands_and_classes_are_told(page, tmp_path):
    tree = read(page, tmp_path)
    assert tree.rows("timings")[1:] == [
        ["Load the models", "1.5", "", ""],
        ["Index", "2.0", "30 photos", "15"],
    ]
    assert "CPU, 2 threads, fp32" in tree.text
    lines = [pre.text for pre in tree.all("pre")]
    assert lines[0] == "dog\nsky\nbus\ntree\n"
    assert lines[-1] == "recoseg index PHOTOS --out index\n"
    assert "/broken.jpg: no photo" in tree.text


def test_the_page_needs_nothing_from_elsewhere(page, tmp_path):
    text = write(page, tmp_path).read_text(encoding="utf-8")
    tree = read_page(text)
    assert not tree.all("link", "iframe", "object", "form")
    assert [tag.attrs["src"] for tag in tree.all("script")] == ["report.js"]
    assert (tmp_path / "report/report.js").is_file()
    assert not re.search(r"https?:|//[a-z]|@import|url\(|base64", text)
    assert not [name for tag in tree.all() for name in tag.attrs if name.startswith("on")]
    ids = [tag.attrs["id"] for tag in tree.all() if "id" in tag.attrs]
    assert len(ids) == len(set(ids))
    for tag in tree.all("a"):
        assert tag.attrs.get("href", "#result").removeprefix("#") in ids
    images = [tag for tag in tree.all("img") if tag not in tree.within("panels", "img")]
    for tag in images:
        assert tag.attrs["alt"].strip()
        assert tag.attrs["src"] == FILE
    assert all("loading" in tag.attrs for tag in images[2:])
    assert "prefers-color-scheme: dark" in text


def test_a_run_that_found_nothing_has_a_page_too(page, tmp_path):
    nothing = replace(page.gallery, photos=[])
    tree = read(replace(page, hero=None, gallery=nothing, classes=[], failures=[]), tmp_path)
    assert "None of the classes was found in any photo." in tree.text
    assert not tree.within("hero", "img")
    assert not tree.within("gallery")


def test_pictures_are_made_small_and_never_enlarged():
    labels = np.ones((400, 800), np.uint8)
    labels[:, :200] = 0
    photo, found = Image.new("RGB", (800, 400)), Segmentation(labels, NAMES, PALETTE)
    assert shares_of(found) == ((1, 0.75), (0, 0.25))
    small, kept = shrunk(photo, found, 640)
    assert small.size == (640, 320)
    assert kept.labels.shape == (320, 640)
    assert (kept.labels[:, :160] == 0).all()
    assert (kept.labels[:, 160:] == 1).all()
    assert shrunk(photo, found, 2000)[0].size == (800, 400)
