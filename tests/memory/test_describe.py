"""Pooled keys and values, areas and boxes equal loops over regions."""

import pytest
import torch

from recoseg.memory import describe
from recoseg.memory.describe import Pooling, shapes, without_small
from recoseg.regions.pooling import region_means, region_weights


def some_labels(seed, size=(5, 7), regions=4):
    return torch.randint(0, regions + 1, size, generator=torch.Generator().manual_seed(seed)).int()


def slow_mean(features, labels, region):
    cells = [
        features[:, y, x].double() / features[:, y, x].double().norm()
        for y in range(labels.shape[0])
        for x in range(labels.shape[1])
        if labels[y, x] == region
    ]
    mean = sum(cells) / len(cells)
    return mean / mean.norm()


def test_means_of_unit_features():
    features = torch.randn(3, 6, 5, 7, generator=torch.Generator().manual_seed(1)) * 3
    labels = [some_labels(seed) for seed in range(3)]
    labels[1] = torch.zeros_like(labels[1])  # a photo without regions
    got = Pooling(labels, 48)(features, 8)
    want = [
        slow_mean(one, regions, region)
        for one, regions in zip(features, labels, strict=True)
        for region in range(1, int(regions.max()) + 1)
    ]
    assert len(want) == 8
    assert (got - torch.stack(want)).abs().max() < 1e-6


def test_maps_of_another_size_are_pooled_by_weights_of_cells(monkeypatch):
    """The weights are computed once for all encoders with the same grid."""
    asked = []

    def counted(*arguments):
        asked.append(arguments[1:])
        return region_weights(*arguments)

    monkeypatch.setattr(describe, "region_weights", counted)
    labels = [some_labels(0), some_labels(1)]
    pool = Pooling(labels, 48)
    features = torch.randn(2, 4, 3, 3)
    weights = [region_weights(one, (3, 3), 16, (48, 48)) for one in labels]
    pairs = zip(features, weights, strict=True)
    expected = torch.cat([region_means(one, each) for one, each in pairs])
    torch.testing.assert_close(pool(features, 16), expected)
    pool(features + 1, 16)
    assert asked == [((3, 3), 16, (48, 48))] * 2


@pytest.mark.parametrize("patches", [36, 35])
def test_small_regions_are_left_out(patches):
    labels = torch.zeros(6, 6, dtype=torch.int32)
    labels[0, :3], labels[1, :4], labels[2:4], labels[5, 5] = 1, 2, 3, 4
    got = without_small(labels, patches)
    kept = {2: 1, 3: 2} if patches == 36 else {3: 1}
    for old in range(5):
        assert (got[labels == old] == kept.get(old, 0)).all()
    assert got.dtype == torch.int32


def test_areas_and_boxes():
    labels = some_labels(3)
    areas, boxes = shapes(labels)
    for region in range(1, 5):
        y, x = (labels == region).nonzero().T
        assert areas[region - 1] == pytest.approx(len(y) / 35)
        box = [y.min() / 5, x.min() / 7, (y.max() + 1) / 5, (x.max() + 1) / 7]
        assert boxes[region - 1].tolist() == pytest.approx([float(side) for side in box])
    areas, boxes = shapes(torch.zeros(2, 2, dtype=torch.int32))
    assert (len(areas), tuple(boxes.shape)) == (0, (0, 4))


def test_keys_do_not_depend_on_the_length_of_features():
    features = torch.randn(1, 6, 5, 7, generator=torch.Generator().manual_seed(2))
    lengths = torch.rand(1, 1, 5, 7, generator=torch.Generator().manual_seed(3)) + 0.5
    pool = Pooling([some_labels(5)], 48)
    keys = pool(features, 8)
    assert torch.allclose(keys, pool(features * lengths, 8), atol=1e-6)
    assert torch.allclose(keys.norm(dim=1), torch.ones(4))
