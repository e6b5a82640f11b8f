"""Streaming search equals brute force for any blocks; equal scores are ordered by position."""

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recoseg.retrieval.queries import Query
from recoseg.retrieval.search import top_k


def unit(rows, dim, seed):
    drawn = np.random.default_rng(seed).normal(size=(rows, dim))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def words(rows, dim, seed):
    return torch.from_numpy(unit(rows, dim, seed)).float() if rows else torch.empty(0, dim)


def blocks(rows, size):
    for start in range(0, len(rows), size):
        yield start, rows[start : start + size]


def brute_force(rows, query, k):
    """Sort all scores, in fp64, one word at a time."""
    wide = rows.astype(np.float64)
    best = (wide @ query.positive.double().numpy().T).max(1)
    if len(query.negative):
        worst = (wide @ query.negative.double().numpy().T).max(1)
        best = best - np.maximum(worst - best, 0)
    order = np.argsort(-best.astype(np.float32), kind="stable")[:k]
    return order, best[order]


def same(rankings, want):
    return all(
        torch.equal(a.positions, b.positions) and torch.equal(a.scores, b.scores)
        for a, b in zip(rankings, want, strict=True)
    )


@settings(max_examples=80)
@given(
    n=st.integers(1, 60),
    classes=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2)), min_size=1, max_size=5),
    k=st.integers(1, 70),
    size=st.integers(1, 61),
    distinct=st.integers(1, 60),
    seed=st.integers(0, 99),
)
def test_equals_brute_force(n, classes, k, size, distinct, seed):
    """Many rows are copies of others, so that ties are common."""
    stock = unit(distinct, 11, seed).astype(np.float16)
    rows = stock[np.random.default_rng(seed).integers(0, distinct, n)]
    queries = [
        Query(words(a, 11, seed + 7 * i + 1), words(b, 11, seed + 7 * i + 2))
        for i, (a, b) in enumerate(classes)
    ]
    for query, found in zip(queries, top_k(blocks(rows, size), queries, k), strict=True):
        positions, scores = brute_force(rows, query, k)
        assert found.positions.tolist() == positions.tolist()
        assert np.abs(found.scores.numpy() - scores).max() < 1e-6


@pytest.mark.parametrize("classes", [1, 7, 30])
def test_blocks_do_not_change_a_bit(classes):
    rows = unit(9_000, 24, 0).astype(np.float16)
    rows[1::3] = rows[0]
    queries = [Query(words(1, 24, seed)) for seed in range(classes)]
    want = top_k([(0, rows)], queries, 40)
    for query, found in zip(queries, want, strict=True):
        positions, _ = brute_force(rows, query, 40)
        assert found.positions.tolist() == positions.tolist()
    for size in (1_000, 2_048, 2_049, 8_999):
        assert same(top_k(blocks(rows, size), queries, 40), want)


@pytest.mark.parametrize("dim", [3, 64, 768])
@pytest.mark.parametrize("classes", [1, 7])
def test_ties_are_ordered_by_position(dim, classes):
    rows = np.repeat(unit(1, dim, 0), 5_000, 0).astype(np.float16)
    queries = [Query(words(1, dim, seed)) for seed in range(classes)]
    for k in (1, 50, 5_000):
        for found in top_k(blocks(rows, 700), queries, k):
            assert found.positions.tolist() == list(range(k))
            assert len(found.scores.unique()) == 1


def test_k_above_the_number_of_photos_gives_all():
    rows = unit(5, 4, 0).astype(np.float16)
    [found] = top_k(blocks(rows, 2), [Query(words(1, 4, 1))], 50)
    assert sorted(found.positions.tolist()) == list(range(5))
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    [none] = top_k([], [Query(words(1, 4, 1))], 5)
    assert len(none.positions) == len(none.scores) == 0
    assert top_k(blocks(rows, 2), [], 5) == []


def test_negative_words_lower_a_score():
    rows = np.eye(3, dtype=np.float16)
    bird, machine = torch.tensor([[0.8, 0.6, 0.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    assert top_k([(0, rows)], [Query(bird)], 1)[0].positions.tolist() == [0]
    [found] = top_k([(0, rows)], [Query(bird, machine)], 3)
    assert found.positions.tolist() == [0, 1, 2]
    assert found.scores.tolist() == pytest.approx([0.6, 0.6, 0.0], abs=1e-6)


def test_rows_that_are_not_finite_are_never_found():
    rows = unit(6, 4, 0).astype(np.float32)
    rows[1], rows[3] = np.nan, np.inf
    for k in (2, 6):
        [found] = top_k([(0, rows)], [Query(words(1, 4, 1))], k)
        assert not {1, 3} & set(found.positions.tolist())


def test_positions_may_have_gaps_and_rows_may_be_read_only():
    rows = np.eye(4, dtype=np.float16)
    rows.flags.writeable = False
    parts = [(10, rows[:2]), (90, rows[2:])]
    [found] = top_k(parts, [Query(torch.tensor([[0.0, 0.5, 0.8, 0.1]]))], 3)
    assert found.positions.tolist() == [90, 11, 91]


def test_memory_does_not_grow_with_the_archive():
    def endless(count):
        for number in range(count):
            yield 4_096 * number, unit(4_096, 16, number % 3).astype(np.float16)

    def peak(count):
        tracemalloc.start()
        top_k(endless(count), [Query(words(1, 16, 1))], 10)
        high = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return high

    assert peak(40) < 1.2 * peak(4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rows, query: top_k([(0, rows)], [query], 0), "k is 0"),
        (lambda rows, query: top_k([(0, rows[:, :3])], [query], 1), "same encoder"),
        (lambda rows, query: top_k([(5, rows), (2, rows)], [query], 1), "starts at 2"),
        (lambda rows, query: top_k([(0, rows)], [query, Query(words(1, 5, 0))], 1), "one dim"),
        (lambda rows, query: top_k([(0, rows)], [Query(words(0, 4, 0))], 1), "at least one"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call(unit(6, 4, 0).astype(np.float16), Query(words(1, 4, 1)))
