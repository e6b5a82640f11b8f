"""What is passed over and left out of sources: the same rules for folders, globs, lists, shards."""

import os
import re

import pytest

from recoseg.datasets.folder_layout import PHOTO_ENDINGS
from recoseg.datasets.folders import FOLDER, open_folder
from recoseg.errors import ArchiveError, RecosegError
from recoseg.photos.exclusion import Exclusion
from recoseg.photos.sources import list_sources
from recoseg.photos.walk import fixed_part
from tests.archive.conftest import make_folder
from tests.photos.test_sources import make_tar, png

NAMES = [
    *(
        "a.jpg",
        "b.png",
        "x/c.jpg",
        "x/thumbs/d.jpg",
        "thumbs/e.jpg",
        "x/y/f.tif",
        "x/y/mythumbs/g.jpg",
    ),
    *(
        "x/@eaDir/c.jpg/SYNOPHOTO_THUMB_M.jpg",
        "__MACOSX/a.jpg",
        ".trash/h.jpg",
        "x/.i.jpg",
        "raw/j.jpg",
    ),
]
SHOWN = [name for name in NAMES if not re.search(r"@eaDir|__MACOSX|\.trash|\.i", name)]


def tree(root, names=NAMES):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def found(*sources, base, **options):
    listed = [photo.path for source in list_sources(sources, **options) for photo in source.photos]
    return sorted(path.removeprefix(f"{base}/") for path in listed)


def slow(pattern, name):
    """Whether a pattern excludes a file, letter by letter and folder by folder."""

    def fits(pattern, text):
        if not pattern:
            return not text
        if pattern[0] == "*":
            return any(fits(pattern[1:], text[at:]) for at in range(len(text) + 1))
        return bool(text) and pattern[0] in (text[0], "?") and fits(pattern[1:], text[1:])

    parts = name.split("/")
    if "/" not in pattern:
        return any(fits(pattern, part) for part in parts)
    starts = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    return any(fits(pattern, start) or fits(pattern, f"/{start}") for start in starts)


PATTERNS = [
    *(
        "*/thumbs/*",
        "thumbs",
        "thumbs/*",
        "/thumbs/*",
        "*.jpg",
        "*thumbs*",
        "x/y",
        "x/*",
        "/x/?.jpg",
    ),
    *("?.png", "raw", "x/thumbs", "*/*", "nothing", "x/y/f.tif", "*/y/*.jpg", "*"),
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns(tmp_path, pattern):
    tree(tmp_path)
    expected = sorted(name for name in SHOWN if not slow(pattern, name))
    assert found(tmp_path, base=tmp_path, exclude=pattern) == expected
    out = Exclusion.of([pattern])
    assert sorted(name for name in SHOWN if not out.leaves_out(name)) == expected
    # What is excluded as a folder is not entered, and holds nothing that is not excluded.
    folders = {name.rpartition("/")[0] for name in SHOWN}
    skipped = [folder for folder in folders if folder and out.leaves_out(folder, is_folder=True)]
    assert not [name for name in expected for folder in skipped if name.startswith(f"{folder}/")]


def test_excluded_folders_are_not_entered(tmp_path, monkeypatch):
    tree(tmp_path)
    real, entered = os.scandir, []

    def scandir(path):
        entered.append(str(path).removeprefix(str(tmp_path)))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    for exclude in (["*/thumbs/*", "y"], ["thumbs", "x/y/"], ["*thumbs*", "./x/y/*"]):
        entered.clear()
        assert len(found(tmp_path, base=tmp_path, exclude=exclude)) == 4
        assert sorted(entered) == ["", "/raw", "/x"]


def test_every_kind_of_source(tmp_path):
    tree(tmp_path / "photos")
    shard = make_tar(tmp_path / "s.tar", {name: png(1) for name in SHOWN})
    (tmp_path / "list.txt").write_text(
        "".join(f"photos/{name}\n" for name in SHOWN)
        + "s.tar::x/thumbs/d.jpg\nhttps://127.0.0.1:9/thumbs/z.jpg\n"
    )
    kept = sorted(name for name in SHOWN if "/thumbs/" not in f"/{name}")
    options = {"base": tmp_path, "exclude": ["*/thumbs/*"]}
    assert found(tmp_path / "photos", **options) == [f"photos/{name}" for name in kept]
    assert found(shard, **options) == [f"s.tar::{name}" for name in kept]
    assert found(tmp_path / "list.txt", **options) == [f"photos/{name}" for name in kept]
    assert found(f"{tmp_path}/photos/**/*.*", **options) == [f"photos/{name}" for name in kept]
    assert found(f"file://{tmp_path}/photos", **options) == [f"photos/{name}" for name in kept]
    # The folders above a source do not count, nor does its own name.
    options["exclude"] = ["photos", "thumbs", "s.tar"]
    assert found(tmp_path / "photos/thumbs", **options) == ["photos/thumbs/e.jpg"]
    assert len(found(shard, **options)) == len(kept)
    with pytest.raises(ArchiveError, match=r"Nothing matches .*thu\* and is not excluded"):
        found(f"{tmp_path}/photos/thu*", **options)
    braces = found(f"{tmp_path}/{{photos,none}}/x/*.jpg", base=tmp_path, exclude="photos/x/c*")
    assert braces == []
    assert found(tmp_path / "photos/a.jpg", base=tmp_path, exclude="a.*") == []


def test_accents_match_however_they_are_stored(tmp_path):
    tree(tmp_path, ["cafe\u0301/a.jpg", "caf\u00e9s/b.jpg", "c.jpg"])
    assert found(tmp_path, base=tmp_path, exclude=["caf\u00e9*"]) == ["c.jpg"]
    assert len(found(f"{tmp_path}/caf\u00e9*/*.jpg", base=tmp_path)) == 2


@pytest.mark.parametrize("pattern", ["", "/", "./", "//"])
def test_patterns_that_name_nothing(tmp_path, pattern):
    with pytest.raises(RecosegError, match=r"names nothing\. Expected a glob such as"):
        list_sources([tmp_path], [pattern])


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("*", SHOWN),
        ("**", SHOWN),
        ("**/*.jpg", [name for name in SHOWN if name.endswith(".jpg")]),
        ("*.*", ["a.jpg", "b.png"]),
        ("*/*.jpg", ["x/c.jpg", "thumbs/e.jpg", "raw/j.jpg"]),
        ("x/**/?.*", [name for name in SHOWN if name.startswith("x/")]),
        ("x/*/[!d].*", ["x/y/f.tif"]),
        ("**/**/thumbs/*", ["x/thumbs/d.jpg", "thumbs/e.jpg"]),
        ("*/thumbs/d.jpg", ["x/thumbs/d.jpg"]),
        ("{x,raw}/*.jpg", ["x/c.jpg", "raw/j.jpg"]),
        (".tr*/*", [".trash/h.jpg"]),
        ("x/@eaDir/*/*.jpg", ["x/@eaDir/c.jpg/SYNOPHOTO_THUMB_M.jpg"]),
    ],
)
def test_globs_follow_the_rules_of_folders(tmp_path, glob, expected):
    tree(tmp_path)
    assert found(f"{tmp_path}/{glob}", base=tmp_path) == sorted(expected)
    assert fixed_part(f"{tmp_path}/x/*") == f"{tmp_path}/x"


