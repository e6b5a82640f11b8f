"""Pseudo-labels of coloured blocks, compared with what the segmenter itself gives."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from recoseg.errors import FileError, OutputError, RecosegError
from recoseg.photos.sources import list_sources
from recoseg.pipeline.segment import segment
from recoseg.refinement.refiner import RefineSettings
from recoseg.segmentation.fusion import fusion_rule
from recoseg.segmentation.labeller import Labeller
from recoseg.storage import atomic, json_lines
from recoseg.storage.run_record import RunRecord
from recoseg.training.confidence import Ignoring, confidence_map
from recoseg.training.pseudo_labels import PseudoLabels, pseudo_label
from recoseg.training.verify import verify_pseudo_labels
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
    found = pseudo_label(
        keeping, photos, tmp_path / "out", ignoring=ignoring, ignore_background=True
    )
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
        labeller = Labeller(names, names, (), fusion_rule("sum"))

    with pytest.raises(RecosegError, match="at most 255 classes; got 256"):
        pseudo_label(Wide(), [], tmp_path)


def test_a_folder_without_manifest(tmp_path):
    with pytest.raises(RecosegError, match=r"pseudo_labels.json is missing or damaged"):
        PseudoLabels.read(tmp_path)


def keeping(**options):
    return segmenter(keep_scores=True, **options)


def contents(folder):
    """All files but the lock; without the digests of the runs."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.name == ".lock":
            continue
        data = path.read_bytes()
        if path.suffix == ".jsonl":
            lines = [json.loads(line) for line in data.splitlines()]
            data = sorted(str({**line, "run": "", "line": ""}) for line in lines)
        if path.name == "settings.json":
            data = {**json.loads(data), "run": "", "checksum": ""}
        found[path.relative_to(folder).as_posix()] = data
    return found


class Killed(BaseException):
    pass


@pytest.mark.parametrize("again", ["overwrite", "resume"])
def test_killed_before_any_file_of_a_second_run(tmp_path, photos, monkeypatch, again):
    """Other settings on fewer photos, or other limits on all: killed, then resumed."""
    second, listed = keeping(), photos
    if again == "overwrite":
        second, listed = keeping(background_threshold=0.3), photos[:2]
    ours = {"ignoring": Ignoring(0.9)}
    pseudo_label(keeping(), photos, tmp_path / "first", ignoring=Ignoring(0.5))
    pseudo_label(second, listed, tmp_path / "expected", **ours)
    step, stopped = 0, True
    while stopped:
        stopped, folder = False, tmp_path / str(step)
        shutil.copytree(tmp_path / "first", folder)
        with monkeypatch.context() as patch:
            left = [step]

            def stop(path, write, left=left, real=atomic.write_atomically):
                left[0] -= 1
                if left[0] < 0:
                    raise Killed
                real(path, write)

            patch.setattr(atomic, "write_atomically", stop)
            patch.setattr(json_lines, "write_atomically", stop)
            patch.setattr(RunRecord, "_close", lambda one: one._close_lines())
            try:
                pseudo_label(second, listed, folder, **ours, **{again: True})
            except Killed:
                stopped = True
        if (folder / "pseudo_labels.json").is_file():  # of the first run, or of the second
            assert not verify_pseudo_labels(folder).problems
        if again == "overwrite" and step < 3:  # the teacher is still the first run's
            with pytest.raises(OutputError, match="other settings"):
                pseudo_label(second, listed, folder, **ours, resume=True)
            pseudo_label(second, listed, folder, **ours, overwrite=True)
        else:
            pseudo_label(second, listed, folder, **ours, resume=True)
        assert contents(folder) == contents(tmp_path / "expected"), step
        step += 1
    assert step > 6


def test_a_folder_belongs_to_one_run(tmp_path, photos):
    pseudo_label(segmenter(), photos, tmp_path / "out")
    before = contents(tmp_path / "out")
    with pytest.raises(OutputError, match=r"pseudo-labels of an earlier run.*--overwrite"):
        pseudo_label(segmenter(), photos, tmp_path / "out")
    with pytest.raises(OutputError, match="other settings"):
        pseudo_label(segmenter(background_threshold=0.3), photos, tmp_path / "out", resume=True)
    assert contents(tmp_path / "out") == before
    pseudo_label(segmenter(), photos[:1], tmp_path / "out", overwrite=True)
    assert len(masks(tmp_path / "out")) == len(masks(tmp_path / "out", "teacher/labels")) == 1


