"""Evaluations are continued: only what has changed is computed again."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recoseg.errors import RecosegError
from recoseg.evaluation.counts_file import CountsFile
from recoseg.evaluation.evaluate import evaluate, settings_of
from recoseg.evaluation.prediction_folder import PredictionFolder
from recoseg.regions.files import FileRegions
from recoseg.segmentation.voting import Voting
from tests.evaluation.test_evaluate import NATIVE, SCENES, broken, same_scores

from .scenes import (
    dataset,
    rows,
    scene,
    segmenter,
    space,
)

SCRIPT = """
import sys, time
from dataclasses import replace
from pathlib import Path
from tests.evaluation.test_evaluate_resumed import slow_dataset, recorded
recorded(Path(sys.argv[1]), slow_dataset(delay=0.03))
"""


def slow_dataset(delay=0.0, read=None):
    data = dataset([scene(seed, 20, 30) for seed in range(40)], read=read)
    for one in data.samples:
        real = one.read_image

        def slow(real=real):
            time.sleep(delay)
            return real()

        object.__setattr__(one, "read_image", slow)
    return data


def recorded(folder, data, resume=True, overwrite=False, boundary=2, **options):
    made = rows(plain=segmenter(batch_size=2, **options))
    [settings] = settings_of(data, NATIVE, made, boundary)
    classes = len(data.space.scored)
    with CountsFile(folder, settings, classes, resume=resume, overwrite=overwrite) as counts:
        [found] = evaluate(data, NATIVE, made, boundary=boundary, counts=counts)
    return found


def finished(folder):
    path = folder / "photos.jsonl"
    return path.read_bytes().count(b"\n") if path.is_file() else 0


class TestResume:
    def test_a_killed_run_goes_on_where_it_stood(self, tmp_path):
        root = Path(__file__).parents[2]
        paths = os.pathsep.join([str(root), str(root / "src")])
        environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
        with subprocess.Popen(command, env=environment) as process:
            end = time.monotonic() + 120
            while finished(tmp_path) < 5:
                assert time.monotonic() < end
                assert process.poll() is None
                time.sleep(0.005)
            process.kill()
            assert process.wait() != 0
        done = finished(tmp_path)
        assert 5 <= done < 40
        read = []
        resumed = recorded(tmp_path, slow_dataset(read=read))
        assert read == [f"town/{number}" for number in range(done, 40)]
        [whole] = evaluate(slow_dataset(), NATIVE, rows(plain=segmenter()), boundary=2)
        assert same_scores(resumed, whole)
        assert finished(tmp_path) == 40
        again = []
        assert same_scores(recorded(tmp_path, slow_dataset(read=again)), whole)
        assert not again, "a finished evaluation reads nothing"

    def test_photos_whose_stored_regions_have_changed_are_counted_again(self, tmp_path):
        stored = tmp_path / "stored"
        stored.mkdir()
        names = [sample.name.rsplit("/", 1)[-1] for sample in dataset(SCENES).samples]
        sizes = [sample.read_image().size for sample in dataset(SCENES).samples]
        for name, size in zip(names, sizes, strict=True):
            Image.new("L", size, 1).save(stored / f"{name}.png")
        voting = Voting(FileRegions(stored))
        recorded(tmp_path, dataset(SCENES), voting=voting)
        os.utime(stored / f"{names[1]}.png", ns=(1, 1))
        read = []
        recorded(tmp_path, dataset(SCENES, read=read), voting=voting)
        assert read == [dataset(SCENES).samples[1].name]

    def test_overwriting_evaluates_all_again(self, tmp_path):
        recorded(tmp_path, dataset(SCENES))
        read = []
        recorded(tmp_path, dataset(SCENES, read=read), resume=False, overwrite=True)
        assert len(read) == len(SCENES)

    @pytest.mark.parametrize(
        ("changed", "options", "named"),
        [
            (dataset(SCENES), {"background_threshold": 0.4}, r"segment\.background_threshold"),
            (dataset(SCENES), {"boundary": 3}, "boundary_tolerance"),
            (dataset(SCENES[:4]), {}, "dataset_fingerprint, photos"),
            (dataset(SCENES, space(("red", "blue", "green"))), {}, "dataset_fingerprint"),
        ],
        ids=["segmenter", "boundary", "photos", "order of classes"],
    )
    def test_other_settings_are_refused(self, tmp_path, changed, options, named):
        recorded(tmp_path, dataset(SCENES))
        before = (tmp_path / "photos.jsonl").read_bytes()
        with pytest.raises(RecosegError, match=rf"other settings \({named}\)"):
            recorded(tmp_path, changed, **options)
        assert (tmp_path / "photos.jsonl").read_bytes() == before

    def test_photos_that_failed_are_tried_again(self, tmp_path):
        first = recorded(tmp_path, dataset(broken((1, 0, "offline"), (3, 1, "no mask"))))
        assert [image.name for image in first.failures] == ["town/1", "town/3"]
        read = []
        second = recorded(tmp_path, dataset(SCENES, read=read))
        assert read == ["town/1", "town/3"]
        [whole] = evaluate(dataset(SCENES), NATIVE, rows(), boundary=2)
        assert same_scores(second, whole)


def written_maps(folder, values):
    folder.mkdir(exist_ok=True)
    (folder / "town").mkdir(exist_ok=True)
    for number, (_, target) in enumerate(SCENES):
        Image.fromarray(np.full_like(target, values)).save(folder / f"town/{number}.png")


def test_only_photos_whose_prediction_or_files_have_changed_are_counted_again(tmp_path):
    stamps = {}
    read = []
    data = dataset(SCENES, read=read)
    for one in data.samples:
        object.__setattr__(one, "read_stamp", lambda name=one.name: stamps.get(name, "1"))
    written_maps(tmp_path / "maps", 0)

    def counted():
        read.clear()
        made = {"maps": PredictionFolder(tmp_path / "maps", data.space, NATIVE)}
        [settings] = settings_of(data, NATIVE, made)
        with CountsFile(tmp_path / "out", settings, 3, resume=True) as counts:
            [found] = evaluate(data, NATIVE, made, counts=counts)
        [whole] = evaluate(dataset(SCENES), NATIVE, made)
        np.testing.assert_array_equal(found.counts, whole.counts)
        return list(read)

    assert len(counted()) == len(SCENES)
    assert counted() == []
    path = tmp_path / "maps/town/1.png"
    Image.fromarray(np.full_like(SCENES[1][1], 2)).save(path)
    os.utime(path, ns=(1, 1))
    assert counted() == ["town/1"]
    stamps["town/2"] = "2"
    assert counted() == ["town/2"]


def test_a_float_prediction_is_left_out_with_its_reason(tmp_path):
    written_maps(tmp_path, 0)
    values = np.full(SCENES[1][1].shape, 0.5, np.float32)
    Image.fromarray(values).save(tmp_path / "town/1.png", "TIFF")
    data = dataset(SCENES)
    made = {"maps": PredictionFolder(tmp_path, data.space, NATIVE)}
    [found] = evaluate(data, NATIVE, made)
    [failed] = found.failures
    assert failed.name == "town/1"
    assert "has numbers of type float32, not integers" in failed.error
