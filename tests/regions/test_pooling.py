import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recoseg.errors import RecosegError
from recoseg.regions.pooling import region_means, region_weights, spread, vote_mode

STRIDE, GRID, INPUT = 8, (3, 4), (20, 29)  # the last cells are padded


def random_regions(hw, count=5, seed=0):
    torch.manual_seed(seed)
    regions = torch.randint(0, count + 1, hw, dtype=torch.int32)
    regions.view(-1)[: count + 1] = torch.arange(count + 1)  # all of them, and none
    return regions


def at_pixels(grid, stride, input_hw, output_hw):
    """Features of a grid at pixels, by torch: up-sampled, cropped, resized."""
    whole = F.interpolate(grid[None], scale_factor=stride, mode="bilinear", align_corners=False)
    cropped = whole[:, :, : input_hw[0], : input_hw[1]]
    if output_hw == input_hw:
        return cropped[0]
    return F.interpolate(cropped, output_hw, mode="bilinear", align_corners=False)[0]


def literal_means(maps, regions):
    """Mean over the pixels of each region, pixel by pixel."""
    sums = {}
    for y in range(regions.shape[0]):
        for x in range(regions.shape[1]):
            sums.setdefault(int(regions[y, x]), []).append(maps[:, y, x].double())
    return torch.stack([torch.stack(sums[n]).mean(0) for n in range(1, max(sums) + 1)]).float()


@pytest.mark.parametrize("output_hw", [INPUT, (33, 50), (11, 15)])
@pytest.mark.parametrize("unit", [True, False])
def test_means_equal_those_of_up_sampled_pixels(output_hw, unit):
    features = torch.randn(6, *GRID)
    regions = random_regions(output_hw)
    weights = region_weights(regions, GRID, STRIDE, INPUT)
    assert weights.shape == (5, 12)
    torch.testing.assert_close(weights.sum(1), torch.ones(5))
    means = region_means(features, weights, unit=unit)
    cells = F.normalize(features, dim=0) if unit else features
    expected = literal_means(at_pixels(cells, STRIDE, INPUT, output_hw), regions)
    expected = F.normalize(expected, dim=1) if unit else expected
    torch.testing.assert_close(means, expected, rtol=1e-4, atol=1e-5)


def test_regions_on_the_grid_itself_mix_no_cells():
    features = torch.randn(6, *GRID)
    regions = random_regions(GRID, 3)
    weights = region_weights(regions, GRID, 1, GRID)
    means = region_means(features, weights, unit=False)
    torch.testing.assert_close(means, literal_means(features, regions))


def test_a_photo_of_none_has_no_rows():
    weights = region_weights(torch.zeros(20, 29, dtype=torch.int32), GRID, STRIDE, INPUT)
    assert region_means(torch.randn(6, *GRID), weights).shape == (0, 6)


def test_another_grid_is_refused():
    weights = region_weights(random_regions(INPUT), GRID, STRIDE, INPUT)
    with pytest.raises(RecosegError, match="features of 12 cells"):
        region_means(torch.randn(6, 4, 4), weights)


def test_scores_spread_to_their_pixels():
    regions = random_regions((5, 7))
    scores = torch.randn(3, 5)
    own = torch.randn(3, 5, 7)
    constant, kept = spread(scores, regions, -2.5), spread(scores, regions, own)
    for y in range(5):
        for x in range(7):
            region = int(regions[y, x])
            assert torch.equal(
                constant[:, y, x], scores[:, region - 1] if region else torch.full((3,), -2.5)
            )
            assert torch.equal(kept[:, y, x], scores[:, region - 1] if region else own[:, y, x])


@pytest.mark.parametrize("seed", range(5))
def test_the_most_frequent_label_wins_and_of_equal_ones_the_smallest(seed):
    regions = random_regions((6, 6), 6, seed)
    labels = torch.randint(0, 4, (6, 6)) * 85  # up to 255, with gaps
    voted = vote_mode(labels, regions)
    for y in range(6):
        for x in range(6):
            region = int(regions[y, x])
            if region == 0:
                assert voted[y, x] == labels[y, x]
                continue
            found, counts = np.unique(labels[regions == region].numpy(), return_counts=True)
            assert voted[y, x] == found[counts.argmax()]  # NumPy's is the first of equal ones


def test_a_vote_without_regions_changes_nothing():
    regions = torch.zeros(4, 5, dtype=torch.int32)
    labels = torch.randint(0, 3, (4, 5))
    assert torch.equal(vote_mode(labels, regions), labels)
