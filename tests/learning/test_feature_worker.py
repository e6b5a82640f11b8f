"""Features computed by the workers of an executor give the same bank as this process."""

import os
import signal
from dataclasses import replace
from functools import partial

import pytest
import torch

from recoseg.classes import parse_classes
from recoseg.device import resolve_compute
from recoseg.encoders.bundle import Encoders
from recoseg.encoders.encoder_table import build_phi
from recoseg.errors import EncoderMismatchError, RecosegError
from recoseg.executors import LocalExecutor
from recoseg.executors.ray import RayExecutor
from recoseg.learning.feature_cache import FeatureCache
from recoseg.learning.feature_store import FeatureStore
from recoseg.learning.feature_worker import (
    Extraction,
    FeatureRequest,
    FeatureTask,
    FeatureWorker,
    dense_worker,
)
from recoseg.learning.learner import learn_bank
from recoseg.photos.refs import Photo
from tests.executors.losing import LosingExecutor

from .fakes import SIZE, Phi, Retrieval, Saliency, make_archive, make_encoders
from .test_feature_cache import same_banks
from .test_learner import settings

CLASSES = parse_classes(["rose", "grass", "sea"])
TINY = "timm:test_vit=random"


def tiny():
    return build_phi(TINY, resolve_compute("cpu", "fp32"))


class MortalWorker(FeatureWorker):
    """Its process is killed once, after it has encoded a certain photo and before it reports."""

    def __init__(self, victim, mark):
        super().__init__([tiny(), Saliency()], "fp32", 1)
        self.victim = victim
        self.mark = mark

    def __call__(self, task, advance):
        found = super().__call__(task, advance)
        is_its_turn = any(request.photo.path.endswith(self.victim) for request in task.requests)
        if is_its_turn and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return found


class ClosedExecutor(LocalExecutor):
    def team(self, build):
        raise AssertionError("no task was expected")


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive"), Retrieval())


@pytest.mark.timeout(120)
def test_ray_and_a_killed_worker_give_the_same_bank(tmp_path, cluster, one_thread):
    index = make_archive(tmp_path / "archive", Retrieval())
    (tmp_path / "archive" / "photos" / "sea0.png").write_bytes(b"no photo any more")
    encoders = Encoders(Retrieval(), Saliency(), (tiny(),))
    chosen = settings(k=len(index))
    local = learn_bank(index, CLASSES, encoders, chosen)
    mark = tmp_path / "killed"
    extraction = Extraction(partial(MortalWorker, "rose3.png", mark), RayExecutor(2))
    cache = FeatureCache(tmp_path / "cache", 10**7, "fp32")
    spread = learn_bank(index, CLASSES, encoders, chosen, extraction=extraction, cache=cache)
    assert mark.exists()
    assert len(spread.classes[0].retrieved) == len(index) - 1
    same_banks(local, spread)
    closed = Extraction(partial(FeatureWorker, []), ClosedExecutor())
    positions = [at for at in range(len(index)) if "sea0" not in index.path(at)]
    with FeatureStore([encoders.phi[0], encoders.saliency], SIZE, cache, closed) as store:
        store.fill(index, positions)
        assert all(index.photo_id(at) in store for at in positions)


def test_photos_of_a_failed_task_are_failures(index, caplog):
    encoders = make_encoders()
    extraction = Extraction(partial(FeatureWorker, [Phi(), Saliency()]), LosingExecutor(0))
    with FeatureStore([encoders.phi[0], encoders.saliency], SIZE, extraction=extraction) as store:
        store.fill(index, range(len(index)))
        assert store.failures == {index.path(at): "it rained" for at in range(16)}
        held = [index.photo_id(at) in store for at in range(len(index))]
        assert held == [False] * 16 + [True] * (len(index) - 16)
    bank = learn_bank(index, CLASSES, encoders, settings(k=len(index)), extraction=extraction)
    assert len(bank.classes[0].retrieved) == len(index) - 16
    assert caplog.text.count("it rained") == 16


def test_workers_with_other_encoders_or_precision_are_refused(index, tmp_path):
    encoders = [Phi(), Saliency()]

    def fill(workers, precision, cache=None):
        extraction = Extraction(partial(FeatureWorker, workers, precision), LocalExecutor())
        with FeatureStore(encoders, SIZE, cache, extraction) as store:
            store.fill(index, [0])
            return index.photo_id(0) in store

    with pytest.raises(EncoderMismatchError, match=r"fake-phi \(eeee.*Expected fake-phi \(cccc"):
        fill([Phi("e" * 16), Saliency()], "fp32")
    with pytest.raises(EncoderMismatchError, match=r"Expected fake-saliency"):
        fill([Phi()], "fp32")
    cache = FeatureCache(tmp_path / "cache", 10**6, "fp32")
    with pytest.raises(RecosegError, match=r"compute in fp32, as the cache does; got bf16"):
        fill([Phi(), Saliency()], "bf16", cache)
    assert fill([Saliency(), Phi()], "fp32", cache)  # their order does not matter
    assert fill([Phi(), Saliency()], "bf16")


def test_a_worker_s_result(index):
    phi, saliency = Phi(), Saliency()
    keys = phi.info.key, saliency.info.key
    first = FeatureRequest(index.photo(0))
    second = FeatureRequest(index.photo(1), frozenset(keys[:1]))
    stale = FeatureRequest(replace(second.photo, hash="0" * 32), frozenset(keys))
    gone = FeatureRequest(Photo("/no/such/photo.png"))
    steps = []
    worker = FeatureWorker([phi, saliency], "fp32", 2)
    assert worker.identity.encoders == (phi.info, saliency.info)
    found = worker(
        FeatureTask((first, gone, second, stale), keys, SIZE),
        lambda count=1, *, failed=0: steps.append((count, failed)),
    )
    assert steps == [(4, 1)]
    assert found[1].photo.failure == "cannot be read: no such file"
    assert [item.features.keys() for item in (found[0], found[2], found[3])] == [
        set(keys),
        {keys[1]},
        set(keys),  # its bytes have changed, so no features are known
    ]
    assert [found[0].photo.hash, found[2].photo.hash] == [index.photo(at).hash for at in (0, 1)]
    assert found[3].photo.hash == index.photo(1).hash
    assert found[0].features[keys[0]].shape == (29, 6, 6)
    assert found[0].features[keys[1]].shape == (3, 4, 4)
    assert found[0].features[keys[0]].dtype == "float16"


def test_a_worker_of_encoders_by_name():
    worker = dense_worker(TINY, None, device="cpu", precision="fp32", threads=1)
    assert worker.identity.encoders == (tiny().info,)
    assert worker.identity.precision == "fp32"
