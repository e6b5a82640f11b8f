"""Near-duplicates equal those of a slow search, whatever the blocks; the best photo is kept."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recoseg.curation.archive_verdicts import identical_copies
from recoseg.curation.near_duplicates import best_first, near_duplicates

LIMIT, FLOOR = 0.97, 0.9


def photos(seed, subjects=40, copies=4, dim=17):
    """Embeddings of subjects, each with copies at several distances, float16 rows, shuffled."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(subjects, dim))
    noise = generator.normal(size=(subjects, copies, dim))
    spread = generator.uniform(0, 0.6, (subjects, copies, 1))
    rows = (centres[:, None] + spread * noise).reshape(-1, dim)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return generator.permutation(rows).astype(np.float16).astype(np.float32)


def slow(rows, order, limit, floor, alike):
    """One photo after the other, in double precision."""
    kept, found = [], {}
    for position in order.tolist():
        cosines = {k: float(rows[position].astype(np.float64) @ rows[k]) for k in kept}
        best = max(cosines, key=cosines.get, default=-1)
        cosine = cosines.get(best, -1)
        is_copy = cosine > limit or (cosine > floor and alike(position, best))
        found[position] = (best, cosine, is_copy) if cosine > floor else (-1, 0.0, False)
        if not is_copy:
            kept.append(position)
    return found


@pytest.mark.parametrize("block", [7, 64, 2048])
@pytest.mark.parametrize(("seed", "modulus"), [(0, 3), (1, 1)])
def test_equals_the_slow_search(seed, block, modulus):
    rows = photos(seed)
    order = np.random.default_rng(seed + 10).permutation(len(rows))[:-3]  # three are not judged
    told = []

    def alike(one, other):  # without any pattern
        return (one * other + one) % modulus == 1

    read = lambda at: torch.from_numpy(rows[at])  # noqa: E731
    found = near_duplicates(read, order, len(rows), LIMIT, FLOOR, alike, told.append, block)
    expected = slow(rows, order, LIMIT, FLOOR, alike)
    assert 20 < sum(is_copy for _, _, is_copy in expected.values()) < len(rows) - 20
    for position, (kept, cosine, is_copy) in expected.items():
        assert (found.kept[position], found.is_copy[position]) == (kept, is_copy)
        assert found.cosine[position] == pytest.approx(cosine, abs=1e-6)
    judged = np.isin(np.arange(len(rows)), order)
    assert (found.kept[~judged] == -1).all()
    assert sum(told) == len(order)


def test_a_chain_of_near_duplicates_is_no_near_duplicate():
    angles = np.arange(9) * 0.2  # each is like the next one only
    rows = torch.tensor(np.stack([np.cos(angles), np.sin(angles)], 1), dtype=torch.float32)
    found = near_duplicates(lambda at: rows[at], np.arange(9), 9, 0.97)
    assert found.is_copy.tolist() == [False, True] * 4 + [False]
    assert found.kept.tolist() == [-1, 0, -1, 2, -1, 4, -1, 6, -1]


def test_many_equal_photos_leave_one():
    rows = torch.ones(50, 3) / 3**0.5
    found = near_duplicates(lambda at: rows[at], np.arange(49, -1, -1), 50, 0.99, block=8)
    assert found.kept.tolist() == [49] * 49 + [-1]


@pytest.mark.parametrize(("limit", "floor"), [(1.1, 0.9), (0.9, 0.95), (0.5, -2)])
def test_bounds_are_checked(limit, floor):
    with pytest.raises(ValueError, match="Expected -1 <= floor <= limit <= 1"):
        near_duplicates(lambda at: torch.ones(len(at), 2), np.arange(2), 2, limit, floor)


@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.sampled_from([0.1, 0.2, float("nan")]), st.integers(1, 3)),
        max_size=12,
    )
)
def test_the_largest_then_the_sharpest_comes_first(values):
    pixels, sharpness, size = (
        (np.array(part, float) for part in zip(*values, strict=True)) if values else [[]] * 3
    )
    found = best_first(np.array(pixels), np.array(sharpness), np.array(size)).tolist()

    def rank(at):
        known = -1.0 if np.isnan(sharpness[at]) else sharpness[at]
        return (-pixels[at], -known, -size[at], at)

    assert found == sorted(range(len(values)), key=rank)


def test_identical_copies_leave_the_first_of_the_order():
    found = identical_copies(["a", "b", "a", "", "", "a"], np.array([2, 5, 0, 1, 4, 3]))
    assert found.kept.tolist() == [2, -1, -1, -1, -1, 2]
    assert found.is_out.tolist() == [True, False, False, False, False, True]
