"""Memory scores equal loops over regions, neighbours, classes and words."""

import pytest
import torch

from recoseg.errors import ConceptError
from recoseg.memory.scores import class_scores, memory_scores


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cosine(a, b):
    return float(a.double() @ b.double() / (a.double().norm() * b.double().norm()))


def slow_class_score(value, positive, negative):
    best = max(cosine(value, word) for word in positive)
    if negative is None or not len(negative):
        return best
    return best - max(0.0, max(cosine(value, word) for word in negative) - best)


WORDS = [
    [(draw(2, 5, seed=1), draw(3, 5, seed=2)), (draw(1, 5, seed=3), None)],
    [(draw(2, 4, seed=4), draw(0, 4)), (draw(3, 4, seed=5), draw(1, 4, seed=6))],
]
FOUND = torch.tensor([[True] * 6, [True, False, True, False, False, False], [False] * 6])


def test_scores():
    values = [draw(3, 6, 5, seed=7), draw(3, 6, 4, seed=8)]
    got = memory_scores(values, WORDS, FOUND)
    for region in range(3):
        for item in range(2):
            total = 0.0
            for rows, words in zip(values, WORDS, strict=True):
                kept = [rows[region, at] for at in range(6) if FOUND[region, at]]
                if not kept:
                    continue
                scores = [slow_class_score(row, *words[item]) for row in kept]
                total += sum(scores) / len(scores)
            assert float(got[region, item]) == pytest.approx(total / 2, abs=1e-6)


def test_one_word_per_class_and_all_found():
    rows = draw(3, 6, 5, seed=9)
    words = [(draw(1, 5, seed=seed), None) for seed in range(4)]
    got = memory_scores([rows], [words])
    assert tuple(got.shape) == (3, 4)
    assert got.equal(memory_scores([rows], [words], torch.ones(3, 6, dtype=torch.bool)))
    assert float(got[1, 2]) == pytest.approx(
        sum(cosine(row, words[2][0][0]) for row in rows[1]) / 6, abs=1e-6
    )


@pytest.mark.wrong_shapes
def test_refusals():
    rows = draw(3, 6, 5)
    with pytest.raises(ConceptError, match="got 0 encoders"):
        memory_scores([], [])
    with pytest.raises(ConceptError, match="got 1 encoders and words of 2"):
        memory_scores([rows], WORDS)
    with pytest.raises(ConceptError, match="Class 0 has no positive word"):
        class_scores(rows, [(draw(0, 5), None)])
    with pytest.raises(ConceptError, match=r"shape \(a, 5\) for class 0; got \(2, 4\)"):
        class_scores(rows, [(draw(2, 4), None)])
