"""Pseudo-labels of coloured blocks, compared with what the segmenter itself gives."""

import json

import numpy as np
import pytest
from PIL import Image

from recoseg.errors import RecosegError
from recoseg.photos.sources import list_sources
from recoseg.refinement.refiner import RefineSettings
from recoseg.training.confidence import Ignoring, confidence_map
from recoseg.training.pseudo_labels import PseudoLabels, pseudo_label
from tests.evaluation.scenes import scene, segmenter

NAMES = ("red", "green", "blue")


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    for seed, size in enumerate([(31, 47), (40, 24), (31, 47)]):
        scene(seed, *size)[0].save(tmp_path / "photos" / f"{seed}.png")
    return listed(tmp_path)


def listed(root):
    [source] = list_sources([root / "photos"])
    return list(source.photos)


def masks(folder, kind="labels"):
    return [np.asarray(Image.open(path)) for path in sorted((folder / kind).iterdir())]


def test_masks_are_the_segmenters_labels(tmp_path, photos):
    found = pseudo_label(segmenter(), photos, tmp_path / "out")
    expected = [item.labels for item in segmenter()(photos)]
    for mask, labels in zip(masks(tmp_path / "out"), expected, strict=True):
        np.testing.assert_array_equal(mask, labels)
    with Image.open(tmp_path / "out/labels/0.png") as image:
        assert image.mode == "P"
        assert tuple(image.getpalette()[3:6]) == segmenter().palette[1]
    assert not (tmp_path / "out/teacher/confidence").exists()
    assert [photo.path for photo in found.photos] == [photo.path for photo in photos]
    assert [item.pixels for item in found.balance] == [
        sum((labels == c).sum() for labels in expected) for c in range(3)
    ]
    assert [item.kept for item in found.balance] == [item.pixels for item in found.balance]
    assert PseudoLabels.read(tmp_path / "out") == found
    assert (tmp_path / "out/classes.txt").read_text() == "red\ngreen\nblue\n"
    assert "red " in (tmp_path / "out/balance.txt").read_text()


@pytest.mark.parametrize("ignoring", [Ignoring(0.6), Ignoring(quantile=0.25), Ignoring(0.4, 0.1)])
def test_what_is_not_sure_is_ignored(tmp_path, photos, ignoring):
    keeping = segmenter(
        keep_scores=True, background_threshold=0.2, refine=RefineSettings("none", 0.05)
    )
    found = pseudo_label(keeping, photos, tmp_path / "out", ignoring=ignoring)
    results = keeping(photos)
    labels = [item.labels for item in results]
    levels = [confidence_map(item.scores, item.labels, 0.05) for item in results]
    for written, expected in zip(
        masks(tmp_path / "out", "teacher/confidence"), levels, strict=True
    ):
        np.testing.assert_array_equal(written, expected)
    flat = np.concatenate([item.ravel() for item in labels])
    sure = np.concatenate([item.ravel() for item in levels]) / 255
    limit = np.zeros(256)
    for label in range(3):
        own = np.sort(sure[flat == label])
        if ignoring.quantile is not None and len(own):
            limit[label] = own[int(np.floor(ignoring.quantile * len(own)))]
        limit[label] = max(limit[label], ignoring.threshold or 0)
    expected = np.where((sure >= limit[flat]) & (flat != 255), flat, 255)
    written = np.concatenate([item.ravel() for item in masks(tmp_path / "out")])
    np.testing.assert_array_equal(written, expected)
    assert [item.kept for item in found.balance] == [(expected == c).sum() for c in range(3)]
    assert [item.pixels for item in found.balance] == [(flat == c).sum() for c in range(3)]
    assert [item.photos for item in found.balance] == [
        sum((item == c).any() for item in labels) for c in range(3)
    ]
    assert found.background == (flat == 255).sum()
    assert (expected == 255).sum() > found.background, "the limits should ignore something"


def test_other_limits_need_no_second_segmentation(tmp_path, photos):
    first = segmenter(keep_scores=True)
    pseudo_label(first, photos, tmp_path / "out", ignoring=Ignoring(0.5))
    again = segmenter(keep_scores=True)
    object.__setattr__(again, "stream", lambda given: iter([None] * len(list(given))))  # not used
    changed = pseudo_label(again, photos, tmp_path / "out", ignoring=Ignoring(0.9), resume=True)
    whole = pseudo_label(
        segmenter(keep_scores=True), photos, tmp_path / "new", ignoring=Ignoring(0.9)
    )
    assert changed.balance == whole.balance
    for one, other in zip(masks(tmp_path / "out"), masks(tmp_path / "new"), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(RecosegError, match="made with other settings"):
        pseudo_label(segmenter(), photos, tmp_path / "out", resume=True)


def test_resuming_makes_only_what_is_missing(tmp_path, photos):
    out = tmp_path / "out"
    pseudo_label(segmenter(), photos, out)
    expected = masks(out)
    (out / "teacher/labels/1.png").unlink()
    (out / "labels/2.png").unlink()
    seen = []
    again = segmenter()
    stream = again.stream

    def noting(given):
        return stream(seen.append(photo) or photo for photo in given)

    object.__setattr__(again, "stream", noting)
    found = pseudo_label(again, photos, out, resume=True)
    assert seen == [photos[1]]
    assert sorted(photo.path for photo in found.photos) == [photo.path for photo in photos]
    for one, other in zip(masks(out), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_failures_are_left_out_and_named(tmp_path, photos):
    (tmp_path / "photos/bad.png").write_bytes(b"no photo")
    bad = str(tmp_path / "photos/bad.png")
    found = pseudo_label(segmenter(), listed(tmp_path), tmp_path / "out")
    assert found.failures == {bad: "not an image of a known format"}
    assert len(found.photos) == 3
    fields = json.loads((tmp_path / "out/pseudo_labels.json").read_text())
    assert fields["failures"] == dict(found.failures)


def test_too_many_classes(tmp_path):
    class Wide:
        names = tuple(map(str, range(256)))

    with pytest.raises(RecosegError, match="at most 255 classes; got 256"):
        pseudo_label(Wide(), [], tmp_path)


def test_a_folder_without_manifest(tmp_path):
    with pytest.raises(RecosegError, match=r"pseudo_labels.json is missing or damaged"):
        PseudoLabels.read(tmp_path)
