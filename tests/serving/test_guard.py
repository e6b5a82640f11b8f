"""Who may ask, and how much: hosts, origins, tokens, sizes, files of the page."""

import zlib

import pytest
from PIL import Image

from recoseg.errors import OptionError
from recoseg.serving import page_routes
from recoseg.serving.exchange import CONTENT_SECURITY
from recoseg.serving.guard import is_allowed_host
from recoseg.serving.limits import Limits
from tests.serving.conftest import as_file, photo, post, served

TOKEN = "a token that nobody can guess"


@pytest.fixture(scope="module")
def client(bank, archive):
    limits = Limits(bytes=20_000, pixels=10_000)
    with served(bank, archive, limits=limits, hosts=["box.example"]) as client:
        yield client


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8000", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("192.168.1.7", 200),
        ("box.example:443", 200),
        ("evil.example", 400),
        ("localhost.evil.example", 400),
        ("127.0.0.1.evil.example", 400),
        ("evil.example@localhost", 200),  # its name is localhost
        ("localhost@evil.example", 400),
        ("", 400),
        ("[", 400),
    ],
)
def test_names_of_other_sites_are_refused(client, host, status):
    answer = client.get("/health", headers={"host": host})
    assert answer.status_code == status
    assert is_allowed_host(host, ["box.example"]) == (status == 200)
    assert status == 200 or "--allow-host" in answer.json()["error"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://localhost"}, 200),
        ({"origin": "https://localhost"}, 200),  # behind a proxy
        ({"origin": "http://localhost:81"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-origin", "origin": "http://localhost"}, 200),
    ],
)
def test_pages_of_other_sites_cannot_write(client, headers, status):
    answer = client.post("/retrieve", json={"name": "sea"}, headers=headers)
    assert answer.status_code == status
    assert client.get("/health", headers=headers).status_code == 200  # reading is the browser's


def test_the_token(bank):
    with served(bank, token=TOKEN) as client:
        for path in ("/classes", "/metrics", "/openapi.json", "/photos/0", "/nothing", "/jobs/a"):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert post(client, photo()).status_code == 401
        for given in (TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer ", "Bearer \xff"):
            headers = {"authorization": given.encode("latin-1")}
            assert client.get("/classes", headers=headers).status_code == 401
        assert client.get("/health").status_code == 200
        assert client.get("/static/page.js").status_code in (200, 404)
        assert client.get("/static/../classes").status_code == 401  # the client shortens it
        headers = {"authorization": f"Bearer {TOKEN}"}
        assert client.get("/classes", headers=headers).status_code == 200


def bomb(side):
    """A PNG of a few kilobytes that says that it has side x side pixels."""
    data = bytearray(as_file(Image.new("L", (8, 8))))
    data[16:24] = side.to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "status", "message"),
    [
        (b"", 422, "The photo cannot be used: the file is empty."),
        (b"no photo", 422, "The photo cannot be used"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 422, "The photo cannot be used"),
        (bomb(300), 413, "more than 10,000 pixels: 300 x 300. Send another one."),
        (bomb(60_000), 413, "more than 178,956,970 pixels"),
        (photo()[:-40], 422, "The photo cannot be used: damaged"),
        (bytes(30_000), 413, "more than 20,000 bytes"),
    ],
)
def test_hostile_photos(client, data, status, message):
    answer = post(client, data)
    assert (answer.status_code, message in answer.json()["error"]) == (status, True), answer.text
    assert post(client, photo()).status_code == 200


@pytest.mark.parametrize(
    ("request_of", "message"),
    [
        ({"content": b"{}"}, "the field 'photo' is missing"),
        ({"data": {"photo": "a text"}}, "'photo': "),
        ({"files": {"photo": photo()}, "data": {"format": "gif"}}, "'format': input should be"),
        ({"files": {"photo": photo()}, "data": {"threshold": "x"}}, "'threshold': "),
        ({"files": {"photo": photo()}, "data": {"job": "x" * 99}}, "'job': "),
    ],
)
def test_requests_of_another_form(client, request_of, message):
    answer = client.post("/segment", **request_of)
    assert (answer.status_code, message in answer.json()["error"]) == (422, True), answer.text