def test_names_at_which_other_programs_split_lines(tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("talk\u2028notes", "next\u0085line", "plain"):
        scene(1, 31, 47)[0].save(tmp_path / "photos" / f"{name}.png")
    found = pseudo_label(segmenter(), listed(tmp_path), tmp_path / "out")
    assert len(found.photos) == 3
    assert PseudoLabels.read(tmp_path / "out") == found


def test_every_changed_file_is_noticed(tmp_path, photos):
    out = tmp_path / "out"
    pseudo_label(keeping(), photos, out, ignoring=Ignoring(0.5))
    found = verify_pseudo_labels(out)
    assert (found.checked, found.unchecked, found.problems) == (18, 0, ())
    for name in ("labels/0.png", "teacher/confidence/1.png", "teacher/labels/2.png"):
        whole = (out / name).read_bytes()
        for at in range(0, len(whole), 37):
            changed = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
            (out / name).write_bytes(changed)
            assert verify_pseudo_labels(out).problems
        if name.startswith("teacher"):
            with pytest.raises(FileError, match="is damaged"):
                pseudo_label(keeping(), photos, out, ignoring=Ignoring(0.5), resume=True)
            (out / name).write_bytes(whole)
            pseudo_label(keeping(), photos, out, ignoring=Ignoring(0.5), resume=True)
        (out / name).write_bytes(whole)


@pytest.mark.parametrize("name", ["/tmp/x.png", "../x.png", "labels/../../x.png", None, 3, ["x"]])
def test_a_manifest_whose_names_leave_the_folder_is_refused(tmp_path, photos, name):
    pseudo_label(segmenter(), photos, tmp_path / "out")
    path = tmp_path / "out/pseudo_labels.json"
    fields = json.loads(path.read_text())
    fields["photos"][0]["labels"] = name
    del fields["checksum"]
    path.write_text(json.dumps(fields))
    with pytest.raises(RecosegError, match="is missing or damaged"):
        PseudoLabels.read(tmp_path / "out")


@pytest.mark.parametrize("name", ["../../mine.png", "ABSOLUTE"])
def test_a_line_whose_names_leave_the_folder_overwrites_nothing(tmp_path, photos, name):
    out, mine = tmp_path / "out", tmp_path / "mine.png"
    pseudo_label(segmenter(), photos, out)
    shutil.copy(out / "teacher/labels/0.png", mine)
    before = mine.stat().st_mtime_ns
    path = out / "teacher/segmentations.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["files"]["labels"] = str(mine) if name == "ABSOLUTE" else name
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    pseudo_label(segmenter(), photos, out, resume=True)
    pseudo_label(segmenter(), photos, out, overwrite=True)
    assert mine.stat().st_mtime_ns == before


@pytest.mark.parametrize("option", ["resume", "overwrite"])
@pytest.mark.parametrize("name", ["teacher", "labels", "teacher/labels"])
def test_nothing_is_written_through_a_link(tmp_path, photos, name, option):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    pseudo_label(segmenter(), photos, out)
    (out / name).rename(elsewhere)
    (out / name).symlink_to(elsewhere)
    for path in elsewhere.rglob(".lock"):
        path.unlink()
    before = {path: path.stat() for path in elsewhere.rglob("*")}
    with pytest.raises(FileError, match="leaves the folder"):
        pseudo_label(segmenter(), photos, out, **{option: True})
    assert {path: path.stat() for path in elsewhere.rglob("*")}.keys() == before.keys()
    assert (out / "pseudo_labels.json").exists()


@pytest.mark.parametrize("name", ["pseudo_labels.json", "balance.txt", "classes.txt"])
def test_each_changed_byte_of_the_records_is_noticed(tmp_path, photos, name):
    out = tmp_path / "out"
    pseudo_label(segmenter(), photos, out)
    assert not verify_pseudo_labels(out).problems
    whole = (out / name).read_bytes()
    for at in range(0, len(whole), 1 if len(whole) < 100 else 41):
        (out / name).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        if name == "pseudo_labels.json":
            with pytest.raises(RecosegError, match="is missing or damaged"):
                verify_pseudo_labels(out)
        else:
            [problem] = verify_pseudo_labels(out).problems
            assert name in problem


def test_a_teacher_of_other_settings_is_noticed(tmp_path, photos):
    out, folder = tmp_path / "out", tmp_path / "photos"
    pseudo_label(segmenter(), photos, out)
    with pytest.raises(OutputError, match="lies in a folder of pseudo-labels"):
        segment(keeping(), folder, out / "teacher", overwrite=True)
    segment(keeping(), folder, tmp_path / "other")
    shutil.rmtree(out / "teacher")
    shutil.copytree(tmp_path / "other", out / "teacher")
    [problem] = verify_pseudo_labels(out).problems
    assert "made with other settings than the pseudo-labels" in problem
