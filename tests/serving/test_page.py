"""The page in a real browser, with a real server: what a person does, and what must not happen."""

import io
import threading
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image, ImageOps

from recoseg.concepts import ConceptBank
from recoseg.serving.jobs import Job
from recoseg.serving.limits import Limits
from tests.learning.fakes import make_photo
from tests.serving.browser import (
    DESKTOP,
    PHONE,
    asked,
    eventually,
    fits,
    percent,
    serving,
)
from tests.serving.conftest import NAMES, as_file, photo

pytest.importorskip("uvicorn")

VEIL = (16, 17, 15, 150)


def labels_of(address, data):
    return np.asarray(Image.open(io.BytesIO(asked(address, data, format="palette").content)))


def painted(labels, colours):
    """The masks as RGBA: the colour of the class, darker where a region begins."""
    edge = np.zeros(labels.shape, bool)
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edge[1:] |= labels[1:] != labels[:-1]
    rgb = np.array(colours)[labels]
    rgb = np.where(edge[..., None], np.trunc(rgb * 0.55), rgb)
    return np.dstack([rgb, np.full(labels.shape, 255)]).astype(np.uint8)


def kept(file):
    return [one.name for one in ConceptBank.load(file).classes]


def veiled(canvas):
    """Where the veil lies; a canvas keeps colours that let something through only roughly."""
    return (np.abs(canvas.astype(int) - VEIL) <= 2).all(2)


@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_what_a_person_does(visits, address, served_file, archive, device):
    visit = visits(address, **device)
    page = visit.page
    page.wait_for_selector("body[data-ready]")
    fits(visit)

    # Drop and see.
    data = photo(5, "rose", "sea")
    visit.drop(data)
    found = asked(address, data).json()
    classes = {one["name"]: one for one in found["classes"]}
    assert list(classes) == list(visit.shares())
    assert visit.shares() == {name: percent(one["share"]) for name, one in classes.items()}
    upright = np.asarray(make_photo(5, "rose", "sea"))
    np.testing.assert_array_equal(visit.canvas("#photo")[..., :3], upright)
    labels = labels_of(address, data)
    colours = [
        [int(classes[name]["colour"][at : at + 2], 16) for at in (1, 3, 5)] for name in NAMES
    ]
    np.testing.assert_array_equal(visit.canvas(), painted(labels, colours))
    assert page.inner_text("#names .chip:first-child").startswith(next(iter(classes)))

    # One class alone, by pointing and by a click.
    row = page.get_by_role("button", name="rose", exact=False).first
    row.hover()
    eventually(lambda: veiled(visit.canvas())[labels != 0].all())
    assert not veiled(visit.canvas())[labels == 0].any()
    page.mouse.move(2, 2)
    eventually(lambda: (visit.canvas() == painted(labels, colours)).all())
    row.click()
    page.mouse.move(2, 2)
    assert row.get_attribute("aria-pressed") == "true"
    eventually(lambda: veiled(visit.canvas())[labels != 0].all())
    page.keyboard.press("Escape")
    assert row.get_attribute("aria-pressed") == "false"

    # Confidence, opacity, wipe.
    visit.slide("threshold", 60)
    surer = asked(address, data, threshold=0.6).json()["classes"]
    expected = dict.fromkeys(classes, "0 %") | {o["name"]: percent(o["share"]) for o in surer}
    assert visit.shares() == expected
    visit.slide("threshold", 0)
    visit.slide("opacity", 25)
    assert page.eval_on_selector("#masks", "(one) => getComputedStyle(one).opacity") == "0.25"
    page.locator("#frame").scroll_into_view_if_needed()
    handle = page.locator("#handle").bounding_box()
    frame = page.locator("#frame").bounding_box()
    page.mouse.move(handle["x"] + 22, handle["y"] + 20)
    page.mouse.down()
    page.mouse.move(frame["x"] + frame["width"] / 2, handle["y"] + 20)
    page.mouse.up()
    assert page.input_value("#wipe") == "50"
    assert (
        page.eval_on_selector("#masks", "(one) => one.style.clipPath") == "inset(0px 0px 0px 50%)"
    )
    visit.slide("wipe", 0)

    # Teach: see what the archive has, leave a photo out, learn, learn again, keep.
    page.fill("#name", "sea; -sky")
    page.wait_for_selector(".tile img[src]")
    tiles = page.locator(".tile")
    assert tiles.count() == min(24, len(archive))
    fits(visit)
    page.click("#learn")
    page.wait_for_selector(".ring-mark")
    eventually(lambda: "sea covers" in page.inner_text("#trial"))
    assert "sea" in visit.shares()
    assert page.locator("#found-list [aria-pressed=true]").inner_text().startswith("sea")
    assert kept(served_file) == NAMES
    before = tiles.evaluate_all("(all) => all.map((one) => one.title)")
    tiles.first.click()
    assert tiles.first.get_attribute("aria-pressed") == "false"
    assert "1 photo is left out" in page.inner_text("#tiles-help")
    page.click("#learn:has-text('without 1 photo')")
    eventually(lambda: tiles.first.get_attribute("title") != before[0])
    after = tiles.evaluate_all("(all) => all.map((one) => one.title)")
    assert after[-1] == before[0]  # it can be taken back
    assert tiles.last.get_attribute("aria-pressed") == "false"
    fits(visit)
    page.click("#keep")
    page.wait_for_selector("#bank-list :text('sea')", state="attached")
    assert kept(served_file) == [*NAMES, "sea"]
    eventually(lambda: "sea" in visit.shares())
    assert page.is_hidden("#trial")

    # Download, surer pixels only.
    visit.slide("threshold", 60)
    page.select_option("#format", "palette")
    with page.expect_download() as waiting:
        page.click("#download")
    saved = np.asarray(Image.open(waiting.value.path()))
    expected = asked(address, data, format="palette", threshold=0.6).content
    np.testing.assert_array_equal(saved, np.asarray(Image.open(io.BytesIO(expected))))
    assert waiting.value.suggested_filename.endswith(".png")

    # Teach again, with the words that the bank has.
    page.eval_on_selector("#bank-details", "(one) => { one.open = true; }")
    page.get_by_role("button", name="Teach sea again").click()
    eventually(lambda: "The bank has sea already" in page.inner_text("#advice"))
    assert page.input_value("#name") == "sea: sea; -sky"
    page.click("#forget")

    # Remove.
    page.get_by_role("button", name="Remove sea").click()
    fits(visit)
    page.click("#remove-yes")
    page.wait_for_selector("#bank-list :text('sea')", state="detached")
    assert kept(served_file) == NAMES
    eventually(lambda: "sea" not in visit.shares())


