"""Every kind of source lists the right photos, each once and in a fixed order."""

import io
import os
import sys
import tarfile

import fsspec
import pytest
from fsspec.registry import _registry

from recoseg.archive.index import ArchiveIndex
from recoseg.errors import ArchiveError, BadImageError, MissingExtraError
from recoseg.photos import filesystems
from recoseg.photos.reading import UnreadableError, read_photo
from recoseg.photos.refs import Photo, natural_key, split_member
from recoseg.photos.sources import list_sources
from tests.archive.conftest import make_folder, make_photo


def names(*sources):
    return [
        photo.path.rsplit("/", 1)[-1] for source in list_sources(sources) for photo in source.photos
    ]


def make_tar(path, members):
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def png(seed):
    out = io.BytesIO()
    make_photo(seed).save(out, "PNG")
    return out.getvalue()


def test_natural_order():
    shuffled = ["b1", "a10", "a9", "a010", "A2", "1"]
    assert sorted(shuffled, key=natural_key) == ["1", "A2", "a9", "a010", "a10", "b1"]


def test_the_order_of_committed_indexes_stays():
    """Photos are committed in this order; libraries that sort naturally fold these differently."""
    ordered = ["1a", "٣a", "A", "_1", "a2", "a3", "a10", "a 1", "a-1", "a²", "b", "z1", "ä1"]
    assert sorted(set(ordered), key=natural_key) == ordered


def test_folder(tmp_path):
    for name in ("img10.JPG", "img9.jpg", "sub/x.webp", ".hidden.jpg", ".git/y.jpg", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert names(tmp_path) == ["img9.jpg", "img10.JPG", "x.webp"]
    assert names(tmp_path, str(tmp_path) + "/", tmp_path / "sub") == names(tmp_path)


def test_links_are_followed_and_loops_end(tmp_path):
    make_folder(tmp_path / "real", 2)
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "link").symlink_to(tmp_path / "real")
    assert names(tmp_path / "real") == ["gone.jpg", "photo0.png", "photo1.png"]
    assert len(names(tmp_path / "other")) == 3


def test_list_of_paths(tmp_path):
    make_folder(tmp_path / "photos", 2)
    (tmp_path / "list.txt").write_text(
        f"photos/photo1.png\r\n\nphotos/../photos/photo0.png\n{tmp_path}/photos/photo1.png\nnone.png\n"
    )
    [source] = list_sources([tmp_path / "list.txt"])
    assert [photo.path for photo in source.photos] == [
        str(tmp_path / "photos/photo1.png"),
        str(tmp_path / "photos/photo0.png"),
        str(tmp_path / "none.png"),
    ]
    assert [bool(photo.stamp) for photo in source.photos] == [True, True, False]


def test_globs_and_braces(tmp_path):
    make_folder(tmp_path / "photos [1]", 2)
    for number in range(12):
        make_tar(tmp_path / f"{number:05}.tar", {f"{number}.png": png(number), "a.json": b"{}"})
    assert len(names(f"{tmp_path}/{{00003..00011}}.tar")) == 9
    assert len(names(f"{tmp_path}/*.tar")) == 12
    assert len(names(f"{tmp_path}/{{00001,00002}}.tar")) == 2
    assert len(names(f"{tmp_path}/{{00000..00010..5}}.tar")) == 3
    nested = names(f"{tmp_path}/{{00{{001,010}},00011}}.tar")
    assert nested == ["00001.tar::1.png", "00010.tar::10.png", "00011.tar::11.png"]
    assert len(names(f"{tmp_path}/*[{{0]*.tar")) == 12  # a brace of the pattern itself
    assert names(f"{tmp_path}/photos [[]1]/*.png") == ["photo0.png", "photo1.png"]
    assert names(tmp_path / "photos [1]") == ["photo0.png", "photo1.png"]


def test_tar_members_are_read_in_place(tmp_path):
    shard = make_tar(
        tmp_path / "0.tar", {"../../evil.png": png(1), "k::2.png": png(2), "3.txt": b""}
    )
    [source] = list_sources([shard])
    assert [photo.path for photo in source.photos] == [
        f"{shard}::../../evil.png",
        f"{shard}::k::2.png",
    ]
    for seed, photo in enumerate(source.photos, 1):
        assert read_photo(photo) == png(seed)
        assert read_photo(Photo(photo.path)) == png(seed)
    with pytest.raises(UnreadableError, match="no member"):
        read_photo(Photo(f"{shard}::none.png"))
    assert not (tmp_path.parent.parent / "evil.png").exists()
    (tmp_path / "list.txt").write_text("0.tar::k::2.png\n")
    [listed] = list_sources([tmp_path / "list.txt"])
    assert read_photo(Photo(listed.photos[0].path)) == png(2)
    assert split_member("a.jpg") == ("a.jpg", "", "")


