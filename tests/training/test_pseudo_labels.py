"""Pseudo-labels of coloured blocks, compared with what the segmenter itself gives."""

import json

import numpy as np
import pytest
from PIL import Image

from recoseg.errors import RecosegError
from recoseg.training.confidence import Ignoring, confidence_map
from recoseg.training.parallel import ParallelSegmenter
from recoseg.training.pseudo_labels import PseudoLabels, pseudo_label
from tests.evaluation.scenes import scene, segmenter

NAMES = ("red", "green", "blue")
OPTIONS = {"teacher": "f" * 16, "temperature": 0.05}


@pytest.fixture
def paths(tmp_path):
    found = []
    (tmp_path / "photos").mkdir()
    for seed, size in enumerate([(31, 47), (40, 24), (31, 47)]):
        path = tmp_path / "photos" / f"{seed}.png"
        scene(seed, *size)[0].save(path)
        found.append(str(path))
    return found


def masks(folder, kind="labels"):
    return [np.asarray(Image.open(path)) for path in sorted((folder / kind).iterdir())]


def test_masks_are_the_segmenters_labels(tmp_path, paths):
    found = pseudo_label(segmenter(), paths, tmp_path / "out", **OPTIONS)
    expected = [item.labels for item in segmenter()(paths)]
    for mask, labels in zip(masks(tmp_path / "out"), expected, strict=True):
        np.testing.assert_array_equal(mask, labels)
    with Image.open(tmp_path / "out/labels/0.png") as image:
        assert image.mode == "P"
        assert tuple(image.getpalette()[3:6]) == segmenter().palette[1]
    assert not (tmp_path / "out/teacher/confidence").exists()
    assert [photo.path for photo in found.photos] == paths
    assert [item.pixels for item in found.balance] == [
        sum((labels == c).sum() for labels in expected) for c in range(3)
    ]
    assert [item.kept for item in found.balance] == [item.pixels for item in found.balance]
    assert PseudoLabels.read(tmp_path / "out") == found
    assert (tmp_path / "out/classes.txt").read_text() == "red\ngreen\nblue\n"
    assert "red " in (tmp_path / "out/balance.txt").read_text()


@pytest.mark.parametrize("ignoring", [Ignoring(0.6), Ignoring(quantile=0.25), Ignoring(0.4, 0.1)])
def test_what_is_not_sure_is_ignored(tmp_path, paths, ignoring):
    keeping = segmenter(keep_scores=True, background_threshold=0.2)
    found = pseudo_label(keeping, paths, tmp_path / "out", ignoring=ignoring, **OPTIONS)
    results = keeping(paths)
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


def test_other_limits_need_no_second_segmentation(tmp_path, paths):
    first = segmenter(keep_scores=True)
    pseudo_label(first, paths, tmp_path / "out", ignoring=Ignoring(0.5), **OPTIONS)
    again = segmenter(keep_scores=True)
    again.stream = lambda photos: iter([None] * len(list(photos)))  # would fail if used
    changed = pseudo_label(
        again, paths, tmp_path / "out", ignoring=Ignoring(0.9), resume=True, **OPTIONS
    )
    whole = pseudo_label(
        segmenter(keep_scores=True), paths, tmp_path / "new", ignoring=Ignoring(0.9), **OPTIONS
    )
    assert changed.balance == whole.balance
    for one, other in zip(masks(tmp_path / "out"), masks(tmp_path / "new"), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(RecosegError, match="made with other settings"):
        pseudo_label(
            segmenter(), paths, tmp_path / "out", resume=True, teacher="0", temperature=1.0
        )


def test_resuming_makes_only_what_is_missing(tmp_path, paths):
    out = tmp_path / "out"
    pseudo_label(segmenter(), paths, out, **OPTIONS)
    expected = masks(out)
    (out / "teacher/labels/1.png").unlink()
    (out / "labels/2.png").unlink()
    seen = []
    again = segmenter()
    stream = again.stream
    again.stream = lambda photos: stream(seen.append(path) or path for path in photos)
    found = pseudo_label(again, paths, out, resume=True, **OPTIONS)
    assert seen == [paths[1]]
    assert sorted(photo.path for photo in found.photos) == paths
    for one, other in zip(masks(out), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_failures_are_left_out_and_named(tmp_path, paths):
    (tmp_path / "photos/bad.png").write_bytes(b"no photo")
    bad = str(tmp_path / "photos/bad.png")
    found = pseudo_label(segmenter(), [*paths, bad], tmp_path / "out", **OPTIONS)
    assert found.failures == {bad: "not an image of a known format"}
    assert len(found.photos) == 3
    fields = json.loads((tmp_path / "out/pseudo_labels.json").read_text())
    assert fields["failures"] == dict(found.failures)


@pytest.mark.parametrize(("count", "each"), [(1, 2), (2, 1), (3, 2)])
def test_several_segmenters_give_what_one_gives(tmp_path, paths, count, each):
    (tmp_path / "photos/bad.png").write_bytes(b"no photo")
    many = [*paths, str(tmp_path / "photos/bad.png"), *reversed(paths)]
    busy = []

    class Noting:
        def __init__(self, number):
            self.number, self.inner = number, segmenter()
            self.names, self.palette = self.inner.names, self.inner.palette
            self.settings = self.inner.settings

        def stream(self, photos):
            busy.append(self.number)
            return self.inner.stream(photos)

    together = ParallelSegmenter([Noting(number) for number in range(count)], each)
    assert together.settings == segmenter().settings
    found = list(together.stream(many))
    expected = list(segmenter().stream(many))
    assert [item.photo for item in found] == many
    assert [item.error for item in found] == [item.error for item in expected]
    for one, other in zip(found, expected, strict=True):
        if one.segmentation is not None:
            np.testing.assert_array_equal(one.segmentation.labels, other.segmentation.labels)
    assert set(busy) == set(range(count))
    assert list(together.stream([])) == []


def test_too_many_classes(tmp_path):
    class Wide:
        names = tuple(map(str, range(256)))

    with pytest.raises(RecosegError, match="at most 255 classes; got 256"):
        pseudo_label(Wide(), [], tmp_path, **OPTIONS)


def test_a_folder_without_manifest(tmp_path):
    with pytest.raises(RecosegError, match=r"pseudo_labels.json is missing or damaged"):
        PseudoLabels.read(tmp_path)
