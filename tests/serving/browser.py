"""A real browser and real servers for the tests of the page."""

import base64
import os
import shutil
import socket
import threading
import time
from contextlib import contextmanager

import httpx
import numpy as np
import pytest

import recoseg

NEEDED = os.environ.get("RECOSEG_BROWSER_TESTS") == "1"
"""Whether a missing browser is a failure rather than a reason to skip the tests."""

DESKTOP = {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"}
PHONE = {
    "viewport": {"width": 360, "height": 740},
    "color_scheme": "dark",
    "has_touch": True,
    "reduced_motion": "reduce",
}


def missing(what):
    reason = f"{what} is missing, which the tests of the page need"
    if NEEDED:
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def browser():
    """Chromium of the system, driven by Playwright."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("The package playwright")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if path is None:
        missing("The program chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@contextmanager
def serving(bank, index=None, **options):
    """A server on a free port of this machine; its address."""
    import uvicorn

    from tests.serving.conftest import make_encoders

    app = recoseg.make_app(bank, index, encoders=make_encoders(), **options)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        server.should_exit = True
        thread.join()


_CONTRASTS = """() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return canvas.getImageData(0, 0, 1, 1).data;
    };
    const luminance = ([...rgb]) => {
        const [r, g, b] = rgb.slice(0, 3).map((part) => part / 255)
            .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (element) => {
        for (; element; element = element.parentElement) {
            const colour = rgba(getComputedStyle(element).backgroundColor);
            if (colour[3] > 230) return colour;
        }
        return rgba("white");
    };
    const own = (one) =>
        [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    return [...document.querySelectorAll("body *")]
        .filter((one) => one.checkVisibility() && own(one))
        .filter((one) => !one.closest("#names, #busy, [disabled]"))
        .map((one) => {
            const [text, page] = [rgba(getComputedStyle(one).color), behind(one)].map(luminance);
            const ratio = (Math.max(text, page) + 0.05) / (Math.min(text, page) + 0.05);
            return [one.textContent.trim(), ratio];
        })
        .filter(([, ratio]) => ratio < 4.5);
}"""
"""Texts whose contrast with what is behind them is below 4.5 (WCAG 2.2, 1.4.3)."""

_NAMELESS = """() => [...document.querySelectorAll("button, input, select, progress, summary")]
    .filter((one) => one.checkVisibility())
    .filter((one) => !(one.ariaLabel || one.labels?.length || one.textContent.trim()))
    .map((one) => one.outerHTML)"""


class Visit:
    """One visit to the page, which notes what goes wrong.

    Attributes:
        page: The page in the browser.
        faults: What the console has said, and what was asked of other servers.
    """

    def __init__(self, context, address):
        self.address = address
        self.faults = []
        self.page = context.new_page()
        self.page.set_default_timeout(30_000)
        self.page.on("console", lambda line: self.faults.append(line.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", self._check)
        self.page.goto(address)

    def _check(self, request):
        own = self.address.split("#")[0]
        if not request.url.startswith((own, f"blob:{own}")):
            self.faults.append(f"asked {request.url}")

    def drop(self, data, name="photo.png"):
        """Drop a photo onto the page, and wait until the server has answered."""
        with self.page.expect_response("**/segment"):
            self.drop_only(data, name)
        self.page.wait_for_selector("#busy", state="hidden")

    def drop_only(self, data, name):
        """Drop a file onto the page."""
        encoded = base64.b64encode(data).decode()
        transfer = self.page.evaluate_handle(
            """([encoded, name]) => {
                const transfer = new DataTransfer();
                const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
                transfer.items.add(new File([bytes], name));
                return transfer;
            }""",
            [encoded, name],
        )
        self.page.dispatch_event("body", "dragenter", {"dataTransfer": transfer})
        assert "over" in self.page.get_attribute("body", "class")
        self.page.dispatch_event("body", "drop", {"dataTransfer": transfer})

    def canvas(self, selector="#masks"):
        """The pixels of a canvas, (h, w, 4) uint8."""
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => done()))")
        width, height, pixels = self.page.eval_on_selector(
            selector,
            """(one) => {
                const { width, height } = one;
                const copy = new OffscreenCanvas(width, height).getContext("2d");
                copy.drawImage(one, 0, 0);
                return [width, height, [...copy.getImageData(0, 0, width, height).data]];
            }""",
        )
        return np.array(pixels, np.uint8).reshape(height, width, 4)

    def shares(self):
        """The shares of the classes as the page shows them."""
        rows = self.page.query_selector_all("#found-list button")
        return {
            row.query_selector(".row-name").inner_text(): row.query_selector(".number").inner_text()
            for row in rows
        }

    def slide(self, slider, value):
        """Move a slider to a value."""
        self.page.eval_on_selector(
            f"#{slider}",
            "(one, value) => { one.value = value; one.dispatchEvent(new Event('input')); }",
            str(value),
        )

    def tab_to(self, selector, key="Tab", most=40):
        """Press a key until an element has the focus, which has to be visible there."""
        for _ in range(most):
            self.page.keyboard.press(key)
            if self.page.eval_on_selector(selector, "(one) => one === document.activeElement"):
                style = "(one) => getComputedStyle(one).outlineStyle"
                assert self.page.eval_on_selector(selector, style) != "none"
                return
        raise AssertionError(f"{selector} cannot be reached by {key}")


def percent(share):
    """A share as the page writes it."""
    return "< 1 %" if 0 < share < 0.01 else f"{int(100 * share + 0.5)} %"


def asked(address, data, **fields):
    """What the server itself says of a photo."""
    answer = httpx.post(f"{address}segment", files={"photo": ("a.png", data)}, data=fields)
    assert answer.status_code == 200, answer.text
    return answer


def eventually(check, seconds=30):
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def fits(visit):
    """Nothing is cut off, nothing is too pale, everything has a name."""
    page = visit.page
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(_CONTRASTS) == []
    assert page.evaluate(_NAMELESS) == []
