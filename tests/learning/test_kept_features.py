"""Features of a run are kept for the next one, which has them for itself."""

import os
import time

import pytest

import recoseg
from recoseg.learning import feature_store
from recoseg.learning.feature_cache import FeatureCache
from recoseg.learning.kept_features import DAYS, kept_for_next_run, say_what_is_kept

from .fakes import SIZE, Retrieval, make_archive, make_encoders

SETTINGS = {"k": 3, "image_size": SIZE, "prompts": "none", "context": ()}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RECOSEG_CACHE", str(tmp_path / "home"))
    return tmp_path / "home/learning"


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive"), Retrieval())


@pytest.fixture(scope="module")
def bank(index):
    return recoseg.learn(index, ["rose"], encoders=make_encoders(), **SETTINGS)


class FailedError(Exception):
    pass


def test_a_folder_stays_for_the_next_run(index, bank):
    def fail():
        with kept_for_next_run(index, bank) as folder:
            folders.append(folder)
            (folder / "features").touch()
            raise FailedError

    folders = []
    with pytest.raises(FailedError):
        fail()
    [folder] = folders
    with kept_for_next_run(index, bank) as again:
        assert again == folder
        assert (again / "features").exists()
    assert (folder / "features").exists()  # also of a run that has succeeded


def test_two_runs_never_share_a_folder(index, bank):
    with kept_for_next_run(index, bank) as first:
        with kept_for_next_run(index, bank) as second:
            assert second is None
        assert first.is_dir()


def test_features_that_no_run_has_used_for_long_are_removed(index, bank, home):
    old, new, other = home / ("a" * 32), home / ("b" * 32), home / "others"
    for folder in (old, new, other):
        (folder / "sub").mkdir(parents=True)
    past = time.time() - DAYS * 86_400 - 60
    for folder in (old, other):
        os.utime(folder, (past, past))
    with kept_for_next_run(index, bank):
        assert [folder.exists() for folder in (old, new, other)] == [False, True, True]


def test_learning_goes_on_where_nothing_can_be_kept(index, bank, home):
    home.parent.mkdir()
    home.write_text("a file in the way")
    with kept_for_next_run(index, bank) as folder:
        assert folder is None
    assert "--cache" in say_what_is_kept(folder)
    assert home.read_text() == "a file in the way"


def test_encoders_of_ones_own_keep_nothing(index, bank, home):
    own = recoseg.learn(index, ["rose"], encoders=make_encoders(), **SETTINGS)
    phi = own.encoders.phi[0]
    object.__setattr__(phi, "name", "my_module:Phi")
    with kept_for_next_run(index, own) as folder:
        assert folder is None
    assert not home.exists()


def test_photos_are_encoded_together_as_without_a_cache(index, tmp_path, monkeypatch):
    """What is left of an interrupted run is divided as if nothing had been kept."""
    monkeypatch.setattr(feature_store, "_BATCH", 3)
    sizes = []

    def encode(cache, positions):
        encoders = make_encoders()
        phi = encoders.phi[0]
        plain = phi.features

        def features(images):
            sizes.append(len(images))
            return plain(images)

        monkeypatch.setattr(phi, "features", features)
        with feature_store.FeatureStore([phi], SIZE, cache) as store:
            sizes.clear()
            store.fill(index, positions)
        return list(sizes)

    cache = FeatureCache(tmp_path / "cache", 10**8, "fp32")
    everything = list(range(len(index)))
    whole = encode(None, everything)
    assert encode(cache, everything[3:5]) == [2]  # of the second batch
    assert encode(cache, everything) == [3, *whole[2:], 1]


def test_a_batch_is_kept_whole_when_it_is_interrupted(index, tmp_path, monkeypatch):
    cache = FeatureCache(tmp_path / "cache", 10**8, "fp32")
    encoders = make_encoders()
    plain, calls = cache.put, []

    def put(*given):
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        plain(*given)

    monkeypatch.setattr(cache, "put", put)
    store = feature_store.FeatureStore(encoders.phi, SIZE, cache)
    with store, pytest.raises(KeyboardInterrupt):
        store.fill(index, range(4))
    info = encoders.phi[0].info
    kept = [cache.get(info, SIZE, index.photo(position).hash) for position in range(4)]
    assert all(features is not None for features in kept)
