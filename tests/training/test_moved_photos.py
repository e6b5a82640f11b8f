"""Pseudo-labels find their photos again after the photos, or both, have moved."""

import shutil

import numpy as np
import pytest
from PIL import Image

from recoseg.errors import DatasetError
from recoseg.photos.sources import list_sources
from recoseg.training.pseudo_labels import PseudoLabelled, PseudoLabels, pseudo_label
from recoseg.training.training_set import open_masks, readable
from tests.evaluation.scenes import scene, segmenter
from tests.photos.test_sources import make_tar

NAMES = [
    *("flat/a.png", "flat/b.bmp", "nested/x/a.png", "nested/y/b.png", "nested/y/a.png"),
    *("webp/a.webp", "webp/c.tif", "signs/a?.png", "signs/b:.png", "caf\u00e9.png"),
]


@pytest.fixture
def home(tmp_path):
    """Photos whose masks have other names than they, and pseudo-labels beside them."""
    for seed, name in enumerate(NAMES):
        path = tmp_path / "all" / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        options = {"lossless": True} if name.endswith("webp") else {}
        scene(seed)[0].save(path, **options)
    [source] = list_sources([tmp_path / "all" / "photos"])
    pseudo_label(segmenter(), source.photos, tmp_path / "all" / "pseudo")
    return tmp_path


def check(data, places):
    """Every photo is the one that its mask was made of."""
    kept, failures = readable(data)
    assert (len(kept.photos), failures) == (len(NAMES), {})
    assert {photo.photo for photo in data.photos} == {str(place) for place in places}
    for photo in data.photos:
        image, labels, _ = photo.read()
        [found] = segmenter()([image])
        np.testing.assert_array_equal(found.labels, labels)


def test_photos_that_have_not_moved(home):
    check(open_masks(home / "all" / "pseudo"), [home / "all" / "photos" / name for name in NAMES])


@pytest.mark.parametrize("given", ["moved", "moved/pictures", "moved/.."])
def test_moved_photos_are_found_by_the_end_of_their_path(home, given):
    target = home / "moved" / "pictures"
    target.parent.mkdir()
    (home / "all" / "photos").rename(target)
    data = open_masks(home / "all" / "pseudo", home / given)
    found = {photo.photo.rsplit("pictures/", 1)[1] for photo in data.photos}
    assert found == set(NAMES)
    check(data, [photo.photo for photo in data.photos])


def test_both_together_need_no_option(home):
    (home / "all").rename(home / "elsewhere")
    photos = home / "elsewhere" / "photos"
    check(open_masks(home / "elsewhere" / "pseudo" / "labels"), [photos / name for name in NAMES])
    # Photos that are still at their recorded path are taken from there.
    shutil.copytree(home / "elsewhere", home / "all")
    data = open_masks(home / "elsewhere" / "pseudo")
    check(data, [home / "all" / "photos" / name for name in NAMES])


def test_photos_that_are_nowhere_are_left_out_with_their_path(home):
    (home / "all" / "photos").rename(home / "away")
    with pytest.raises(DatasetError, match="None of 10 photos can be trained on"):
        readable(open_masks(home / "all" / "pseudo"))


def test_other_folders_are_refused(home):
    with pytest.raises(DatasetError, match=r"No photo in .* for 7 of 10 photos: .*flat/b\.bmp"):
        open_masks(home / "all" / "pseudo", home / "all" / "photos" / "nested")
    (home / "all" / "photos").rename(home / "one")
    for name in ("p", "q"):
        shutil.copytree(home / "one", home / "twice" / name)
    with pytest.raises(DatasetError, match=r"No single photo in .*twice for 10 of 10 photos: "):
        open_masks(home / "all" / "pseudo", home / "twice")


def test_members_of_a_moved_shard(tmp_path):
    (tmp_path / "old").mkdir()
    for seed in range(2):
        scene(seed)[0].save(tmp_path / f"{seed}.png")
    members = {f"x{n}/a.png": (tmp_path / f"{n}.png").read_bytes() for n in range(2)}
    shard = make_tar(tmp_path / "old" / "s.tar", members)
    [source] = list_sources([shard])
    pseudo_label(segmenter(), source.photos, tmp_path / "old" / "pseudo")
    (tmp_path / "old").rename(tmp_path / "new")
    moved = tmp_path / "new" / "s.tar"
    for images in (None, moved):
        data = open_masks(tmp_path / "new" / "pseudo", images)
        assert [photo.photo for photo in data.photos] == [f"{moved}::x{n}/a.png" for n in range(2)]
        assert readable(data)[1] == {}


def test_other_suffixes_are_taken_where_there_is_no_other(home):
    (home / "all" / "photos").rename(home / "new")
    with Image.open(home / "new" / "flat" / "b.bmp") as image:
        image.save(home / "new" / "flat" / "b.png")
    (home / "new" / "flat" / "b.bmp").unlink()
    data = open_masks(home / "all" / "pseudo", home / "new")
    assert f"{home}/new/flat/b.png" in [photo.photo for photo in data.photos]


def test_manifests_of_early_versions_are_read(home):
    found = PseudoLabels.read(home / "all" / "pseudo")
    assert {photo.relative for photo in found.photos} == {f"../photos/{name}" for name in NAMES}
    early = PseudoLabelled("a.jpg", "labels/a.png")
    assert early.relative == ""
