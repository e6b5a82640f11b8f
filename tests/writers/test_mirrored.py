"""Names of masks mirror the folders of the photos, and stay within the output folder."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from recoseg.errors import RecosegError
from recoseg.photos.refs import Photo
from recoseg.photos.sources import PhotoSource, list_sources
from recoseg.pipeline.checks import list_photos
from recoseg.segmentation.verify import verify_masks
from recoseg.storage.run_record import _matches
from recoseg.writers.folder import read_segmentations
from recoseg.writers.names import output_names, safe_path

from .test_folder import PHOTO, Names, files, fill, make, output


@pytest.fixture
def photos(tmp_path):
    root = tmp_path / "photos"
    for name in ("1.png", "farm/1.png", "farm/2.png", "city/1.png", "city/old/1.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3)).save(root / name)
    return root


def names(sources, out):
    listed = list_photos(sources, out)
    return output_names([photo.path for photo in listed], (), [photo.below for photo in listed])


def test_masks_mirror_the_folders_of_a_source(photos, tmp_path):
    out = tmp_path / "out"
    listed = list_photos(photos, out)
    assert fill(out, listed) == ["1", "city/1", "city/old/1", "farm/1", "farm/2"]
    masks = [name for name in files(out) if name.startswith("labels/")]
    assert masks == [f"labels/{name}.png" for name in ("1", "city/1", "city/old/1", "farm/1")] + [
        "labels/farm/2.png"
    ]
    lines = {line["name"]: line for line in read_segmentations(out)}
    assert lines["city/old/1"]["files"]["overlays"] == "overlays/city/old/1.jpg"
    assert verify_masks(out).problems == ()
    assert fill(out, listed, resume=True) == []


def test_names_do_not_depend_on_the_batch(photos, tmp_path):
    out = tmp_path / "out"
    whole = dict(zip([p.path for p in list_photos(photos, out)], names(photos, out), strict=True))
    for part in (photos / "*/1.png", photos / "*/*.png"):
        for photo, name in zip(list_photos(part, out), names(part, out), strict=True):
            assert whole[photo.path] == name
    chosen = photos / "some.txt"
    chosen.write_text("farm/2.png\ncity/old/1.png\n", encoding="utf-8")
    assert names(chosen, out) == ["farm/2", "city/old/1"]
    assert names(photos / "farm/2.png", out) == ["2"]


def test_equal_names_of_two_sources(photos, tmp_path):
    sources = [photos / "farm", photos / "city"]
    assert names(sources, tmp_path) == ["farm/1", "2", "city/1", "old/1"]
    Image.new("RGB", (4, 3)).save(photos / "farm/1.jpg")
    assert names(photos / "farm", tmp_path) == ["1", "1-2", "2"]
    assert names(photos, tmp_path)[3:5] == ["farm/1", "farm/1-2"]


@pytest.mark.parametrize(
    ("name", "base", "path", "expected"),
    [
        ("photos", "photos", "photos/a.jpg", "a.jpg"),
        ("photos", "photos/", "photos/a/b.jpg", "a/b.jpg"),
        ("photos", "photos", "photos-2/a.jpg", ""),
        ("a/a.jpg", "a", "a/a.jpg", ""),
        ("lists/some.txt", "lists", "lists/a/b.jpg", "a/b.jpg"),
        ("lists/some.txt", "lists", "elsewhere/b.jpg", ""),
        ("s3://b/photos", "s3://b/photos", "s3://b/photos/x/1.jpg", "x/1.jpg"),
        ("p/00.tar", "p/00.tar", "p/00.tar::x/1.jpg", "x/1.jpg"),
        ("p/*.txt", "p", "q/1.jpg", ""),
    ],
)
def test_paths_below_a_source(name, base, path, expected):
    assert PhotoSource(name, (), base).below(Photo(path)) == expected


def test_paths_below_globs(tmp_path):
    (tmp_path / "x").mkdir()
    Image.new("RGB", (4, 3)).save(tmp_path / "x/1.jpg")
    for pattern in ("*/1.jpg", "{x,y}/*.jpg", "**/*.jpg"):
        [source] = list_sources([tmp_path / pattern])
        assert [source.below(photo) for photo in source.photos] == ["x/1.jpg"]


def test_a_folder_that_is_named_like_a_file_takes_no_mask_s_place(tmp_path):
    given = ["farm.png/1.jpg", "farm.jpg"]
    assert output_names([f"/p/{name}" for name in given], (), given) == ["farm.png_/1", "farm"]
    photos = [Photo(f"/p/{name}", below=name) for name in given]
    assert fill(tmp_path, photos) == ["farm.png_/1", "farm"]
    assert verify_masks(tmp_path).problems == ()


@settings(max_examples=200)
@given(st.lists(st.text(st.characters(exclude_characters="\0"), max_size=60), max_size=6))
def test_no_name_leaves_the_folder(inner):
    found = output_names([f"/p/{number}.jpg" for number in range(len(inner))], (), inner)
    assert len({name.casefold() for name in found}) == len(inner)
    for name in found:
        for part in name.split("/"):
            assert part not in ("", ".", "..")
            assert not set(part) & set('\\:*?"<>|\n')


def test_parts_of_a_name_are_made_safe():
    assert safe_path("../..", "x") == "image/image/x"
    assert safe_path("/a//CON", "..") == "a/_CON/image"


def test_a_run_of_an_earlier_version_is_continued(photos, tmp_path):
    """Its masks keep their names, and new ones mirror the folders."""
    out = tmp_path / "out"
    listed = list_photos(photos, out)
    with output(out, settings={"label": 0}) as folder:
        for name, photo in (("farm__1", listed[3]), ("city__1", listed[1])):
            folder.write(name, photo, PHOTO, make([[0]]))
    assert fill(out, listed, resume=True) == ["1", "city/old/1", "farm/2"]
    assert (out / "labels/farm__1.png").is_file()
    assert verify_masks(out).problems == ()


def test_what_is_replaced_leaves_no_folders(photos, tmp_path):
    out = tmp_path / "out"
    listed = list_photos(photos, out)
    fill(out, listed)
    (out / "labels/city/mine.txt").write_text("mine")
    assert fill(out, listed[:1], 1, overwrite=True) == ["1"]
    left = sorted(path.relative_to(out).as_posix() for path in (out / "labels").rglob("*"))
    assert left == ["labels/1.png", "labels/city", "labels/city/mine.txt"]
    assert verify_masks(out).problems == (
        f"{out / 'labels/city/mine.txt'} is recorded nowhere. Delete it, unless a run is writing.",
    )


def test_changed_photos_and_ended_runs_leave_no_masks(photos, tmp_path):
    out = tmp_path / "out"
    fill(out, [Photo("/p/farm/1.png", "1-1", below="farm/1.png")])
    fill(out, [Photo("/p/farm/1.png", "1-2", below="farm/1.png")], resume=True)
    [line] = read_segmentations(out)
    assert (line["stamp"], line["name"]) == ("1-2", "farm/1")
    (out / "labels/city/old").mkdir(parents=True)
    (out / "labels/city/old/9.png").write_bytes(b"half")
    (out / ".unfinished").write_text(json.dumps({"files": ["labels/city/old/9.png"]}) + "\n")
    fill(out, [], resume=True)
    assert not (out / "labels/city").exists()


def test_a_link_that_leads_out_of_the_folder_is_refused(photos, tmp_path):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    fill(out, [Photo("a.jpg")])
    (out / "labels/farm").symlink_to(elsewhere)
    with pytest.raises(RecosegError, match="leaves the folder"):
        fill(out, [Photo("/p/farm/1.png", below="farm/1.png")], resume=True)
    assert not list(elsewhere.iterdir())


def test_a_writer_of_ones_own_gets_the_whole_name(tmp_path):
    own = Names()
    with output(tmp_path, writers=[own]) as folder:
        [(name, photo)] = folder.missing([Photo("/p/farm/1.png", below="farm/1.png")])
        folder.write(name, photo, PHOTO, make([[0]]))
    assert own.calls[1] == ("write", "farm/1")


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [
        ("labels/a.png", "labels/**/*.png", True),
        ("labels/x/y/a.png", "labels/**/*.png", True),
        ("labels/x/a.jpg", "labels/**/*.png", False),
        ("other/x/a.png", "labels/**/*.png", False),
        ("labels", "labels/**/*.png", False),
        ("labels/x/a.png", "labels/*.png", False),
    ],
)
def test_patterns_of_files_that_a_run_owns(name, pattern, expected):
    assert _matches(name, pattern) is expected
