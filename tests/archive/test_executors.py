"""Every executor writes the same index, even if workers are killed."""

import os
import signal
from functools import partial

import pytest

from recoseg.archive.build import write_index
from recoseg.archive.index import ArchiveIndex
from recoseg.archive.worker import ShardWorker
from recoseg.executors import LocalExecutor
from recoseg.executors.ray import RayExecutor
from recoseg.photos.sources import list_sources
from tests.archive.conftest import make_folder
from tests.archive.fake_encoder import FakeEncoder
from tests.executors.losing import LosingExecutor


class MortalWorker(ShardWorker):
    """Its process is killed once, after it has embedded a certain photo and before it reports."""

    def __init__(self, victim, mark):
        super().__init__(FakeEncoder(delay=0.002), "fp32", 3, 2)
        self.victim = victim
        self.mark = mark

    def __call__(self, photos, advance):
        found = super().__call__(photos, advance)
        if any(photo.path.endswith(self.victim) for photo in photos) and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return found


def fake_worker():
    return ShardWorker(FakeEncoder(), "fp32", 3, 2)


def files(root):
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.mark.timeout(120)
def test_two_nodes_and_a_killed_worker_write_the_same_index(tmp_path, cluster):
    folder = make_folder(tmp_path / "photos", 60)
    (folder / "broken.png").write_bytes(b"no photo")
    options = {"shard_size": 5, "preset": "lite"}
    write_index([str(folder)], tmp_path / "local", fake_worker, LocalExecutor(), **options)
    mark = tmp_path / "killed"
    build = partial(MortalWorker, "photo30.png", mark)
    report = write_index([str(folder)], tmp_path / "ray", build, RayExecutor(2), **options)
    assert mark.exists()
    assert len([node for node in cluster.nodes() if node["Alive"]]) == 2
    assert (report.new, report.photos, report.failed, report.undone) == (60, 60, 1, ())
    written = files(tmp_path / "ray")
    assert len(written) > 3 * 12
    assert written == files(tmp_path / "local")


def test_unfinished_shards_are_reported_and_the_next_run_finishes_them(tmp_path):
    folder = make_folder(tmp_path / "photos", 20)
    place = tmp_path / "index"
    report = write_index([str(folder)], place, fake_worker, LosingExecutor(2), shard_size=4)
    assert report.undone == (f"4 photos of {folder}: it rained",)
    assert report.photos == len(ArchiveIndex.open(place)) == 16
    report = write_index([str(folder)], place, fake_worker, LocalExecutor(), shard_size=4)
    assert (report.new, report.photos, report.undone) == (4, 20, ())


@pytest.mark.parametrize("lanes", [1, 2])
def test_an_aborted_run_ends_its_tasks(tmp_path, lanes):
    photos = list_sources([make_folder(tmp_path / "photos", 60)])[0].photos
    encoder = FakeEncoder(delay=0.02)
    with LocalExecutor(lanes).team(lambda: ShardWorker(encoder, "fp32", 2, 2)) as team:
        results = team.run([photos[:2], photos[2:]], lambda *_, **__: None)
        assert len(next(results).photos) == 2
        results.close()
    assert 2 <= encoder.embedded < 60
