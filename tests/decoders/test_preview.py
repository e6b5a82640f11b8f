"""Which classes a preview keeps, against a slow version; and how many pairs pass together."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recoseg.decoders.preview import Preview
from recoseg.decoders.sam3_passes import BUCKET, pairs_at_once, photos_at_once

CPU = torch.device("cpu")


def kept_slowly(values, quantile, most):
    """Those from the quantile on, by sorting; the interpolated value lies between two ranks."""
    ordered = sorted(values)
    rank = quantile * (len(values) - 1)
    low = ordered[int(rank)]
    high = ordered[min(int(rank) + 1, len(values) - 1)]
    level = low + (high - low) * (rank - int(rank))
    likely = [index for index, value in enumerate(values) if value >= level]
    likely.sort(key=lambda index: (-values[index], index))
    return sorted(likely[:most])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 16).map(lambda n: n / 16), min_size=1, max_size=60),
    st.sampled_from([0.0, 0.5, 0.75, 1.0]),
    st.integers(1, 9),
)
def test_the_most_present_classes_are_kept(values, quantile, most):
    rule = Preview(quantile=quantile, most=most)
    assert rule.chosen(torch.tensor(values)) == kept_slowly(values, quantile, most)


@pytest.mark.parametrize("classes", [46, 51, 150, 171])
def test_the_published_rule_keeps_a_fifth_and_at_most_40(classes):
    values = torch.rand(classes, generator=torch.Generator().manual_seed(classes))
    kept = Preview().chosen(values)
    below = 4 * (classes - 1) / 5  # ranks below the quantile
    assert len(kept) == min(40, classes - int(-(-below // 1)))
    assert min(values[kept]) > sorted(values.tolist())[classes - len(kept) - 1]


def test_short_lists_are_not_previewed():
    assert not Preview().is_used(40)
    assert Preview().is_used(41)
    assert Preview().to_json(40) == {}
    assert Preview().to_json(41)["preview"]["side"] == 672


def test_what_passes_together_is_bounded_by_the_memory(monkeypatch):
    monkeypatch.setenv("RECOSEG_MAX_MEMORY", "8")
    assert pairs_at_once(CPU, 1008) == int(2e9 // (350 * 1008**2)) == 5
    assert pairs_at_once(CPU, 672, masks=False) == int(2e9 // (200 * 672**2)) == 22
    assert photos_at_once(CPU, 1008) == 3
    assert pairs_at_once(CPU, 56) == BUCKET
    monkeypatch.setenv("RECOSEG_MAX_MEMORY", "0.1")
    assert pairs_at_once(CPU, 1008) == photos_at_once(CPU, 1008) == 1
    monkeypatch.setenv("RECOSEG_MAX_MEMORY", "1000")
    assert pairs_at_once(CPU, 1008) == 5
