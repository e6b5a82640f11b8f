"""Outlier patches are found and mended, and do not become seeds."""

import torch

from recoseg.cosegmentation import cosegment, distinctive, find_outliers, mend_outliers


def literal_outliers(photo):
    """Which cells of a photo (C, h, w) are outliers, with loops."""
    _, height, width = photo.shape
    norms = [[float(photo[:, y, x].norm()) for x in range(width)] for y in range(height)]
    ordered = sorted(norm for row in norms for norm in row)
    median = ordered[(len(ordered) - 1) // 2]
    return [[norm < 0.85 * median or norm > 1.6 * median for norm in row] for row in norms]


def around(y, x, height, width):
    return [
        (v, u)
        for v in range(max(y - 1, 0), min(y + 2, height))
        for u in range(max(x - 1, 0), min(x + 2, width))
    ]


def literal_mended(photo):
    _, height, width = photo.shape
    outlying, result = literal_outliers(photo), photo.clone()
    for y in range(height):
        for x in range(width):
            sound = [photo[:, v, u] for v, u in around(y, x, height, width) if not outlying[v][u]]
            if outlying[y][x] and sound:
                result[:, y, x] = sum(sound) / len(sound)
    return result


def photos(k=3, channels=8, height=5, width=6, seed=0):
    """Features with norms of about 1, some of which are far smaller or larger."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(k, channels, height, width, generator=generator)
    features /= features.norm(dim=1, keepdim=True)
    scales = torch.rand(k, 1, height, width, generator=generator)
    return features * torch.where(scales < 0.2, 0.5, torch.where(scales > 0.9, 2.5, 1.0))


def test_outliers_and_mending_equal_the_slow_form():
    features = photos()
    features[2, :, :3, :3] *= 0.3  # a corner without a sound neighbour
    got, mended = find_outliers(features), mend_outliers(features)
    assert 0.1 < got.float().mean() < 0.5
    for at, photo in enumerate(features):
        assert got[at].tolist() == literal_outliers(photo)
        torch.testing.assert_close(mended[at], literal_mended(photo))
    assert torch.equal(mended[2, :, 0, 0], features[2, :, 0, 0])  # none of its neighbours is sound
    torch.testing.assert_close(mend_outliers(features.half()), mended, atol=2e-3, rtol=0)


def test_features_without_outliers_stay_as_they_are():
    features = photos()
    features /= features.norm(dim=1, keepdim=True)
    assert torch.equal(mend_outliers(features), features)


def test_what_is_distinctive_equals_the_slow_form():
    features = photos(seed=1)
    k, _, height, width = features.shape
    smooth = torch.zeros_like(features)
    for at in range(k):
        for y in range(height):
            for x in range(width):
                near = [features[at, :, v, u] for v, u in around(y, x, height, width)]
                smooth[at, :, y, x] = sum(one / one.norm() for one in near) / len(near)
    mean = sum(smooth[at, :, y, x] for at in range(k) for y in range(height) for x in range(width))
    expected = smooth - (mean / (k * height * width))[:, None, None]
    torch.testing.assert_close(distinctive(features), expected)
    torch.testing.assert_close(distinctive(5 * features), expected)


def test_seeds_are_on_the_subject_and_not_on_outliers():
    """Each photo has one outlier in the same direction, and a subject that varies a little."""
    generator = torch.Generator().manual_seed(3)
    common, subject = torch.eye(24)[:2]
    features = torch.randn(6, 24, 8, 8, generator=generator) / 24**0.5
    for at in range(6):
        features[at, :, 3:6, 4:7] = (subject + 0.1 * features[at, :, 0, 0])[:, None, None]
        features[at] /= features[at].norm(dim=0)
        features[at, :, at, 1] = 0.5 * common
    plain = cosegment(features).seeds[:, 0]
    assert plain.tolist() == [[at, 1] for at in range(6)]
    mended = mend_outliers(features)
    found = cosegment(mended, compared=distinctive(mended))
    assert found.seeds[:, 0].tolist() == [[4, 5]] * 6
    assert found.reference @ subject > 0.95
