"""Search for many queries equals that for few, and a loop over all pairs."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recoseg.memory.nearest import nearest
from recoseg.retrieval.queries import Query
from recoseg.retrieval.search import top_k


def unit(count, dim, seed):
    drawn = torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))
    return F.normalize(drawn, dim=1)


def in_blocks(rows, sizes):
    start = 0
    for size in sizes:
        yield start, rows[start : start + size]
        start += size


@pytest.mark.parametrize(("count", "queries", "k"), [(5000, 3, 7), (5000, 300, 20), (9, 40, 20)])
def test_the_result_is_that_of_top_k(count, queries, k):
    rows = unit(count, 24, 1).half().numpy()
    rows[count // 2] = rows[1]  # equal scores
    asked = unit(queries, 24, 2)
    asked[0] = torch.from_numpy(rows[1]).float()
    want = top_k([(0, rows)], [Query(row[None]) for row in asked], k)
    for sizes in ([count], [1, 3, count - 4]):
        got = nearest(
            in_blocks(rows, sizes), lambda at: torch.from_numpy(rows[at]).float(), asked, k
        )
        for mine, theirs in zip(got, want, strict=True):
            assert mine.positions.equal(theirs.positions)
            assert mine.scores.equal(theirs.scores)
    assert got[0].positions[:2].tolist() == [1, count // 2]


def test_near_ties_are_told_apart():
    """Rows that differ by less than a product in half precision can see."""
    base = unit(1, 64, 3)
    rows = F.normalize(base + 3e-3 * unit(3000, 64, 4), dim=1).half().numpy()
    asked = F.normalize(base + 0.1 * unit(20, 64, 5), dim=1)
    got = nearest([(0, rows)], lambda at: torch.from_numpy(rows[at]).float(), asked, 10)
    exact = (asked.double() @ torch.from_numpy(rows).double().T).float()
    for ranking, scores in zip(got, exact, strict=True):
        order = scores.sort(descending=True, stable=True)
        assert ranking.positions.equal(order.indices[:10])


def test_rows_that_are_not_numbers_are_never_found():
    rows = unit(200, 8, 6).half().numpy()
    rows[3], rows[150] = np.nan, np.inf
    rows[7, 2] = np.nan
    asked = unit(30, 8, 7)
    got = nearest([(0, rows)], lambda at: torch.from_numpy(rows[at]).float(), asked, 300)
    for ranking in got:
        assert sorted(ranking.positions.tolist()) == sorted({*range(200)} - {3, 7, 150})


def test_bounds():
    assert nearest([], torch.tensor, torch.zeros(0, 3), 2) == []
    [empty] = nearest([], lambda at: torch.zeros(len(at), 3), unit(1, 3, 8), 2)
    assert len(empty.positions) == 0
    with pytest.raises(ValueError, match="k is 0"):
        nearest([], torch.tensor, unit(1, 3, 8), 0)