def test_with_the_keyboard_alone(visits, address):
    visit = visits(address)
    page, keys = visit.page, visit.page.keyboard
    page.wait_for_selector("body[data-ready]")
    visit.tab_to("#drop [data-choose]")
    with page.expect_file_chooser() as choosing:
        page.wait_for_timeout(100)  # Playwright does not wait until it is told of choosers
        keys.press("Enter")
    given = {"name": "a.png", "mimeType": "image/png", "buffer": photo(5, "rose", "grass")}
    choosing.value.set_files([given])
    page.wait_for_selector("#found-list button")

    visit.tab_to("#wipe")
    keys.press("End")
    assert (
        page.eval_on_selector("#masks", "(one) => one.style.clipPath") == "inset(0px 0px 0px 100%)"
    )
    visit.tab_to("#threshold")
    keys.press("ArrowRight")
    assert page.inner_text("#threshold-value") == "1 %"
    visit.tab_to("#found-list button")
    keys.press("Space")
    assert page.get_attribute("#found-list button", "aria-pressed") == "true"
    keys.press("Enter")
    assert page.get_attribute("#found-list button", "aria-pressed") == "false"

    visit.tab_to("#name")
    keys.press("Enter")
    assert "Type the name of a class first" in page.inner_text("#status")
    keys.type("violet")
    keys.press("Enter")
    page.wait_for_selector(".tile img[src]")
    visit.tab_to(".tile:nth-child(1)")
    visit.tab_to(".tile:nth-child(3)", "ArrowRight")
    keys.press("Space")
    visit.tab_to(".tile:nth-child(1)", "Home")
    visit.tab_to(".tile:last-child", "End", most=1)
    visit.tab_to(".tile:nth-child(3)", "ArrowLeft")
    pressed = page.locator(".tile[aria-pressed=false]")
    assert (pressed.count(), pressed.get_attribute("aria-label")[:7]) == (1, "Photo 3")
    visit.tab_to("#learn", "Shift+Tab")
    keys.press("Enter")
    page.wait_for_selector(".ring-mark")
    assert page.evaluate("document.activeElement.id") == "keep"
    visit.tab_to("#trial-drop", "Shift+Tab")
    keys.press("Enter")
    eventually(lambda: "violet" not in visit.shares())
    assert page.is_hidden("#lesson")
    assert page.evaluate("document.activeElement.id") == "name"

    visit.tab_to("#bank-list button[aria-label='Remove rose']")
    keys.press("Enter")
    assert page.inner_text("#remove-title") == "Remove rose?"
    keys.press("Escape")
    assert page.evaluate("document.activeElement.ariaLabel") == "Remove rose"
    assert page.is_hidden("#remove")


