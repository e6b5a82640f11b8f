"""Search in parts equals search of the whole bit for bit, with every executor."""

import hashlib
from functools import partial

import numpy as np
import pytest
import torch

from recoseg.errors import RecosegError
from recoseg.executors import LocalExecutor
from recoseg.executors.ray import RayExecutor
from recoseg.retrieval.distributed import PartWorker, search_parts
from recoseg.retrieval.queries import Query
from recoseg.retrieval.retriever import retrieve
from recoseg.retrieval.search import merge, top_k
from tests.retrieval.test_search import same, unit, words


class Archive:
    """Rows in memory, many of them equal."""

    def __init__(self, count):
        stock = unit(40, 11, 0).astype(np.float16)
        self.rows = stock[np.random.default_rng(0).integers(0, 40, count)]

    @property
    def content(self):
        return hashlib.sha256(self.rows.tobytes()).hexdigest()

    def __len__(self):
        return len(self.rows)

    def is_selected(self, position):
        return True

    def blocks(self, *, first=0, stop=None, selected=True):
        stop = len(self) if stop is None else stop
        for at in range(first, stop, 37):
            yield at, self.rows[at : min(at + 37, stop)]

    def embeddings(self, positions):
        return torch.from_numpy(self.rows[list(positions)].astype(np.float32))

    def photo_id(self, position):
        return str(position)


def part_worker(count):
    return PartWorker(Archive(count))


QUERIES = [Query(words(2, 11, 1), words(1, 11, 2)), Query(words(1, 11, 3))]


@pytest.mark.parametrize(("place", "part"), [("local", 100), ("local", 613), ("ray", 100)])
def test_equals_the_whole(place, part, request):
    if place == "ray":
        request.getfixturevalue("cluster")
    executor = LocalExecutor() if place == "local" else RayExecutor(2)
    build = partial(part_worker, 613)
    found = search_parts(executor, build, 613, QUERIES, 50, part=part)
    assert same(found, top_k(Archive(613).blocks(), QUERIES, 50))
    assert len(found[0].scores.unique()) < 50  # there are ties


def test_retrieve_accepts_it_as_search():
    archive = Archive(300)
    search = partial(search_parts, LocalExecutor(), partial(part_worker, 300), 300, part=90)
    for skip in (False, 0.999):
        want = retrieve(archive, QUERIES, 9, skip_duplicates=skip)
        assert retrieve(archive, QUERIES, 9, skip_duplicates=skip, search=search) == want


def test_k_above_the_size_of_a_part_and_empty_archives():
    build = partial(part_worker, 5)
    found = search_parts(LocalExecutor(), build, 5, QUERIES, 50, part=2)
    assert same(found, top_k(Archive(5).blocks(), QUERIES, 50))
    assert search_parts(LocalExecutor(), build, 5, [], 50) == []
    empty = search_parts(LocalExecutor(), partial(part_worker, 0), 0, QUERIES, 50)
    assert [len(ranking.positions) for ranking in empty] == [0, 0]
    assert merge([], 3) == []


def test_workers_that_see_another_archive_are_refused():
    with pytest.raises(RecosegError, match="10 photos as on this machine; the workers found 9"):
        search_parts(LocalExecutor(), partial(part_worker, 9), 10, QUERIES, 3)
