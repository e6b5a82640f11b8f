import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recoseg.errors import RecosegError
from recoseg.photos.refs import Photo
from recoseg.regions import clusters as module
from recoseg.regions.clusters import ClusterRegions, cluster, unit_together

PIXELS = torch.zeros(3, 64, 64, dtype=torch.uint8)


def literal_clusters(points, clusters, steps):
    """k-means of one photo's points (p, C), point by point."""
    points = points.double().numpy()

    def away(a, b):
        return float(((a - b) ** 2).sum())

    mean = points.mean(0)
    first = min(range(len(points)), key=lambda i: away(points[i], mean))
    centres = [points[first]]
    while len(centres) < min(clusters, len(points)):
        far = max(range(len(points)), key=lambda i: min(away(points[i], c) for c in centres))
        centres.append(points[far])

    def assign():
        return [min(range(len(centres)), key=lambda k: away(p, centres[k])) for p in points]

    assigned = assign()
    for _ in range(steps):
        for k in range(len(centres)):
            own = [p for p, a in zip(points, assigned, strict=True) if a == k]
            if own:
                centres[k] = np.mean(own, axis=0)
        assigned = assign()
    return assigned


@pytest.mark.parametrize(("count", "clusters"), [(40, 8), (5, 8), (30, 1)])
@pytest.mark.parametrize("few", [0, 900])
def test_clusters_equal_the_definition(count, clusters, few, monkeypatch):
    monkeypatch.setattr(module, "_FEW_POINTS", few)
    torch.manual_seed(0)
    points = torch.randn(3, count, 6)
    assigned = cluster(points, clusters, 8)
    for photo in range(3):
        assert assigned[photo].tolist() == literal_clusters(points[photo], clusters, 8)


def test_a_batch_is_its_photos_one_by_one_each_time():
    torch.manual_seed(0)
    features = [torch.randn(4, 6, 5, 7), torch.randn(4, 3, 3, 4)]
    provider = ClusterRegions(4, least=2)
    together = provider.regions_of(features)
    for photo in range(4):
        alone = provider.regions(Photo(""), PIXELS, [part[photo] for part in features])
        assert alone.shape == (5, 7)
        assert torch.equal(alone, together[photo])


def test_features_of_several_phi_are_unit_vectors_of_the_first_grid():
    torch.manual_seed(0)
    first, second = 9 * torch.randn(2, 6, 4, 4), torch.randn(2, 3, 2, 3)
    joined = unit_together([first, second])
    grown = F.interpolate(F.normalize(second, dim=1), (4, 4), mode="bilinear")
    expected = F.normalize(torch.cat([F.normalize(first, dim=1), grown], 1), dim=1)
    torch.testing.assert_close(joined, expected)
    torch.testing.assert_close(unit_together([first]), F.normalize(first, dim=1))


def test_alike_patches_are_one_region_and_few_patches_are_none():
    torch.manual_seed(0)
    truth = torch.zeros(6, 6, dtype=torch.long)
    truth[:, 3:] = 1
    truth[0, 0] = 2  # one patch alone
    features = torch.eye(8)[truth].permute(2, 0, 1) + 0.01 * torch.randn(8, 6, 6)
    regions = ClusterRegions(3).regions(Photo(""), PIXELS, [features])
    assert regions[0, 0] == 0
    assert sorted(regions.unique().tolist()) == [0, 1, 2]
    assert len(regions[truth == 0].unique()) == len(regions[truth == 1].unique()) == 1


def test_without_features_there_is_an_error():
    assert ClusterRegions().needs_features
    with pytest.raises(RecosegError, match="features of phi"):
        ClusterRegions().regions(Photo(""), PIXELS)
    with pytest.raises(RecosegError, match="clusters is 0"):
        ClusterRegions(0)
