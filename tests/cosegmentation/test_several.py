"""Several choices of seeds from one comparison of the patches."""

import pytest
import torch

from recoseg.cosegmentation import (
    CosegmentationError,
    SeedChoice,
    affinity,
    cosegment,
    cosegment_several,
)

from .literal import literal_cosegment
from .test_cosegment import DEVICES, assert_same, make


def weightings(shape):
    """Weights over the whole range, none, ones and zeros; the first of them are small."""
    generator = torch.Generator().manual_seed(4)
    mixed = torch.rand(shape, generator=generator)
    small = 1e-6 * torch.rand(shape, generator=generator)
    holes = torch.where(mixed < 0.4, 0, torch.rand(shape, generator=generator))
    return [small, mixed, None, torch.ones(shape), holes, mixed]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shape", [(1, 2, 1, 1), (2, 3, 1, 7), (13, 5, 7, 2), (3, 17, 5, 5)])
@pytest.mark.parametrize("limits", [(1, 1), (40, 2), (10**6, 16)])
@pytest.mark.parametrize("turn", range(3))
def test_each_equals_the_literal_algorithm(monkeypatch, device, shape, limits, turn):
    """In any order, since the tiles hold the weights of the first."""
    monkeypatch.setattr(affinity, "_TILE_ELEMENTS", limits[0])
    monkeypatch.setattr(affinity, "_TILE_IMAGES", limits[1])
    features, _ = make(3, *shape)
    weights = weightings((shape[0], *shape[2:]))
    weights = weights[turn:] + weights[:turn]
    found = cosegment_several(features.to(device), [SeedChoice(one) for one in weights])
    for one, result in zip(weights, found, strict=True):
        support, _, _ = literal_cosegment(features, one)
        torch.testing.assert_close(result.support.cpu(), support, atol=1e-5, rtol=0)


def test_weights_at_the_end_of_their_range_do_not_spoil_the_others():
    """Where the first weighting is 0 or nearly, its tile still holds the cosines of the others."""
    features, mixed = make()
    for first in (torch.zeros_like(mixed), torch.full_like(mixed, 1e-30)):
        [_, found] = cosegment_several(features, [SeedChoice(first), SeedChoice(mixed)])
        assert_same(found, literal_cosegment(features, mixed))


def test_each_choice_has_its_own_settings():
    features, mixed = make()
    regions = torch.randint(0, 4, mixed.shape, generator=torch.Generator().manual_seed(2)).int()
    compared, _ = make(8)
    options = [
        {"weights": mixed, "seeds_per_image": 2},
        {"weights": mixed, "block": "paper", "reference": "normalised-mean"},
        {"weights": mixed.flip(0), "weigh_seeds": True, "border": 1, "reference": "winner"},
        {},
    ]
    both = {"compared": compared, "regions": regions}
    found = cosegment_several(features, [SeedChoice(**choice) for choice in options], **both)
    for choice, result in zip(options, found, strict=True):
        alone = cosegment(features, **choice, **both)
        assert_same(result, (alone.support, alone.seeds, alone.reference))
        torch.testing.assert_close(result.seed_features, alone.seed_features)


def test_double_precision_is_kept():
    features, mixed = (part.double() for part in make())
    flipped = mixed.flip(0)
    [_, found] = cosegment_several(features, [SeedChoice(mixed), SeedChoice(flipped)])
    alone = cosegment(features, flipped)
    assert found.support.dtype == torch.float64
    torch.testing.assert_close(found.support, alone.support, atol=1e-14, rtol=0)


def test_the_weights_of_each_choice_are_checked():
    features, mixed = make()
    with pytest.raises(CosegmentationError, match=r"Expected weights in \[0, 1\]"):
        cosegment_several(features, [SeedChoice(mixed), SeedChoice(2 + mixed)])