def test_what_cannot_be_done(visits, served_file):
    with serving(served_file, limits=Limits(bytes=400_000)) as plain:
        visit = visits(plain, **PHONE)
        page = visit.page
        page.wait_for_selector("body[data-ready]")
        assert "start recoseg serve with --index" in page.inner_text("#teach")
        assert page.is_hidden("#from-archive")
        page.click("#bank-summary")
        assert "Started with --writable" in page.inner_text("#bank")
        assert page.locator("#bank button").count() == 0
        fits(visit)
        visit.drop_only(b"x" * 400_001, "large.jpg")
        eventually(lambda: "large.jpg has 0.4 MB" in page.inner_text("#status"))
        visit.drop(b"no photo", "broken.jpg")
        eventually(lambda: "cannot" in page.inner_text("#status.error"))
        fits(visit)
        visit.drop(as_file(make_photo(5, "rose"), "TIFF"), "photo.tif")  # browsers show no TIFF
        eventually(lambda: visit.shares())
        shares = visit.shares()
        assert "rose" in shares
        visit.drop(b"no photo", "broken.jpg")
        eventually(lambda: "cannot" in page.inner_text("#status.error"))
        assert visit.shares() == shares  # the photo before it is shown again
        assert page.is_enabled("#download")
        visit.faults[:] = [line for line in visit.faults if "status of 4" not in line]
    page.click("#download")
    eventually(lambda: "Is recoseg serve still running?" in page.inner_text("#status"))
    visit.faults[:] = [line for line in visit.faults if "ERR_CONNECTION_REFUSED" not in line]


def test_a_token(visits, served_file, archive):
    token = "a token of the tests"
    with serving(served_file, archive, token=token) as address:
        closed = visits(address)
        eventually(lambda: "wants its token" in closed.page.inner_text("#status"))
        visit = visits(f"{address}#token={quote(token)}")
        visit.page.wait_for_selector("body[data-ready]")
        visit.page.click("#from-archive")
        eventually(lambda: visit.shares())
        visit.page.fill("#name", "sea")
        visit.page.wait_for_selector(".tile img[src]")
        visit.page.click("#learn")
        eventually(lambda: "sea" in visit.page.inner_text("#trial"))
        # Only now, since the refused requests of the first page are told one after the other.
        closed.faults[:] = [line for line in closed.faults if "status of 401" not in line]
        visit.page.wait_for_selector("#busy", state="hidden")
        assert visit.page.is_hidden("#keep")
        assert visit.page.is_hidden("#trial-keep")


def test_photos_are_upright_and_alone(visits, address):
    visit = visits(address, **PHONE)
    page = visit.page
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter to the right
    image = make_photo(5, "rose").crop((0, 0, 48, 32))
    data = as_file(image, "JPEG", exif=turned)
    visit.drop(data, "turned.jpg")
    assert visit.canvas().shape == (48, 32, 4)
    shown = visit.canvas("#photo")[..., :3].astype(int)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert np.abs(shown - upright).max() <= 3
    frame = page.locator("#frame").bounding_box()
    assert frame["width"] / frame["height"] == pytest.approx(32 / 48, rel=0.01)
    box = page.locator("#names").bounding_box()
    for chip in page.locator("#names .chip:visible").all():
        inner = chip.bounding_box()
        assert box["x"] - 1 <= inner["x"]
        assert inner["x"] + inner["width"] <= box["x"] + box["width"] + 1
    given = {"mimeType": "image/png", "buffer": photo(5, "rose")}
    with page.expect_response("**/segment"):
        page.evaluate("document.querySelector('#file').multiple = true")
        page.set_input_files("#file", [given | {"name": name} for name in ("a.png", "b.png")])
    eventually(lambda: "one photo at a time" in page.inner_text("#status"))
    visit.drop(photo(5, "rose"))


def test_learning_can_be_stopped(visits, address, monkeypatch):
    going = threading.Event()
    step = Job.step

    def slow(job, *given):
        step(job, *given)
        going.wait(1)

    monkeypatch.setattr(Job, "step", slow)
    visit = visits(address)
    page = visit.page
    page.wait_for_selector("body[data-ready]")
    page.fill("#name", "road")
    page.click("#learn")
    page.wait_for_selector("#progress", state="visible")
    assert page.evaluate("document.activeElement.id") == "stop"
    page.keyboard.press("Enter")
    eventually(lambda: "Nothing was changed" in page.inner_text("#status"))
    going.set()
    assert page.is_visible("#learn")
    assert page.is_hidden("#progress")

    # Another lesson ends the one that is going on.
    going.clear()
    page.click("#learn")
    page.wait_for_selector("#progress", state="visible")
    page.eval_on_selector("#bank-details", "(one) => { one.open = true; }")
    page.get_by_role("button", name="Teach grass again").click()
    eventually(lambda: page.inner_text("#learn") == "Learn grass")
    going.set()
    assert page.is_hidden("#progress")