def test_a_damaged_tar_is_a_row_with_a_reason(tmp_path):
    whole = make_tar(tmp_path / "0.tar", {"1.png": png(1), "2.png": png(2)}).read_bytes()
    (tmp_path / "1.tar").write_bytes(whole[: len(png(1)) // 2 + 512])
    (tmp_path / "2.tar").write_bytes(b"no tar at all" * 99)
    photos = [photo for source in list_sources([f"{tmp_path}/*.tar"]) for photo in source.photos]
    assert [bool(photo.failure) for photo in photos][-1]
    assert "damaged" in photos[-1].failure
    cut_off = next(photo for photo in photos if "1.tar::" in photo.path)
    with pytest.raises(BadImageError, match="cut off"):
        read_photo(cut_off)


def test_urls():
    fs = fsspec.filesystem("memory")
    for name in ("a2.png", "a10.png", ".h/b.png", "sub/c.png"):
        fs.pipe(f"/bucket/{name}", png(3))
    [source] = list_sources(["memory://bucket"])
    assert names("memory://bucket") == ["a2.png", "a10.png", "c.png"]
    assert source.photos[0].path.startswith("memory://")
    assert all(photo.stamp for photo in source.photos)
    assert read_photo(Photo(source.photos[0].path)) == png(3)
    fs.pipe("/bucket/list.txt", b"a2.png\nsub/c.png\n")
    assert names("memory://bucket/list.txt") == ["a2.png", "c.png"]
    assert len(names("memory://bucket/a*.png")) == 2


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_names_that_are_not_utf8_have_a_reason(tmp_path):
    with open(os.fsencode(tmp_path) + b"/\xff.png", "wb") as file:  # noqa: PTH123
        file.write(png(1))
    [source] = list_sources([tmp_path])
    assert "UTF-8" in source.photos[0].failure
    source.photos[0].path.encode()


@pytest.mark.parametrize("given", ["none", "*.tar", "file.xyz", "{0..3}.tar"])
def test_places_that_are_not_sources(tmp_path, given):
    (tmp_path / "file.xyz").write_text("x")
    with pytest.raises(
        ArchiveError, match=r"Nothing was found at|Nothing matches|The type of .* is unknown"
    ):
        list_sources([f"{tmp_path}/{given}"])


def test_unreadable_bytes_say_why(tmp_path):
    with pytest.raises(UnreadableError, match="no such file"):
        read_photo(Photo(str(tmp_path / "none.jpg")))
    with pytest.raises(UnreadableError, match="cannot be read"):
        read_photo(Photo(str(tmp_path)))
    with pytest.raises(UnreadableError, match="cannot be read"):
        read_photo(Photo("nosuchprotocol://x/y.jpg"))


class Offline(fsspec.AbstractFileSystem):
    """A file system that cannot be reached."""

    protocol = "offline"

    def info(self, path, **options):
        raise ConnectionError("no route to the host")

    exists = info


def test_places_that_cannot_be_reached(tmp_path, monkeypatch):
    monkeypatch.setattr(filesystems, "SCHEMES", {*filesystems.SCHEMES, "offline"})
    fsspec.register_implementation("offline", Offline, clobber=True)
    for place in ("offline://bucket/photos", "offline://bucket/*.tar"):
        with pytest.raises(ArchiveError, match=r"Cannot reach offline://bucket/.*: no route to"):
            list_sources([place])
    with pytest.raises(ArchiveError, match=r"Cannot read nonsense://x: expected a URL .*s3://"):
        list_sources(["nonsense://x"])
    (tmp_path / "list.txt").write_text("nonsense://x/a.png\n")
    [source] = list_sources([tmp_path / "list.txt"])
    assert source.photos[0].failure.startswith("Cannot read nonsense://x/a.png")
    with pytest.raises(UnreadableError, match="no route to the host"):
        read_photo(Photo("offline://bucket/a.png"))


def test_without_s3fs_there_is_a_hint(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(_registry, "s3", raising=False)
    (tmp_path / "list.txt").write_text("s3://bucket/a.png\n")
    for attempt in (
        lambda: list_sources(["s3://bucket/*.tar"]),
        lambda: ArchiveIndex.open("s3://bucket/index"),
    ):
        with pytest.raises(MissingExtraError, match=r"Reading s3://bucket/.*\n.*recoseg\[s3\]"):
            attempt()
    [source] = list_sources([tmp_path / "list.txt"])
    assert "recoseg[s3]" in source.photos[0].failure, "a line does not end the run"
    with pytest.raises(UnreadableError, match=r"recoseg\[s3\]"):
        read_photo(Photo("s3://bucket/a.png"))


def test_schemes_may_be_in_capitals(tmp_path):
    make_folder(tmp_path, 1)
    [source] = list_sources([f"FILE://{tmp_path}/photo0.png"])
    assert source.photos[0].path == f"{tmp_path}/photo0.png"
