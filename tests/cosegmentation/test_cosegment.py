import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recoseg.cosegmentation import CosegmentationError, affinity, cosegment
from recoseg.cosegmentation.affinity import block_maxima
from recoseg.errors import RecosegError

from .literal import literal_cosegment

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, needs_cuda])]
K, C, H, W = 7, 11, 3, 5  # odd and prime, so that a transposed axis cannot pass


def make(seed=0, k=K, c=C, h=H, w=W):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(k, c, h, w, generator=generator) + 0.3
    return features, torch.rand(k, h, w, generator=generator)


def assert_same(ours, theirs, atol=1e-5):
    support, seeds, reference = theirs
    torch.testing.assert_close(ours.support.cpu(), support, atol=atol, rtol=0)
    assert ours.seeds.tolist() == seeds.tolist()
    torch.testing.assert_close(ours.reference.cpu(), reference, atol=atol, rtol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("block", ["image", "paper"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seeds", [1, 4])
def test_equals_the_literal_algorithm(device, block, weighted, seeds):
    features, weights = make()
    weights = weights if weighted else None
    ours = cosegment(
        features.to(device),
        None if weights is None else weights.to(device),
        seeds_per_image=seeds,
        block=block,
    )
    assert_same(ours, literal_cosegment(features, weights, seeds, block))


def test_normalised_mean_is_the_pseudo_codes_reference():
    features, _ = make()
    ours = cosegment(features, reference="normalised-mean", seeds_per_image=2)
    assert_same(ours, literal_cosegment(features, None, 2, normalise=True))


@pytest.mark.parametrize("shape", [(1, 2, 1, 1), (2, 3, 1, 7), (13, 5, 7, 2), (3, 17, 5, 5)])
@pytest.mark.parametrize("limits", [(1, 1), (40, 2), (200, 3), (10**6, 16)])
def test_any_tiling_gives_the_same(monkeypatch, shape, limits):
    # From one row at a time to all images in one tile.
    monkeypatch.setattr(affinity, "_TILE_ELEMENTS", limits[0])
    monkeypatch.setattr(affinity, "_TILE_IMAGES", limits[1])
    features, weights = make(3, *shape)
    assert_same(cosegment(features, weights), literal_cosegment(features, weights))


@pytest.mark.parametrize("block", ["image", "paper"])
@pytest.mark.parametrize("weights", [0.0, 1e-30, 1.0])
def test_weights_at_the_ends_of_their_range(block, weights):
    features, mixed = make()
    mixed[2:5] = weights
    mixed[0, 0, 0] = weights
    expected, _, _ = literal_cosegment(features, mixed, block=block)
    ours = cosegment(features, mixed, block=block)
    torch.testing.assert_close(ours.support, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_features(device, dtype):
    # Arithmetic on the CPU is fp32: against the literal algorithm on the *rounded* features only
    # fp32 rounding remains; against the unrounded ones, the rounding of the features: half a unit
    # in the last place of each operand, 2 * 2^-11 = 1e-3 (fp16) and 2 * 2^-8 = 8e-3 (bf16). The
    # kernel of a GPU rounds the unit patches as much again.
    features, weights = make()
    ours = cosegment(features.to(device, dtype), weights.to(device, dtype))
    rounded = literal_cosegment(features.to(dtype).float(), weights.to(dtype).float())
    exact, _, _ = literal_cosegment(features, weights)
    tolerance = 1e-3 if dtype == torch.float16 else 8e-3
    if device == "cpu":
        assert_same(ours, rounded)
    else:
        torch.testing.assert_close(ours.support.cpu(), rounded[0], atol=tolerance, rtol=0)
        tolerance *= 2
    torch.testing.assert_close(ours.support.cpu(), exact, atol=tolerance, rtol=0)


def test_autocast_does_not_lower_the_precision():
    features, weights = make()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = cosegment(features, weights)
    assert_same(ours, literal_cosegment(features, weights))


def test_double_precision_is_kept():
    features, _ = make()
    assert cosegment(features.double()).support.dtype == torch.float64


@settings(max_examples=25)
@given(st.permutations(range(5)), st.integers(0, 1000), st.booleans())
def test_image_order_is_irrelevant(order, seed, weighted):
    features, weights = make(seed, 5, 7, 2, 3)
    order = list(order)
    plain = cosegment(features, weights if weighted else None)
    mixed = cosegment(features[order], weights[order] if weighted else None)
    torch.testing.assert_close(mixed.support, plain.support[order], atol=1e-5, rtol=0)


@settings(max_examples=25)
@given(st.integers(0, 1000), st.floats(1e-20, 1e20))
def test_scale_of_features_is_irrelevant_to_support(seed, scale):
    features, weights = make(seed, 3, 7, 2, 3)
    torch.testing.assert_close(
        cosegment(features * scale, weights).support,
        cosegment(features, weights).support,
        atol=1e-5,
        rtol=0,
    )


@settings(max_examples=25)
@given(
    st.data(), st.sampled_from(["image", "paper"]), st.sampled_from([torch.float32, torch.bfloat16])
)
def test_planted_common_patch_is_found(data, block, dtype):
    k, h, w = (
        data.draw(st.integers(2, 6)),
        data.draw(st.integers(1, 5)),
        data.draw(st.integers(2, 5)),
    )
    features, _ = make(data.draw(st.integers(0, 1000)), k, 64, h, w)
    common = torch.randn(64, generator=torch.Generator().manual_seed(9))
    planted = [
        [data.draw(st.integers(0, h - 1)), data.draw(st.integers(0, w - 1))] for _ in range(k)
    ]
    for image, (y, x) in enumerate(planted):
        features[image, :, y, x] = common * (image + 1)  # alike in direction, not in length
    found = cosegment(features.to(dtype), block=block)
    assert found.seeds[:, 0].tolist() == planted
    torch.testing.assert_close(found.reference, common / common.norm(), atol=5e-3, rtol=0)


@settings(max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 60), st.integers(1, 8))
def test_affinity_is_symmetric(seed, limit, images):
    """Images of one patch each: the cosine of i with j equals that of j with i, in any tiling."""
    features, _ = make(seed, 7, 5, 1, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(affinity, "_TILE_ELEMENTS", limit)
        patch.setattr(affinity, "_TILE_IMAGES", images)
        [maxima] = block_maxima(features)
    torch.testing.assert_close(maxima, maxima.T, atol=1e-6, rtol=0)
    torch.testing.assert_close(maxima.diagonal(), torch.ones(7), atol=1e-6, rtol=0)


def test_a_patch_of_zeros_has_no_support_and_does_no_harm():
    features, _ = make()
    features[3, :, 1, 1] = 0
    support = cosegment(features).support
    assert support[3, 1, 1] == 0
    assert torch.isfinite(support).all()


def test_the_result_is_frozen_and_shaped():
    features, weights = make()
    found = cosegment(features, weights, seeds_per_image=2)
    assert found.support.shape == (K, H, W)
    assert found.seeds.shape == (K, 2, 2)
    assert found.seeds.dtype == torch.int64
    assert found.seed_features.shape == (K, 2, C)
    assert found.reference.norm().item() == pytest.approx(1)
    image, rank = 4, 1
    y, x = found.seeds[image, rank]
    assert torch.equal(found.seed_features[image, rank], features[image, :, y, x])
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.support = None


@pytest.mark.parametrize(
    ("features", "options", "message"),
    [
        (torch.ones(3, 4, 5), {}, r"shape \(k, C, h, w\).*got \(3, 4, 5\)"),
        (torch.ones(0, 4, 5, 5), {}, "without an empty axis"),
        (torch.ones(2, 4, 5, 5, dtype=torch.int64), {}, "floating-point features"),
        (torch.full((2, 4, 5, 5), torch.nan), {}, "image 0 contain NaN"),
        (torch.ones(2, 4, 5, 3), {"weights": torch.ones(2, 3, 5)}, r"\(2, 5, 3\); got \(2, 3, 5\)"),
        (torch.ones(2, 4, 5, 3), {"weights": torch.full((2, 5, 3), 1.5)}, r"\[0, 1\]; got.*1.5"),
        (torch.ones(2, 4, 5, 3), {"weights": torch.full((2, 5, 3), torch.nan)}, r"\[0, 1\]"),
        (torch.ones(2, 4, 5, 3), {"weights": torch.ones(2, 5, 3).long()}, "floating-point weights"),
        (torch.ones(2, 4, 5, 3), {"block": "row"}, "Unknown block 'row'. Valid: image, paper"),
        (torch.ones(2, 4, 5, 3), {"reference": "max"}, "Valid: mean, normalised-mean, rank-weig"),
        (torch.ones(2, 4, 5, 3), {"seeds_per_image": 16}, "1 to 15 seeds.*got 16"),
        (torch.ones(2, 4, 5, 3), {"seeds_per_image": 0}, "got 0"),
        (torch.ones(2, 4, 5, 3), {"border": -1}, "border of 0 or more"),
        (torch.zeros(2, 4, 5, 3), {}, "zero or sum to"),
    ],
)
@pytest.mark.wrong_shapes
def test_invalid_arguments_are_refused(features, options, message):
    with pytest.raises(CosegmentationError, match=message) as caught:
        cosegment(features, **options)
    assert isinstance(caught.value, RecosegError)
    assert isinstance(caught.value, ValueError)
