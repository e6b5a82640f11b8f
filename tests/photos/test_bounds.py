"""What strangers list or send: one wrong line is one photo, and every read has an end."""

import contextlib
import http.server
import io
import os
import socket
import threading
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.reference import ReferenceFileSystem

from recoseg.errors import ArchiveError, BadImageError
from recoseg.photos import files, filesystems
from recoseg.photos.images import decode_image
from recoseg.photos.lists import LONGEST_LINE
from recoseg.photos.load import load_whole
from recoseg.photos.opening import open_image
from recoseg.photos.reading import UnreadableError, read_photo
from recoseg.photos.refs import Photo, look_up
from recoseg.photos.sources import list_sources
from recoseg.segmentation.each_photo import each_photo
from tests.archive.conftest import make_folder, make_photo

CHAINS = (
    "reference://a.jpg::file:///x",
    "simplecache::http://127.0.0.1:9/a.jpg",
    "filecache::reference://a.jpg::file:///x",
    "zip://a.jpg::file:///x.zip",
)
SCHEMES = ("ftp://host/a.jpg", "gist://x/a.jpg", "ssh://h/a.jpg", "libarchive://a.jpg", "data://,a")


def encoded(seed=0):
    out = io.BytesIO()
    make_photo(seed).save(out, "PNG")
    return out.getvalue()


def listed(path):
    return [photo for source in list_sources([path]) for photo in source.photos]


class Broken(fsspec.AbstractFileSystem):
    """A file system whose every question fails, each with an error of its own."""

    protocol = "broken"
    cachable = False

    def info(self, path, **options):
        raise {"k": KeyError, "r": RecursionError, "t": TimeoutError}[path[0]]("no answer")

    def unstrip_protocol(self, path):
        if path.startswith("r"):
            raise AttributeError("no name")
        return f"broken://{path}"


@pytest.fixture
def broken(monkeypatch):
    monkeypatch.setattr(filesystems, "SCHEMES", {*filesystems.SCHEMES, "broken"})
    fsspec.register_implementation("broken", Broken, clobber=True)


def test_every_line_of_a_list_is_one_photo(tmp_path, broken, monkeypatch):
    make_photo(0).save(tmp_path / "good.png")
    make_photo(1).save(tmp_path / "a.jpg::b.png")
    make_photo(2).save(tmp_path / "talk\u2028notes.png")
    make_photo(3).save(tmp_path / "next\u0085line.png")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    lines = [
        *("good.png", "a.jpg::b.png", "talk\u2028notes.png", "next\u0085line.png"),
        *CHAINS,
        *SCHEMES,
        *("broken://key", "broken://recursion", "broken://timeout"),
        *("hf://", "hf://a", "http://[::1/a.jpg", "http://", "http://%zz%/%.jpg", "://", "s3://"),
        *("nul\0.png", "x" * (LONGEST_LINE + 1), "y" * 5000, "none.png", str(tmp_path)),
    ]
    data = "\n".join(lines).encode() + b"\ncaf\xe9.png\r\n   \r\ngood.png\n"
    (tmp_path / "list.txt").write_bytes(data)
    photos = listed(tmp_path / "list.txt")
    assert len(photos) == len(lines) + 1
    assert [photo.failure for photo in photos[:4]] == [""] * 4
    for seed, photo in enumerate(photos[:4]):
        assert read_photo(photo) == encoded(seed)
    by_path = {photo.path: photo for photo in photos}
    for line in SCHEMES:
        assert "expected a URL that begins with" in by_path[line].failure
    assert "NUL" in by_path["nul\0.png"].failure
    assert any("a line of 32,769 characters" in photo.failure for photo in photos)
    assert by_path[str(tmp_path)].failure == "cannot be read: not a regular file"
    assert "UTF-8" in photos[-1].failure
    for photo in photos[4:]:
        photo.path.encode()
        assert photo.id
        if not photo.failure and not photo.path.startswith(("http", "s3", "hf")):
            with pytest.raises(BadImageError):
                read_photo(photo)


def test_a_failing_answer_of_the_network_never_ends_the_listing(tmp_path, broken):
    (tmp_path / "list.txt").write_text("broken://key\nbroken://timeout\n")
    photos = listed(tmp_path / "list.txt")
    assert [photo.path for photo in photos] == ["broken://key", "broken://timeout"]
    for photo in photos:
        with pytest.raises(UnreadableError, match=r"cannot be read: .*no answer"):
            read_photo(photo)


def test_a_url_that_cannot_be_asked_about_is_a_photo_with_a_reason(broken):
    urls = ["broken://key", "http://127.0.0.1:9/photo"]
    assert list(each_photo(urls)) == urls
    for url in urls:
        assert load_whole(url, 0).failure.startswith("cannot be read: ")


