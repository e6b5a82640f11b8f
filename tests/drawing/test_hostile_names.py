"""Names from files in pages and pictures: they are escaped, and stay on their line."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from recoseg.comparison.comparison import Table
from recoseg.drawing.confusion_plot import confusion_picture
from recoseg.drawing.cosegmentation_figure import cosegmentation_figure
from recoseg.drawing.demo_page import Common, DemoPage, Hero, LearntClass, Share, Timing
from recoseg.drawing.evaluation_sheet import SheetRow, contact_sheet
from recoseg.drawing.fonts import drawable, load_font
from recoseg.drawing.gallery import Gallery, GalleryPhoto, LegendEntry, rows_script
from recoseg.drawing.overlay import draw_overlay
from recoseg.drawing.pages import write_page
from recoseg.drawing.plots import bar_picture, curve_picture
from recoseg.drawing.retrieval_sheet import SheetCell
from recoseg.evaluation.pages import Cell, ClassRow, ShownPhoto
from recoseg.labels import Segmentation
from recoseg.photos.refs import Photo
from tests.pages import read_page

EVIL = "<script>alert('x')</script>\" onload='y' & \n\r\x1b[2K\0\u202e\udcff"
ESCAPED = (
    "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&#34; onload=&#39;y&#39; &amp; "
    "\\n\\r\\x1b[2K\\x00\\u202e\\udcff"
)


URI = "data:image/jpeg;base64,AA"
CELLS = [SheetCell(EVIL, EVIL, EVIL, uri, EVIL) for uri in ("", URI)]


SHOWN = GalleryPhoto(EVIL, ("pictures/a.jpg", "pictures/a.jpg"), (4, 3), ((0, 0.5),), 0.5, EVIL)
GALLERY = Gallery(
    "photos", (EVIL, EVIL), True, [LegendEntry(EVIL, "#aabbcc", 1)], [SHOWN], "confidence"
)


def demo_page():
    """A page of the demo, all of it evil but for the pictures."""
    hero = Hero(EVIL, URI, URI, 4, 3, (Share(EVIL, "#aabbcc", 0.5),))
    common = [Common(URI, EVIL)]
    learnt = LearntClass(EVIL, EVIL, "#aabbcc", EVIL, "weak", (EVIL,), CELLS, common)
    return DemoPage(
        photos=2,
        hero=hero,
        gallery=GALLERY,
        classes=[learnt],
        timings=[Timing(EVIL, 1, EVIL, 1.0)],
        machine=EVIL,
        settings=EVIL,
        commands=[EVIL],
        class_lines=[EVIL],
        failures=[Photo(EVIL, failure=EVIL)],
    )


class Found:
    """A comparison of evil names."""

    headline = EVIL
    tables = (Table(EVIL, EVIL, (EVIL, EVIL), ((EVIL, EVIL),)),)
    agreement = None


SIDE_BY_SIDE = Gallery("photos", (EVIL,), False, GALLERY.legend, [SHOWN])
ROW = ClassRow(EVIL, "#aabbcc", "classes/1.html", *["1.0"] * 4)


@pytest.mark.parametrize(
    ("template", "fields"),
    [
        ("sheet.html.jinja", {"groups": [(EVIL, CELLS), (EVIL, [])]}),
        ("demo.html.jinja", {"page": demo_page()}),
        (
            "masks.html.jinja",
            {"gallery": GALLERY, "settings": [(EVIL, EVIL)], "failures": {EVIL: EVIL}},
        ),
        ("comparison.html.jinja", {"found": Found, "gallery": SIDE_BY_SIDE}),
        (
            "evaluation.html.jinja",
            {
                "headline": [(EVIL, EVIL)],
                "classes": [ROW],
                "columns": [EVIL],
                "matrix": [[Cell(0.5)]],
                "gallery": SIDE_BY_SIDE,
                "settings": [(EVIL, EVIL)],
                "failures": {EVIL: EVIL},
            },
        ),
        (
            "class.html.jinja",
            {
                "row": ROW,
                "layers": [EVIL],
                "taken_for": [(EVIL, "1", "1")],
                "taken": [(EVIL, "1", "1")],
                "best": [ShownPhoto(SHOWN, 0.5)],
                "worst": [],
            },
        ),
    ],
)
def test_pages_escape_all_names(tmp_path, template, fields):
    page = write_page(tmp_path / "p.html", template, title=EVIL, height=9, **fields)
    text = page.read_text(encoding="utf-8")
    assert ESCAPED in text
    tree = read_page(text)
    assert [tag.attrs["src"] for tag in tree.all("script")] in ([], ["report.js"])
    assert not [name for tag in tree.all() for name in tag.attrs if name.startswith("on")]
    assert not re.search("[\0\r\x1b\u202e]", text)
    links = [tag.attrs[key] for tag in tree.all() for key in ("href", "src") if key in tag.attrs]
    assert links
    own = r"#[a-z]+(-\d+)?|pictures/a.jpg|classes/1.html|(index|report)\.\w+"
    assert all(link == URI or re.fullmatch(own, link) for link in links)
    styles = [tag.attrs["style"] for tag in tree.all() if "style" in tag.attrs]
    assert all(
        re.fullmatch(r"--c: #[0-9a-f]{6}|--s: [\d.]+|--r: [\d.]+; --of-one: \d+ / \d+", style)
        for style in styles
    )


def test_rows_hold_names_as_text():
    script = rows_script("photos", [SHOWN]).decode()
    assert script.isascii()
    assert "<" not in script
    name, text = script.split("(")[0], script.split("[\n", 1)[1].rsplit("\n]", 1)[0]
    assert name == "recosegRows"
    row = json.loads(text)
    assert row["name"] == EVIL.translate(
        {10: "\\n", 13: "\\r", 27: "\\x1b", 0: "\\x00", 0x202E: "\\u202e", 0xDCFF: "\\udcff"}
    )
    assert re.fullmatch(r"[\w%./~-]+", row["link"])


def test_pictures_draw_every_name_on_one_line():
    photo = Image.new("RGB", (60, 40))
    labels = np.zeros((40, 60), np.uint8)
    palette = ((9, 9, 9), (200, 9, 9))
    plain = draw_overlay(photo, Segmentation(labels, ("a", "b"), palette))
    evil = draw_overlay(photo, Segmentation(labels, (EVIL, "b"), palette))
    assert evil.size == plain.size
    row = SheetRow(EVIL, 0.5, photo, labels, labels, EVIL)
    same = SheetRow("a", 0.5, photo, labels, labels, "a")
    assert (
        contact_sheet([row], palette, [EVIL, "b"]).size
        == contact_sheet([same], palette, ["a", "b"]).size
    )
    seeds = torch.zeros(1, 1, 2, dtype=torch.int64)
    figures = [
        cosegmentation_figure([photo], torch.rand(1, 4, 4), seeds, name) for name in (EVIL, "a")
    ]
    assert figures[0].height == figures[1].height
    font = load_font(12, EVIL)
    assert "\n" not in drawable(EVIL, font)
    assert "\0" not in drawable(EVIL, font)


def test_plots_draw_every_name():
    pytest.importorskip("matplotlib")
    counts = np.eye(2, 3, dtype=np.int64)
    assert confusion_picture(counts, [EVIL, "b"]).width > 0
    assert bar_picture([EVIL, "$b$"], [1.0, 2.0], "mIoU").width > 0
    assert curve_picture([1, 2], {EVIL: [1.0, 2.0], "b": [2.0, 1.0]}, "k", "mIoU").width > 0
