"""The report of a folder of masks."""

import json

import numpy as np
import pytest
from PIL import Image

import recoseg
from recoseg.errors import OutputError
from recoseg.pipeline.report import report_masks
from tests.pages import read_page
from tests.segmentation.fakes import ColourEncoder, make_bank

COLOURS = {"dog/<i>red": (250, 10, 10), "blue & green": (10, 10, 250)}


@pytest.fixture
def photos(tmp_path):
    """Two photos, of which the second has a green half, and one that is damaged."""
    for name, colour in COLOURS.items():
        path = tmp_path / "photos" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.new("RGB", (64, 48), colour)
        if "green" in name:
            image.paste((10, 250, 10), (32, 0, 64, 48))
        image.save(path)
    (tmp_path / "photos/broken.jpg").write_bytes(b"no photo")
    return tmp_path / "photos"


def segment(photos, **options):
    encoders = {"phi": ColourEncoder(4), "saliency": ColourEncoder(6)}
    segmenter = recoseg.open_segmenter(make_bank(), **encoders, device="cpu", precision="fp32")
    return recoseg.segment(segmenter, photos, photos.parent / "masks", report=True, **options)


def rows(page):
    text = (page.parent / "rows/photos-0.js").read_text(encoding="utf-8")
    return {row["name"]: row for row in json.loads(text[text.index("[") : text.rindex("]") + 1])}


def test_each_photo_has_pictures_shares_and_a_link(photos):
    done = segment(photos)
    assert done.page == photos.parent / "masks/report/index.html"
    found = rows(done.page)
    assert list(found) == ["blue & green", "dog/_i_red"]
    both = found["blue & green"]
    assert both["size"] == [64, 48]
    assert both["shares"] == [[1, 0.5], [2, 0.5]]
    assert 0 < both["score"] < 1
    link = both["link"]
    assert link == "../overlays/blue%20%26%20green.jpg"
    assert (done.page.parent / "../overlays/blue & green.jpg").is_file()
    photo, masks = (Image.open(done.page.parent / name) for name in both["pictures"])
    assert photo.size == masks.size == (64, 48)
    assert np.abs(np.asarray(photo)[20, 10].astype(int) - (10, 10, 250)).max() < 25
    assert np.abs(np.asarray(photo).astype(int) - np.asarray(masks)).mean() > 10
    tree = read_page(done.page.read_text(encoding="utf-8"))
    assert [tag.text for tag in tree.within("legend", "button")] == ["red 1", "green 1", "blue 1"]
    [[path, reason]] = done.failures.items()
    assert [tag.text for tag in tree.within("failures", "li")] == [f"{path}: {reason}"]
    assert ["resize", "0"] in tree.rows("settings")


def test_a_second_report_draws_only_what_is_new(photos, monkeypatch):
    page = segment(photos).page
    drawn = []
    original = recoseg.pipeline.report.shrunk
    monkeypatch.setattr(
        "recoseg.pipeline.report.shrunk", lambda *given: drawn.append(1) or original(*given)
    )
    before = rows(page)
    Image.new("RGB", (64, 48), (250, 10, 10)).save(photos / "new.png")
    after = rows(segment(photos, resume=True).page)
    assert len(drawn) == 1
    assert after.keys() - before.keys() == {"new"}
    assert {name: after[name] for name in before} == before


def test_a_photo_that_is_gone_keeps_its_masks(photos):
    page = segment(photos).page
    masks = page.parent.parent
    for path in (page.parent / "pictures").iterdir():
        path.unlink()
    (photos / "blue & green.png").unlink()
    picture = rows(report_masks(masks))["blue & green"]["pictures"][1]
    pixels = np.asarray(Image.open(page.parent / picture)).astype(int)
    assert pixels[40, 10, 2] > pixels[40, 10, 1]  # blue over grey
    (masks / "labels/blue & green.png").write_bytes(b"no mask")
    found = report_masks(masks)
    assert "blue & green" not in rows(found)
    reasons = read_page(found.read_text(encoding="utf-8")).within("failures", "li")
    assert any("blue & green.png is damaged" in tag.text for tag in reasons)


def test_a_report_goes_with_the_masks_that_it_shows(photos):
    page = segment(photos).page
    segmenter = recoseg.open_segmenter(
        make_bank(), phi=ColourEncoder(4), saliency=ColourEncoder(6), device="cpu", precision="fp32"
    )
    recoseg.segment(segmenter, photos, page.parent.parent, overwrite=True)
    assert not page.parent.exists()


def test_files_of_others_are_refused_before_photos_are_segmented(photos):
    folder = photos.parent / "masks/report"
    folder.mkdir(parents=True)
    (folder / "index.html").write_text("mine")
    with pytest.raises(OutputError, match=r"holds index\.html, which this command did not write"):
        segment(photos)
    assert not (photos.parent / "masks/labels").exists()
