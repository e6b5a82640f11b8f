"""The script of reports in a real browser, from the disk and without a network."""

import shutil

import pytest
from PIL import Image

from recoseg.drawing.gallery import CHUNK, Gallery, GalleryPhoto, legend_of
from recoseg.drawing.report import PAGE, Report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
EVIL = "<img src=x onerror=document.title='caught'>"
COUNT = CHUNK + 40

pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs chromium")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page of photos with rising shares of dog, every tenth with a name that is markup."""
    sync_api = pytest.importorskip("playwright.sync_api")
    folder = tmp_path_factory.mktemp("report")
    with Report(folder) as report:
        pictures = tuple(report.keep(Image.new("RGB", (40, 30), (grey,) * 3)) for grey in (9, 99))
        photos = [
            GalleryPhoto(
                f"photo {n}" if n % 10 else f"{EVIL} {n}",
                pictures,
                (40, 30),
                ((0, n / 1000), *([(1, 0.0005)] if n % 2 else [])) if n else (),
                None if n == 531 else (n * 7 % 10) / 10,
            )
            for n in range(COUNT)
        ]
        legend = legend_of(["dog", "<b>sky"], [(1, 2, 3)] * 2, photos)
        gallery = Gallery("photos", ("photo", "masks"), True, legend, photos, "confidence")
        report.gallery(gallery)
        path = report.page(
            PAGE, "masks.html.jinja", title="t", gallery=gallery, settings=[], failures={}
        )
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 1000, "height": 700})
        opened.problems = []
        opened.on("console", lambda message: opened.problems.append(message.text))
        opened.on("pageerror", lambda error: opened.problems.append(str(error)))
        opened.goto(path.as_uri())
        opened.wait_for_function(
            f"document.querySelector('.status').textContent == '{told(COUNT)}'"
        )
        yield opened
        assert not opened.problems
        assert opened.title() == "t"
        browser.close()


def told(count):
    return f"{count} of {COUNT} photos"


def names(page):
    found = page.eval_on_selector_all(".card .name", "tags => tags.map(tag => tag.textContent)")
    return [name.split(" · ")[0] for name in found]


def status(page):
    return page.inner_text(".status")


def test_few_photos_are_drawn_and_more_when_they_are_scrolled_to(page):
    assert len(names(page)) < COUNT / 2
    assert names(page)[:2] == [f"{EVIL} 0", "photo 1"]
    before = len(names(page))
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.wait_for_function(f"document.querySelectorAll('.card').length > {before}")
    page.evaluate("scrollTo(0, 0)")


def test_nothing_is_drawn_beyond_the_last_photo(page):
    page.fill("input[type=search]", "photo 53")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.wait_for_timeout(300)
    assert not page.is_visible(".more")
    assert page.locator(".batch").count() == 1
    page.fill("input[type=search]", "")
    assert page.is_visible(".more")
    page.evaluate("scrollTo(0, 0)")


def test_photos_are_searched_by_name_and_class(page):
    with_53 = [n for n in range(COUNT) if "53" in str(n) and n % 10]
    page.fill("input[type=search]", "photo 53")
    assert names(page) == [f"photo {n}" for n in with_53]
    page.fill("input[type=search]", "53 SKY")
    assert names(page) == [f"photo {n}" for n in with_53 if n % 2]
    page.fill("input[type=search]", "nothing")
    assert status(page) == f"None of {COUNT} photos fits"
    page.fill("input[type=search]", "")
    assert status(page) == told(COUNT)


def test_photos_are_chosen_by_class_with_the_keyboard(page):
    sky = page.locator(".legend button", has_text="<b>sky")
    sky.focus()
    page.keyboard.press("Enter")
    assert sky.get_attribute("aria-pressed") == "true"
    assert status(page) == told(COUNT // 2)
    page.keyboard.press("Enter")
    page.locator(".legend button", has_text="none of them").click()
    assert names(page) == [f"{EVIL} 0"]
    page.locator(".legend button", has_text="none of them").click()


def test_photos_are_sorted_by_share_and_by_score(page):
    page.select_option("select", "most")
    assert names(page)[0] == f"photo {COUNT - 1}"
    page.select_option("select", "least")
    assert names(page)[:2] == [f"{EVIL} 0", "photo 1"]
    page.select_option("select", "highest")
    assert names(page)[:2] == [f"photo {n}" for n in (7, 17)]  # 0.9
    page.fill("input[type=search]", "photo 53")
    assert names(page)[-1] == "photo 531"  # which has no score
    page.fill("input[type=search]", "")
    page.select_option("select", "")


def test_the_line_between_photo_and_masks_moves_with_the_keyboard(page):
    line = "document.querySelectorAll('.wipe')[1].style.getPropertyValue('--at')"
    page.locator(".wipe input").nth(1).focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(line) == "51%"
    page.locator(".all").focus()
    page.keyboard.press("Home")
    assert page.evaluate(line) == "0%"
    clip = page.evaluate("getComputedStyle(document.querySelectorAll('.wipe img')[3]).clipPath")
    assert clip == "inset(0px 0px 0px 0%)"
    assert "photo 1: how much" in page.locator(".wipe input").nth(1).get_attribute("aria-label")


def test_the_page_fits_a_phone(page):
    page.set_viewport_size({"width": 360, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    widths = page.eval_on_selector_all(".card", "tags => tags.slice(0, 3).map(t => t.clientWidth)")
    assert min(widths) > 300
    page.set_viewport_size({"width": 1000, "height": 700})
