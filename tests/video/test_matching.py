from collections import deque
from itertools import permutations

import numpy as np
import pytest

from recoseg.video.matching import instances_in, overlaps, same_instances


@pytest.fixture
def random():
    return np.random.default_rng(3)


def flooded(labels, ignored):
    """The connected parts of a label map as sets of pixels, by a search from pixel to pixel."""
    seen, parts = set(), []
    height, width = labels.shape
    for start in np.ndindex(labels.shape):
        if start in seen or labels[start] == ignored:
            continue
        part, waiting = {start}, deque([start])
        while waiting:
            y, x = waiting.popleft()
            for near in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                inside = 0 <= near[0] < height and 0 <= near[1] < width
                if inside and near not in part and labels[near] == labels[start]:
                    part.add(near)
                    waiting.append(near)
        seen |= part
        parts.append((int(labels[start]), part))
    return parts


def test_parts_equal_a_search_from_pixel_to_pixel(random):
    labels = random.choice([0, 1, 255], (11, 13), p=[0.4, 0.4, 0.2]).astype(np.uint8)
    expected = [part for part in flooded(labels, 255) if len(part[1]) >= 0.02 * labels.size]
    found = instances_in(labels, 255, 0.02, 99)
    assert len(found.labels) == len(expected) > 3
    own = [
        (label, set(zip(*np.nonzero(found.parts == number), strict=True)))
        for number, label in enumerate(found.labels, start=1)
    ]
    assert sorted((k, sorted(p)) for k, p in own) == sorted((k, sorted(p)) for k, p in expected)
    sizes = [len(part) for _, part in own]
    assert sizes == sorted(sizes, reverse=True)
    fewer = instances_in(labels, 255, 0.0, 2)
    assert fewer.labels == found.labels[:2]
    assert set(np.unique(fewer.parts)) == {0, 1, 2}


def test_known_instances_stay_whole(random):
    labels = np.full((6, 8), 255, np.uint8)
    labels[1:3, 1:7] = 4  # two things that touch, and one that is not known
    labels[5, :3] = 4
    labels[0, 6:] = 2
    known = np.zeros_like(labels, np.uint16)
    known[1:3, 1:4], known[1:3, 4:7] = 1, 2
    found = instances_in(labels, 255, 0.0, 9, known)
    assert found.labels == (4, 4, 4, 2)
    assert np.bincount(found.parts.ravel())[1:].tolist() == [6, 6, 3, 2]
    assert len({found.parts[1, 1], found.parts[1, 4], found.parts[5, 0], found.parts[0, 7]}) == 4
    assert ((found.parts > 0) == (labels < 255)).all()


def test_nothing_but_background():
    found = instances_in(np.full((3, 4), 255, np.uint8), 255, 0.0, 5)
    assert found.labels == ()
    assert not found.parts.any()


def test_overlaps_equal_a_loop(random):
    before, after = random.integers(0, 4, (7, 9)), random.integers(0, 6, (7, 9))
    found = overlaps(before, after, 4, 5)
    assert found.shape == (4, 5)
    for i in range(4):
        for j in range(5):
            one, other = before == i + 1, after == j + 1
            union = (one | other).sum()
            assert found[i, j] == pytest.approx((one & other).sum() / union if union else 0)
    assert (found[3] == 0).all()


@pytest.mark.parametrize("shape", [(4, 3), (3, 5), (1, 1), (0, 2)])
def test_matches_have_the_highest_sum_of_all(random, shape):
    n, m = shape
    for _ in range(20):
        iou = random.random(shape).round(3)
        before, after = random.integers(0, 2, n).tolist(), random.integers(0, 2, m).tolist()
        least = 0.3
        found = same_instances(iou, before, after, least)

        def worth(pairs, iou=iou, before=before, after=after):
            sure = [(i, j) for i, j in pairs if before[i] == after[j] and iou[i, j] >= 0.3]
            return sum(iou[pair] for pair in sure)

        wide = max(n, m)
        every = (
            [(i, j) for i, j in enumerate(order) if i < n and j < m]
            for order in permutations(range(wide))
        )
        pairs = [(i, j) for j, i in found.items()]
        assert all(before[i] == after[j] and iou[i, j] >= least for i, j in pairs)
        assert len({i for i, _ in pairs}) == len(pairs)
        assert worth(pairs) == pytest.approx(max(map(worth, every)))
