"""Names from files in pages and pictures: they are escaped, and stay on their line."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from recoseg.drawing.confusion_plot import confusion_picture
from recoseg.drawing.cosegmentation_figure import cosegmentation_figure
from recoseg.drawing.demo_page import Common, DemoPage, LearntClass, Timing
from recoseg.drawing.evaluation_sheet import SheetRow, contact_sheet
from recoseg.drawing.fonts import drawable, load_font
from recoseg.drawing.overlay import draw_overlay
from recoseg.drawing.pages import write_page
from recoseg.drawing.photo_pair import Pair, Share
from recoseg.drawing.plots import bar_picture, curve_picture
from recoseg.drawing.retrieval_sheet import SheetCell
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


def demo_page():
    """A page of the demo, all of it evil but for the pictures."""
    shares = (Share(EVIL, "#aabbcc", EVIL),)
    pairs = [Pair(EVIL, EVIL, URI, URI, 4, 3, shares) for _ in range(2)]
    learnt = LearntClass(EVIL, EVIL, "#aabbcc", EVIL, True, (EVIL,), CELLS, [Common(URI, EVIL)])
    return DemoPage(
        photos=2,
        pairs=pairs,
        empty=pairs,
        left_out=1,
        classes=[learnt],
        timings=[Timing(EVIL, 1, EVIL, 1.0)],
        machine=EVIL,
        settings=EVIL,
        commands=[EVIL],
        class_lines=[EVIL],
        failures=[Photo(EVIL, failure=EVIL)],
    )


@pytest.mark.parametrize(
    ("template", "fields"),
    [
        ("sheet.html.jinja", {"groups": [(EVIL, CELLS), (EVIL, [])]}),
        ("report.html.jinja", {"page": demo_page()}),
    ],
)
def test_pages_escape_all_names(tmp_path, template, fields):
    page = write_page(tmp_path / "p.html", template, title=EVIL, height=9, **fields)
    text = page.read_text(encoding="utf-8")
    assert ESCAPED in text
    tree = read_page(text)
    assert not tree.all("script")
    assert not [name for tag in tree.all() for name in tag.attrs if name.startswith("on")]
    assert not re.search("[\0\r\x1b\u202e]", text)
    links = [tag.attrs[key] for tag in tree.all() for key in ("href", "src") if key in tag.attrs]
    assert links
    assert all(re.match(r"#[a-z]+(-\d+)?$|data:image/jpeg;base64,AA$", link) for link in links)
    styles = [tag.attrs["style"] for tag in tree.all() if "style" in tag.attrs]
    assert all(re.fullmatch(r"--c: #[0-9a-f]{6}|--r: [\d.]+", style) for style in styles)


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
