"""From a film to a folder of masks, identities and times, and back again after an interruption."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import recoseg
from recoseg.errors import MissingExtraError, OutputError, RecosegError
from recoseg.pipeline import video as module
from recoseg.pipeline.convert import convert
from recoseg.pipeline.video import segment_video
from recoseg.video.film import open_film
from recoseg.writers.folder import OutputFolder, read_segmentations

from .films import write_film
from .squares import HW, ROWS, SIDE, ColourTracker, corners, picture, segmenter
from .tiny import tiny_sam2

COUNT = 10
TIMES = [0, 1, 2, 3, 5, 6, 7, 8, 9, 12]


@pytest.fixture(scope="module")
def colours():
    return segmenter()


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("films") / "walk.mp4"
    return write_film(path, [picture(number) for number in range(COUNT)], TIMES)


def run(colours, films, out, **options):
    return segment_video(colours, films, out, **{"tracker": ColourTracker(), "every": 4, **options})


@pytest.fixture(scope="module")
def done(colours, clip, tmp_path_factory):
    out = tmp_path_factory.mktemp("masks") / "out"
    return out, run(colours, clip, out)


def lines_of(out):
    return sorted(read_segmentations(out), key=lambda line: line["frame"])


def read(path):
    return np.asarray(Image.open(path))


def test_a_film(done, clip):
    out, report = done
    assert (report.sequences, report.frames, report.key_frames) == (1, COUNT, 3)
    assert report.identities == {str(clip): 3}
    assert (report.failures, report.notes) == ({}, [])
    lines = lines_of(out)
    assert [line["seconds"] for line in lines] == pytest.approx([time / 10 for time in TIMES])
    assert [line["key"] for line in lines] == [number in (0, 4, 8) for number in range(COUNT)]
    assert [line["name"] for line in lines[:2]] == ["walk/000000", "walk/000001"]
    names = (out / "classes.txt").read_text().split("\n")
    identities = set()
    for line in lines:
        labels, ids = (read(out / line["files"][kind]) for kind in ("labels", "identities"))
        assert labels.shape == ids.shape == HW
        assert Image.open(out / line["files"]["labels"]).mode == "P"
        assert ids.dtype.kind in "ui"
        middles = [(y + SIDE // 2, x + SIDE // 2) for y, x in corners(line["frame"])]
        assert [names[labels[place]] for place in middles] == ["green", "green", "red"]
        identities.add(tuple(int(ids[place]) for place in middles))
        for one in line["identities"]:
            mask = ids == one["id"]
            y, x = np.nonzero(mask)
            box = [x.min(), y.min(), x.max() + 1 - x.min(), y.max() + 1 - y.min()]
            assert one["box"] == box
            assert one["area"] == pytest.approx(mask.mean(), abs=1e-6)
            assert {names[label] for label in labels[mask]} == {one["class"]}
    assert len(identities) == 1
    assert len(set(*identities)) == 3
    assert recoseg.verify(out).problems == ()


def test_the_preview_has_the_film_s_times(done):
    out, report = done
    assert report.previews == [out / "previews/walk.mp4"]
    with open_film(report.previews[0]) as film:
        frames = list(film.frames())
    assert [seconds for seconds, _ in frames] == pytest.approx([time / 10 for time in TIMES])
    shown = np.asarray(frames[0][1]).astype(int)
    assert shown.shape == (*HW, 3)
    plain = np.abs(shown - picture(0)).mean((2,))
    assert plain[:, 40:70].mean() < 12  # blue is background
    assert plain[ROWS[0] + 2 : ROWS[0] + SIDE - 2, 2 : SIDE - 2].mean() > 40


def same(one, other):
    names = [path.relative_to(one) for path in one.rglob("*.png")]
    assert len(names) == 2 * COUNT
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


@pytest.mark.parametrize("finished", [0, 3, 6, COUNT - 1])
def test_an_interrupted_run_goes_on(colours, clip, done, tmp_path, monkeypatch, finished):
    write, count = OutputFolder.write, 0

    def stop(self, *given):
        nonlocal count
        if count == finished:
            raise KeyboardInterrupt
        count += 1
        return write(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(OutputFolder, "write", stop)
        with pytest.raises(KeyboardInterrupt, match="go on with --resume"):
            run(colours, clip, tmp_path / "out", previews=False)
    assert len(list((tmp_path / "out").rglob("*.png"))) == 2 * finished
    seen = []
    monkeypatch.setattr(
        module.Follower,
        "_key_frame",
        lambda self, frame, *rest, own=module.Follower._key_frame: (
            seen.append(frame.number) or own(self, frame, *rest)
        ),
    )
    report = run(colours, clip, tmp_path / "out", previews=False, resume=True)
    assert seen == [one for one in (0, 4, 8) if one >= finished or (one == 0 and not finished)]
    assert (report.frames, report.key_frames, report.identities) == (COUNT, 3, {str(clip): 3})
    assert same(done[0], tmp_path / "out")
    drop = ("stamp", "run", "line")
    own = [{k: v for k, v in line.items() if k not in drop} for line in lines_of(tmp_path / "out")]
    assert own == [{k: v for k, v in line.items() if k not in drop} for line in lines_of(done[0])]


def test_a_film_that_has_changed_is_segmented_again(colours, clip, tmp_path):
    film = shutil.copy(clip, tmp_path / "walk.mp4")
    out = tmp_path / "out"
    run(colours, film, out, previews=False)
    write_film(film, [picture(number) for number in range(3)])
    report = run(colours, film, out, previews=False, resume=True)
    assert report.frames == len(lines_of(out)) == 3
    assert len(list(out.rglob("*.png"))) == 6
    with pytest.raises(OutputError, match=r"other settings \(video\.every\)"):
        run(colours, film, out, resume=True, every=5)
    with pytest.raises(OutputError, match="earlier run"):
        run(colours, film, out)
    report = run(colours, film, out, overwrite=True)
    assert [path.name for path in (out / "previews").iterdir()] == ["walk.mp4"]
    recoseg.segment(colours, _photos(tmp_path, 1), out, overwrite=True)
    assert not (out / "previews").exists()
    assert not list(out.glob("identities/**/*.png"))


def _photos(root, count):
    folder = root / "frames"
    folder.mkdir()
    for number in range(count):
        Image.fromarray(picture(number)).save(folder / f"f{number}.png")
    return folder


def test_a_folder_of_frames_and_damaged_films(colours, tmp_path):
    folder = _photos(tmp_path, 6)
    (folder / "f2.png").write_bytes(b"no photo")
    (tmp_path / "bad.mp4").write_bytes(b"no film" * 99)
    films = [tmp_path / "bad.mp4", folder]
    report = run(colours, films, tmp_path / "out")
    assert (report.sequences, report.frames) == (2, 5)
    assert report.failures.keys() == {str(tmp_path / "bad.mp4"), str(folder / "f2.png")}
    assert "cannot be read as a film" in report.failures[str(tmp_path / "bad.mp4")]
    lines = [line for line in read_segmentations(tmp_path / "out") if "frame" in line]
    assert [(line["frame"], line["name"], line["seconds"]) for line in lines] == [
        (number, f"frames/f{number}", None) for number in (0, 1, 3, 4, 5)
    ]
    assert {tuple(one["id"] for one in line["identities"]) for line in lines} == {(1, 2, 3)}
    assert [path.name for path in (tmp_path / "out/previews").iterdir()] == ["frames.mp4"]


def test_a_tracker_by_its_name(colours, clip, tmp_path):
    folder = tiny_sam2(tmp_path / "sam2")
    report = run(colours, clip, tmp_path / "out", tracker=f"sam2={folder}", previews=False)
    assert (report.frames, report.key_frames) == (COUNT, 3)
    settings = json.loads((tmp_path / "out/settings.json").read_text())["video"]
    assert settings["tracker"]["licence"] == "Apache-2.0"
    assert settings["tracker"]["precision"] == "fp32"  # which is faster on processors
    lines = lines_of(tmp_path / "out")
    for line in lines:
        ids = read(tmp_path / "out" / line["files"]["identities"])
        assert set(np.unique(ids)) - {0} == {one["id"] for one in line["identities"]}
    assert {one["id"] for one in lines[0]["identities"]} == {1, 2, 3}


def test_what_is_refused(colours, clip, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecosegError, match="Expected a film, or a folder with its frames"):
        run(colours, tmp_path / "empty", tmp_path / "out")
    with pytest.raises(RecosegError, match="Nothing was found at"):
        run(colours, tmp_path / "none.mp4", tmp_path / "out")
    mine = tmp_path / "mine"
    (mine / "previews").mkdir(parents=True)
    with pytest.raises(OutputError, match="previews"):
        run(colours, clip, mine)
    monkeypatch.setattr(
        module, "av_package", lambda: (_ for _ in ()).throw(MissingExtraError("av", "video", "x"))
    )
    with pytest.raises(MissingExtraError):
        run(colours, clip, tmp_path / "out")
    run(colours, _photos(tmp_path, 2), tmp_path / "photos", previews=False)  # needs no extra
    assert json.loads((tmp_path / "photos/settings.json").read_text())["video"]["every"] == 4


def test_identities_are_objects_in_other_formats(done, tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    out, _ = done
    report = convert(out, "coco", tmp_path / "formats")
    assert not report.failures
    found = coco.COCO(tmp_path / "formats/coco/annotations.json")
    assert len(found.imgs) == COUNT
    for number, image in found.imgs.items():
        ids = read(out / "identities" / f"{image['file_name'].partition('.')[0]}.png")
        own = {found.annToMask(one).tobytes() for one in found.loadAnns(found.getAnnIds([number]))}
        expected = {(ids == one).astype(np.uint8).tobytes() for one in np.unique(ids) if one}
        assert len(expected) == 3
        assert expected <= own
