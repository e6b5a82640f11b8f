"""Photos, lists and pages of the web are bounded, and their errors say what happened."""

import contextlib
import http.server
import threading

import fsspec
import pytest

from recoseg.errors import ArchiveError, BadImageError
from recoseg.photos import files, filesystems
from recoseg.photos.load import load_whole
from recoseg.photos.reading import UnreadableError, read_photo
from recoseg.photos.refs import Photo, look_up
from recoseg.photos.sources import list_sources
from recoseg.segmentation.each_photo import each_photo
from tests.archive.conftest import make_photo
from tests.photos.test_bounds import encoded, listed

KINDS = ("true", "none", "endless", "book", "pages")


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by the first part of the path; see `server`."""

    protocol_version = "HTTP/1.1"
    sent = 0

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        with contextlib.suppress(ConnectionError):
            self.answer(body=True)

    def answer(self, body):
        kind, data = self.path.split("/")[1], encoded()
        if kind == "away":
            self.send_response(302)
            self.send_header("Location", "file:///etc/hostname")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        told = {"true": len(data), "little": 10, "cut": len(data) + 99}.get(kind)
        if body and kind == "little":
            told = None
        self.send_response(200)
        if told is not None:
            self.send_header("Content-Length", str(told))
        if kind in ("pages", "book"):
            self.send_header("Content-Type", "text/html")
        self.send_header("Connection", "close")
        self.end_headers()
        if not body:
            return
        if kind in ("true", "none", "cut"):
            self.wfile.write(data)
        elif kind == "pages":
            self.wfile.write(b'<a href="a.png">a</a>')
        elif kind == "list":
            self.wfile.write(b"../none/a.png\n../none/b.png\n")
        else:
            while True:
                self.wfile.write(bytes(1 << 16))
                Handler.sent += 1 << 16
        self.close_connection = True


@pytest.fixture(scope="module")
def server():
    """A web server: `none` tells no length, `little` and `cut` lie, `endless` never ends."""
    pytest.importorskip("aiohttp")
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{made.server_port}"
    made.shutdown()
    made.server_close()


@pytest.mark.timeout(120)
def test_photos_of_the_web_are_bounded(server, monkeypatch):
    monkeypatch.setattr(files, "MAX_BYTES", 1 << 21)
    for kind in ("true", "none"):
        assert read_photo(Photo(f"{server}/{kind}/a.png")) == encoded()
    Handler.sent = 0
    for kind in ("endless", "little"):
        for photo in (Photo(f"{server}/{kind}/a.png"), Photo(f"{server}/{kind}/a.png", "10", 10)):
            with pytest.raises(BadImageError, match="more than 2,097,152 bytes"):
                read_photo(photo)
    assert Handler.sent < 1 << 27, "the connection is closed"
    with pytest.raises(BadImageError, match="more than") as caught:
        read_photo(Photo(f"{server}/much/a.png", "x", 1 << 40))
    assert not isinstance(caught.value, UnreadableError)


def test_half_a_photo_of_the_web_is_asked_for_again(server):
    with pytest.raises(UnreadableError, match="cannot be read"):
        read_photo(Photo(f"{server}/cut/a.png"))
    with pytest.raises(UnreadableError, match=r"cannot be read: the server does not send parts"):
        read_photo(Photo(f"{server}/true/x.tar::a.png", "x", 5, 512))


@pytest.mark.timeout(120)
def test_lists_of_the_web(server, monkeypatch):
    assert [photo.path for photo in listed(f"{server}/list/list.txt")] == [
        f"{server}/none/a.png",
        f"{server}/none/b.png",
    ]
    monkeypatch.setattr(files, "MAX_LIST", 1 << 20)
    with pytest.raises(ArchiveError, match="more than 1,048,576 bytes"):
        list_sources([f"{server}/endless/list.txt"])
    [photo] = listed(f"{server}/none/a.png")
    assert photo.size == -1, "no length was told"
    assert read_photo(photo) == encoded()


@pytest.mark.timeout(120)
def test_pages_of_the_web_are_bounded(server):
    """To find out what a URL is, no more than a page is read."""
    found = {
        kind: files.is_folder(*filesystems.file_system(f"{server}/{kind}/x")) for kind in KINDS
    }
    assert found == dict.fromkeys(KINDS, False) | {"pages": True}
    assert list(each_photo([f"{server}/none/photo"])) == [f"{server}/none/photo"]


def test_fewer_bytes_than_a_service_announced_are_no_lasting_failure(monkeypatch):
    fs = fsspec.filesystem("memory")
    fs.pipe("/half/a.png", encoded())
    fs.pipe("/half/x.tar", bytes(512) + encoded())
    photo = Photo("memory://half/a.png", *look_up(fs, "/half/a.png"))
    real = type(fs).cat_file
    assert read_photo(photo) == encoded()
    monkeypatch.setattr(type(fs), "cat_file", lambda *a, **k: real(*a, **k)[:50])
    for one in (photo, Photo("memory://half/x.tar::a.png", "x", len(encoded()), 512)):
        with pytest.raises(UnreadableError, match=r"only 50 of \d+ bytes were received"):
            read_photo(one)
        assert not load_whole(one, 0).stamp, "it is tried again in the next run"


def test_a_file_that_has_become_smaller_is_read_anew():
    fs = fsspec.filesystem("memory")
    fs.pipe("/small/a.png", encoded())
    assert read_photo(Photo("memory://small/a.png", "x", 10**6)) == encoded()
    fs.pipe("/small/b.png", b"")
    assert read_photo(Photo("memory://small/b.png")) == b""


def test_a_part_of_a_file(tmp_path):
    (tmp_path / "a").write_bytes(b"0123456789")
    local = fsspec.filesystem("file")
    assert files.read_up_to(local, str(tmp_path / "a"), 3, 4) == b"456"
    assert files.read_up_to(local, str(tmp_path / "a"), 30, 8) == b"89"


def test_schemes_in_upper_case(tmp_path, server):
    make_photo(0).save(tmp_path / "a.png")
    [photo] = listed(f"FILE://{tmp_path}/a.png")
    assert (photo.path, photo.failure) == (f"{tmp_path}/a.png", "")
    upper = server.replace("http", "HTTP")
    (tmp_path / "list.txt").write_text(f"{upper}/true/a.png\n")
    for source in (f"{upper}/true/a.png", tmp_path / "list.txt"):
        [photo] = listed(source)
        assert photo.path == f"{server}/true/a.png"
        assert read_photo(photo) == encoded()
    assert read_photo(Photo(f"{upper}/true/a.png")) == encoded()


def test_reasons_of_the_web_are_plain(server, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(ArchiveError, match=r"Cannot reach .*: the server refuses the con"):
        listed("http://127.0.0.1:9/photo.png")
    with pytest.raises(UnreadableError, match="leads on to an address that is not one of the web"):
        read_photo(Photo(f"{server}/away/a.png"))
    with pytest.raises(ArchiveError, match="leads on to an address that is not one of the web"):
        listed(f"{server}/away/a.png")
    assert filesystems.reason_of(RecursionError()) == "its folders or links lead deeper and deeper"


def test_s3_without_credentials_says_what_to_set(monkeypatch, tmp_path, request):
    s3fs = pytest.importorskip("s3fs")
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_PROFILE",
        "AWS_ENDPOINT_URL",
    ):
        monkeypatch.delenv(name, raising=False)
    # One of an earlier test may have credentials, and this one has none.
    s3fs.S3FileSystem.clear_instance_cache()
    request.addfinalizer(s3fs.S3FileSystem.clear_instance_cache)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(UnreadableError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        read_photo(Photo("s3://bucket-of-nobody/a.png"))


def test_a_large_list_is_refused_before_it_is_read(tmp_path, monkeypatch):
    with (tmp_path / "list.txt").open("wb") as file:
        file.truncate(files.MAX_LIST + 1)

    def read(*_):
        raise AssertionError("the list was read")

    monkeypatch.setattr("recoseg.photos.lists.read_up_to", read)
    with pytest.raises(ArchiveError, match="has more than 2,147,483,648 bytes"):
        listed(tmp_path / "list.txt")
