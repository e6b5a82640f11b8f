"""What strangers list or send: one wrong line is one photo, and every read has an end."""

import contextlib
import io
import os
import socket
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
from recoseg.photos.refs import Photo
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