def test_chains_and_references_never_reach_fsspec(tmp_path, monkeypatch):
    """With some versions of fsspec a reference runs commands of a shell."""

    def reached(*_, **__):
        raise AssertionError("fsspec was asked")

    for name in ("__init__", "cat_file", "_open", "info"):
        monkeypatch.setattr(ReferenceFileSystem, name, reached)
    for name in ("open", "open_files", "url_to_fs", "filesystem", "get_fs_token_paths"):
        monkeypatch.setattr(fsspec, name, reached)
        if hasattr(fsspec.core, name):
            monkeypatch.setattr(fsspec.core, name, reached)
    real = fsspec.get_filesystem_class
    asked = []
    monkeypatch.setattr(
        filesystems.fsspec, "get_filesystem_class", lambda name: asked.append(name) or real(name)
    )
    lines = CHAINS + SCHEMES
    (tmp_path / "list.txt").write_text("\n".join(lines))
    assert all(
        photo.failure or not Path(photo.path).exists() for photo in listed(tmp_path / "list.txt")
    )
    for line in lines:
        with pytest.raises(BadImageError):  # as of a row of an index
            read_photo(Photo(line))
        assert load_whole(line, 0).failure
        with contextlib.suppress(ArchiveError):
            assert list(each_photo([line])) == [line]
    assert set(asked) <= {"http"}, asked


def test_a_path_without_a_scheme_is_local(tmp_path):
    (tmp_path / "reference:").mkdir()
    make_photo(0).save(tmp_path / "reference:" / "a.png::b.png")
    (tmp_path / "list.lst").write_text("reference:/a.png::b.png\n")
    [photo] = listed(tmp_path / "list.lst")
    assert read_photo(photo) == encoded()


def test_lists_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_LIST", 10)
    (tmp_path / "list.txt").write_text("a.jpg\n" * 3)
    with pytest.raises(ArchiveError, match="more than 10 bytes"):
        list_sources([tmp_path / "list.txt"])


@pytest.fixture
def special(tmp_path):
    """A folder with a pipe, a socket and links to devices, named like photos, lists and shards."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes by name here")
    folder = tmp_path / "special"
    make_folder(folder, 1)
    for suffix in (".jpg", ".txt", ".tar"):
        os.mkfifo(folder / f"pipe{suffix}")
        (folder / f"zero{suffix}").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as opened, contextlib.chdir(folder):
        opened.bind("socket.jpg")
    return folder


@pytest.mark.timeout(60)
def test_pipes_devices_and_sockets_are_refused(special, tmp_path):
    for photos in (listed(special), listed(f"{special}/*.[jp][pn]g")):
        found = {photo.path.rpartition("/")[2]: photo.failure for photo in photos}
        reason = "cannot be read: not a regular file"
        expected = dict.fromkeys(("pipe.jpg", "socket.jpg", "zero.jpg"), reason)
        assert found == {"photo0.png": "", **expected}
    (tmp_path / "list.txt").write_text("/dev/zero\nspecial/pipe.jpg\nspecial/zero.tar::a.jpg\n")
    for photo in [*listed(tmp_path / "list.txt"), Photo("/dev/zero"), Photo(str(special))]:
        with pytest.raises(UnreadableError, match="not a regular file"):
            read_photo(photo)
    for name in ("pipe.tar", "zero.tar"):
        [photo] = listed(special / name)
        assert photo.failure == "the tar shard cannot be read: not a regular file"
    for name in ("pipe.txt", "zero.txt"):
        with pytest.raises(ArchiveError, match=r"Cannot read .*: not a regular file"):
            list_sources([special / name])
    for name in ("pipe.jpg", "zero.jpg"):
        with pytest.raises(BadImageError, match="cannot be read: not a regular file"):
            decode_image(special / name)


def test_open_files_are_read_within_the_bound(monkeypatch):
    monkeypatch.setattr("recoseg.photos.files.MAX_BYTES", 1000)
    with (
        open("/dev/zero", "rb") if Path("/dev/zero").exists() else io.BytesIO(bytes(2000)) as file,  # noqa: PTH123
        pytest.raises(BadImageError, match="more than 1,000 bytes"),
        open_image(file),
    ):
        pass


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_a_folder_without_permission_is_named(tmp_path):
    make_folder(tmp_path / "photos", 3)
    (tmp_path / "photos" / "deep").chmod(0)
    try:
        photos = listed(tmp_path / "photos")
    finally:
        (tmp_path / "photos" / "deep").chmod(0o755)
    assert "the folder cannot be read: Permission denied" in [photo.failure for photo in photos]


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    make_folder(tmp_path / "photos", 3)
    real = os.scandir

    def scandir(path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    photos = listed(tmp_path / "photos")
    assert [(Path(photo.path).name, photo.failure) for photo in photos] == [
        ("deep", "the folder cannot be read: Permission denied"),
        ("photo0.png", ""),
        ("photo1.png", ""),
    ]


def test_folders_that_recoseg_has_written_are_passed_over(tmp_path):
    make_folder(tmp_path, 2)
    for name, mark in (("masks", '{"format": "recoseg-masks"}'), ("mine", '{"format": "other"}')):
        make_folder(tmp_path / name / "labels", 1)
        (tmp_path / name / "settings.json").write_text(mark)
    names = {photo.path.removeprefix(f"{tmp_path}/") for photo in listed(tmp_path)}
    assert names == {"photo0.png", "photo1.png", "mine/labels/photo0.png"}
    assert len(listed(tmp_path / "masks")) == 1, "the folder itself was asked for"


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
