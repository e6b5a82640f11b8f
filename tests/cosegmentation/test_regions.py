"""The mean of a seed's region takes the place of the seed's features."""

import pytest
import torch

from recoseg.cosegmentation import CosegmentationError, cosegment, reference_embedding


def literal_region_means(features, seeds, regions):
    """Unit means of the unit features of each seed's region, with loops."""
    rows = []
    for photo, places, labels in zip(features, seeds.tolist(), regions.tolist(), strict=True):
        for y, x in places:
            own = labels[y][x]
            members = [
                photo[:, v, u] / photo[:, v, u].norm()
                for v in range(len(labels))
                for u in range(len(labels[0]))
                if (labels[v][u] == own and own != 0) or (v, u) == (y, x)
            ]
            mean = sum(members) / len(members)
            rows.append(mean / mean.norm())
    return torch.stack(rows).view(len(features), -1, features.shape[1])


def example():
    generator = torch.Generator().manual_seed(2)
    features = 3 * torch.randn(4, 7, 5, 6, generator=generator)
    regions = torch.randint(0, 4, (4, 5, 6), generator=generator).int()
    return features, regions


@pytest.mark.parametrize("form", ["mean", "normalised-mean", "rank-weighted", "winner"])
def test_region_references_equal_the_slow_form(form):
    features, regions = example()
    plain = cosegment(features, seeds_per_image=3, reference=form)
    found = cosegment(features, seeds_per_image=3, reference=form, regions=regions)
    assert torch.equal(found.seeds, plain.seeds)
    assert torch.equal(found.support, plain.support)
    expected = literal_region_means(features, plain.seeds, regions)
    torch.testing.assert_close(found.seed_features, expected)
    torch.testing.assert_close(found.reference, reference_embedding(expected, form))
    assert not torch.allclose(found.reference, plain.reference)


def test_seeds_in_no_region_stand_for_themselves():
    features, regions = example()
    plain = cosegment(features)
    found = cosegment(features, regions=torch.zeros_like(regions))
    unit = torch.nn.functional.normalize(plain.seed_features, dim=2)
    torch.testing.assert_close(found.seed_features, unit)


@pytest.mark.wrong_shapes
def test_regions_and_compared_features_of_another_grid_are_refused():
    features, regions = example()
    with pytest.raises(CosegmentationError, match=r"regions of shape .* = \(4, 5, 6\)"):
        cosegment(features, regions=regions[:, :4])
    with pytest.raises(CosegmentationError, match=r"compare with .* = \(4, 5, 6\)"):
        cosegment(features, compared=features[:3])
