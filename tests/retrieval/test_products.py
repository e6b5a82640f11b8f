"""Fast products stay within their error bounds; products that round too much are not used."""

import gc
import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recoseg.retrieval import products as module
from recoseg.retrieval.products import products


def hard_rows(dim, words):
    """Unit rows: random, parallel to words, with one non-zero number, and with mixed magnitudes."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(1500, dim, generator=generator)
    constant = torch.ones(3, dim) * torch.tensor([[1.0], [-1.0], [0.3]])
    mixed = drawn[:200] * 10 ** (-4 * torch.rand(200, dim, generator=generator))
    some = torch.cat([drawn, words, -words, constant, mixed, torch.eye(dim)[:5]])
    return F.normalize(some, dim=1)


@pytest.mark.parametrize("dim", [7, 512, 1664])
@pytest.mark.parametrize("count", [1, 2, 3, 40])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_errors_are_bounds(dim, count, dtype):
    words = F.normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(1)), dim=1)
    words[0] = F.normalize(torch.ones(dim), dim=0)
    rows = hard_rows(dim, words).to(dtype)
    exact = rows.double() @ words.double().T
    found = products(words)
    for product in found:
        cosines = product.cosines(rows)
        assert cosines.dtype == torch.float32
        assert float((cosines - exact).abs().max()) <= product.error
        assert bool((cosines >= product.lowest(exact.float().flatten()).view_as(cosines)).all())
    assert [p.error for p in found] == sorted((p.error for p in found), reverse=True)
    assert found[-1].error < 3e-4


def test_half_precision_sums_are_detected():
    """The check refuses sums that are rounded after every step."""

    def rounding(rows, words, dtype):
        total = np.zeros(len(rows), np.float16)
        for column in range(rows.shape[1]):
            total += (rows[:, column] * words[column]).astype(np.float16)
        return torch.from_numpy(total).to(dtype)

    seen = []

    def mv(rows, word):
        seen.append(rows.shape)
        return rounding(rows.numpy(), word.numpy(), torch.float16)

    real = torch.mv
    try:
        torch.mv = mv
        assert not module._adds_in_single.__wrapped__(torch.float16)
    finally:
        torch.mv = real
    assert len(seen) == 1
    assert module._adds_in_single.__wrapped__(torch.float32)


def test_without_fast_products_the_exact_one_is_used(monkeypatch):
    monkeypatch.setattr(module, "_adds_in_single", lambda dtype: False)
    for count in (1, 30):
        [only] = products(F.normalize(torch.randn(count, 16), dim=1))
        assert only.error < 1e-4


@pytest.mark.parametrize("count", [1, 5])
def test_buffers_go_with_the_products(count):
    words = F.normalize(torch.randn(count, 16), dim=1)
    rows = F.normalize(torch.randn(5000, 16), dim=1).half()
    gc.collect()
    gc.disable()
    try:
        found = products(words)
        for product in found:
            assert product.cosines(rows).shape == (5000, count)
        held = [weakref.ref(product.cosines) for product in found]
        del found, product
        assert [one() for one in held] == [None] * len(held)
    finally:
        gc.enable()
