"""Approximate search: proposals are scored exactly, recall is correct, indexes are built once."""

import json

import numpy as np
import pytest
import torch

from recoseg.errors import OutputError, RecosegError, UnknownNameError
from recoseg.retrieval.queries import Query
from recoseg.retrieval.retriever import retrieve
from recoseg.retrieval.search import top_k
from tests.retrieval.test_distributed import Archive
from tests.retrieval.test_search import unit, words

pytest.importorskip("faiss")
from recoseg.retrieval import approximate
from recoseg.retrieval.approximate import ApproximateIndex

QUERIES = [Query(words(2, 11, 1), words(1, 11, 2)), Query(words(1, 11, 3))]


class Distinct(Archive):
    def __init__(self, count, seed=0):
        self.rows = unit(count, 11, seed).astype(np.float16)


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_scores_are_exact_and_full_effort_misses_nothing(kind, tmp_path):
    archive = Distinct(900)
    index = ApproximateIndex.open(archive, tmp_path, kind, effort=1000)
    assert index.recall(QUERIES, 20) == 1
    exact = top_k(archive.blocks(), QUERIES, 20)
    for found, best in zip(index.search(QUERIES, 20), exact, strict=True):
        assert torch.equal(found.positions, best.positions)
        assert torch.equal(found.scores, best.scores)
    found = retrieve(archive, QUERIES, 20, search=index.search)
    assert found == retrieve(archive, QUERIES, 20)


def test_recall_is_the_fraction_that_was_found(tmp_path):
    archive = Distinct(900)
    index = ApproximateIndex.open(archive, tmp_path, "ivf", effort=1)
    exact = top_k(archive.blocks(), QUERIES, 20)
    hits = 0
    for found, best in zip(index.search(QUERIES, 20), exact, strict=True):
        assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
        both = set(found.positions.tolist()) & set(best.positions.tolist())
        scores = dict(zip(best.positions.tolist(), best.scores.tolist(), strict=True))
        mine = dict(zip(found.positions.tolist(), found.scores.tolist(), strict=True))
        assert all(mine[position] == scores[position] for position in both)
        hits += len(both)
    assert 0 < hits < 40
    assert index.recall(QUERIES, 20) == hits / 40


def test_it_is_built_once_and_again_when_the_archive_grows(tmp_path):
    ApproximateIndex.open(Distinct(300), tmp_path, "ivf")
    first = (tmp_path / "ivf.faiss").stat().st_mtime_ns
    ApproximateIndex.open(Distinct(300), tmp_path, "ivf")
    assert (tmp_path / "ivf.faiss").stat().st_mtime_ns == first
    grown = ApproximateIndex.open(Distinct(400), tmp_path, "ivf", effort=400)
    assert json.loads((tmp_path / "ivf.json").read_text())["photos"] == 400
    assert grown.recall(QUERIES, 30) == 1


def test_it_is_built_again_when_photos_have_changed(tmp_path):
    ApproximateIndex.open(Distinct(300), tmp_path, "ivf")
    changed = Distinct(300, seed=5)
    index = ApproximateIndex.open(changed, tmp_path, "ivf", effort=300)
    assert index.recall(QUERIES, 30) == 1


def cut(path):
    path.write_bytes(path.read_bytes()[:-50])


def flip(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + b"~~~~" + data[len(data) // 2 + 4 :])


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        flip,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"junk" * 99),
        lambda path: path.unlink(),
    ],
)
@pytest.mark.parametrize("name", ["ivf.faiss", "hnsw.faiss", "ivf.json"])
def test_damaged_files_are_built_again(tmp_path, name, damage):
    kind = name.split(".")[0]
    archive = Distinct(300)
    ApproximateIndex.open(archive, tmp_path, kind)
    damage(tmp_path / name)
    assert ApproximateIndex.open(archive, tmp_path, kind, effort=300).recall(QUERIES, 30) == 1


@pytest.mark.parametrize("text", ["[]", "null", "{", "[" * 99_999])
def test_a_crafted_record_is_replaced(tmp_path, text):
    archive = Distinct(300)
    (tmp_path / "ivf.json").write_text(text)
    (tmp_path / "ivf.faiss").write_bytes(b"junk")
    assert ApproximateIndex.open(archive, tmp_path, "ivf", effort=300).recall(QUERIES, 30) == 1


def test_a_file_of_another_size_than_recorded_is_built_again(tmp_path, monkeypatch):
    monkeypatch.setattr(approximate, "_CHECKED_BYTES", 0)
    archive = Distinct(300)
    ApproximateIndex.open(archive, tmp_path, "ivf")
    (tmp_path / "ivf.faiss").write_bytes(b"junk" * 99)
    assert ApproximateIndex.open(archive, tmp_path, "ivf", effort=300).recall(QUERIES, 30) == 1


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Cannot write the index for approximate search"):
        ApproximateIndex.open(Distinct(300), tmp_path / "file", "ivf")


def test_refusals(tmp_path):
    with pytest.raises(UnknownNameError, match="Valid: ivf, hnsw"):
        ApproximateIndex.open(Distinct(9), tmp_path, "lsh")
    with pytest.raises(RecosegError, match="archive is empty"):
        ApproximateIndex.open(Distinct(0), tmp_path, "ivf")