def test_globs_pass_over_outputs_and_end_in_loops(tmp_path):
    tree(tmp_path, ["a.jpg", "x/b.jpg", "out/labels/a.png", "x/out/labels/b.png"])
    for folder in ("out", "x/out"):
        (tmp_path / folder / "settings.json").write_text('{"format": "recoseg-masks-1"}')
    (tmp_path / "x" / "loop").symlink_to(tmp_path / "x")
    for glob in ("*", "**/*.*", "**", "*/*.jpg"):
        names = found(f"{tmp_path}/{glob}", base=tmp_path)
        assert names == (["x/b.jpg"] if glob == "*/*.jpg" else ["a.jpg", "x/b.jpg"])[: len(names)]
        assert len({os.path.realpath(tmp_path / name) for name in names}) == len(names) > 0


def closed(monkeypatch, *names):
    """Folders of these names may not be listed, as root could."""
    real = os.scandir

    def scandir(path="."):
        if os.path.basename(str(path)) in names:  # noqa: PTH119
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)


@pytest.mark.parametrize("glob", ["", "/**/*.jpg", "/*/*.jpg", "/*"])
def test_unreadable_folders_are_named_however_they_are_given(tmp_path, monkeypatch, glob):
    tree(tmp_path, ["open/a.jpg", "closed/b.jpg"])
    closed(monkeypatch, "closed")
    listed = [photo for source in list_sources([f"{tmp_path}{glob}"]) for photo in source.photos]
    reasons = {photo.path.removeprefix(f"{tmp_path}/"): photo.failure for photo in listed}
    assert reasons == {"open/a.jpg": "", "closed": "the folder cannot be read: Permission denied"}
    assert len(listed) == 2
    # An excluded one is not looked into, so there is nothing to say.
    assert found(f"{tmp_path}{glob}", base=tmp_path, exclude="closed") == ["open/a.jpg"]


def test_a_glob_of_nothing_says_so(tmp_path):
    tree(tmp_path, ["@eaDir/a.jpg"])
    for glob in ("*/*.jpg", "*.jpg", "none/*.jpg"):
        with pytest.raises(ArchiveError, match="Nothing matches"):
            list_sources([f"{tmp_path}/{glob}"])


def test_labelled_folders_have_the_same_rules(tmp_path):
    make_folder(tmp_path / "images", 2)
    make_folder(tmp_path / "masks", 2)
    (tmp_path / "classes.txt").write_text("dog\ncar\n")
    tree(tmp_path / "images", [".ipynb_checkpoints/photo0-checkpoint.png", "thumbs/photo0.png"])
    (tmp_path / "images" / "loop").symlink_to(tmp_path / "images")
    assert set(FOLDER.files(tmp_path, tmp_path / "images", PHOTO_ENDINGS)) == {
        *("photo0", "photo1", "thumbs/photo0"),
    }
    with pytest.raises(RecosegError, match=r"1 of 3 have no mask: thumbs/photo0"):
        open_folder(tmp_path)
    assert len(open_folder(tmp_path, exclude=Exclusion.of("thumbs"))) == 2