@pytest.mark.parametrize("content", [b"--x\r\n", b"--x\r\nContent-Disposition: form-data", b"\xff"])
def test_damaged_forms(client, content):
    kind = {"content-type": "multipart/form-data; boundary=x"}
    answer = client.post("/segment", content=content, headers=kind)
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]
    answer = client.post("/learn", content=b"[" * 9_000, headers={"content-type": "text/json"})
    assert answer.status_code == 422


def test_the_page_and_its_files(bank, monkeypatch, tmp_path):
    (tmp_path / "page" / "inner").mkdir(parents=True)
    (tmp_path / "page/index.html").write_text("<!doctype html>", encoding="utf-8")
    (tmp_path / "page/page.js").write_text("let a;", encoding="utf-8")
    (tmp_path / "page/notes.txt").write_text("private", encoding="utf-8")
    (tmp_path / "page/inner/a.js").write_text("private", encoding="utf-8")
    (tmp_path / "secret.js").write_text("private", encoding="utf-8")
    monkeypatch.setattr(page_routes, "PAGE", tmp_path / "page")
    with served(bank) as client:
        page = client.get("/")
        assert (page.text, page.headers["content-type"]) == (
            "<!doctype html>",
            "text/html; charset=utf-8",
        )
        assert page.headers["content-security-policy"] == CONTENT_SECURITY
        assert page.headers["x-content-type-options"] == "nosniff"
        assert client.get("/static/page.js").headers["content-type"].startswith("text/javascript")
        for name in (
            "notes.txt",
            "..%2fsecret.js",
            "%2e%2e/secret.js",
            "inner%2fa.js",
            "inner/a.js",
        ):
            answer = client.get(f"/static/{name}")
            assert (answer.status_code, "private" in answer.text) == (404, False), name


def test_faults_of_the_program_are_answered_without_details(client, monkeypatch, caplog):
    def broken(_):
        raise ZeroDivisionError("a secret path")

    service = client.app.state.service
    monkeypatch.setattr(type(service.current.segmenter), "stream", lambda *_: broken(None))
    answer = post(client, photo())
    assert (answer.status_code, answer.json()) == (
        500,
        {"error": "The server has a fault; its log says more."},
    )
    assert "a secret path" in caplog.text
    monkeypatch.undo()
    assert post(client, photo()).status_code == 200


def test_the_log_names_neither_photos_nor_classes(client, caplog):
    caplog.set_level("INFO", "recoseg.serving.access")
    post(client, photo())
    client.delete("/classes/secret")
    own = [record for record in caplog.records if record.name == "recoseg.serving.access"]
    lines = [record.getMessage() for record in own]
    assert lines[0].startswith("POST /segment 200 ")
    assert lines[1].startswith("DELETE /classes/{name:path} 403 ")
    assert "secret" not in caplog.text


def test_one_broken_photo_does_not_break_the_batch(bank, monkeypatch):
    with served(bank) as client:
        segmenter = client.app.state.service.current.segmenter
        stream, good, bad = type(segmenter).stream, photo(1), photo(2)

        def breaking(self, photos):
            if bad in photos:
                raise ZeroDivisionError
            return stream(self, photos)

        monkeypatch.setattr(type(segmenter), "stream", breaking)
        service = client.app.state.service
        with service._turns:  # so that both wait for the same batch
            waiting = [service.segment(one) for one in (good, good, bad, good)]
        assert [one.exception(20) is None for one in waiting] == [True, True, False, True]


@pytest.mark.parametrize("field", ["bytes", "pixels", "waiting", "body_seconds"])
def test_limits_are_above_0(field):
    with pytest.raises(OptionError, match=f"{field} is 0"):
        Limits(**{field: 0})


def test_a_batch_has_no_more_pixels_than_the_largest_photo(bank):
    with served(bank, limits=Limits(pixels=5_000)) as client:  # two photos of 48 x 48 pixels
        service, sizes = client.app.state.service, []
        stream = type(service.current.segmenter).stream
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                type(service.current.segmenter),
                "stream",
                lambda self, photos: sizes.append(len(photos)) or stream(self, photos),
            )
            with service._turns:
                waiting = [service.segment(photo(n)) for n in range(7)]
            for one in waiting:
                assert one.result(20).segmentation is not None
        assert sum(sizes) == 7
        assert max(sizes) == 2
