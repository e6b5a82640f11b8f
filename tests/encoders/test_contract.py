"""What every encoder owes, whatever its backend."""

import math

import pytest
import torch

from recoseg.device import Compute
from recoseg.encoders.encoder_table import build_phi, build_retrieval, build_saliency
from recoseg.errors import RecosegError

from .conftest import BF16, photos


def assert_unit(rows: torch.Tensor, dim: int) -> None:
    torch.testing.assert_close(rows.norm(dim=dim), torch.ones(()).expand_as(rows.norm(dim=dim)))


def cosines(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cosine_similarity(a, b, dim=1)


# Least cosine of bf16 with fp32. The deep trained network of `lite` rounds more often, and ReLU6
# and the likeliest classes of ConSE have edges.
HALF = {"lite": 0.95}


@pytest.mark.parametrize("spec", ["open_clip:tiny-rn=random", "open_clip:tiny-vit=random", "lite"])
class TestImageTextContract:
    def test_images_are_unit_fp32_rows_whatever_the_batch(self, spec: str, compute: Compute):
        encoder = build_retrieval(spec, compute)
        images = photos(3, encoder.frame.size, encoder.frame.size)
        rows = encoder.embed_images(images)
        assert rows.dtype == torch.float32
        assert rows.shape == (3, encoder.info.dim)
        assert encoder.info.stride == 0
        assert_unit(rows, 1)
        alone = torch.cat([encoder.embed_images(image[None]) for image in images])
        torch.testing.assert_close(rows, alone, atol=1e-5, rtol=1e-5)

    def test_texts_are_unit_fp32_rows_whatever_the_batch(self, spec: str, compute: Compute):
        encoder = build_retrieval(spec, compute)
        texts = ["a dog", "a cat on a sofa", "sky"] * 100
        rows = encoder.embed_texts(texts)
        assert rows.dtype == torch.float32
        assert rows.shape == (300, encoder.info.dim)
        assert_unit(rows, 1)
        torch.testing.assert_close(rows[:1], encoder.embed_texts(["a dog"]), atol=1e-5, rtol=1e-5)
        with pytest.raises(RecosegError, match="at least one text"):
            encoder.embed_texts([])

    def test_random_weights_are_the_same_each_time(self, spec: str, compute: Compute):
        first = build_retrieval(spec, compute)
        images = photos(1, first.frame.size, first.frame.size)
        expected, info = first.embed_images(images), first.info
        del first
        second = build_retrieval(spec, compute)
        assert second.info == info
        assert torch.equal(second.embed_images(images), expected)

    def test_half_precision_is_close(self, spec: str, compute: Compute):
        exact, half = build_retrieval(spec, compute), build_retrieval(spec, BF16)
        images = photos(2, exact.frame.size, exact.frame.size)
        rows = half.embed_images(images)
        assert rows.dtype == torch.float32
        assert cosines(rows, exact.embed_images(images)).min() > HALF.get(spec, 0.999)

    @pytest.mark.wrong_shapes
    def test_wrong_inputs_are_refused(self, spec: str, compute: Compute):
        encoder = build_retrieval(spec, compute)
        size = encoder.frame.size
        with pytest.raises(RecosegError, match=f"expects photos of {size} x {size}"):
            encoder.embed_images(photos(1, size + 1, size))
        with pytest.raises(RecosegError, match="uint8"):
            encoder.embed_images(torch.zeros(1, 3, size, size))


DENSE = [
    (build_saliency, "open_clip:tiny-rn=random"),
    (build_saliency, "open_clip:tiny-vit=random"),
    (build_phi, "timm:vit_tiny_patch16_224=random"),
    (build_phi, "timm:deit_tiny_distilled_patch16_224=random"),
    (build_phi, "timm:resnet10t=random"),
    (build_phi, "timm:resnet10t/16=random"),
    (build_phi, "timm:resnet10t/layer3=random"),
    (build_phi, "timm:convnext_atto/layer3=random"),
    (build_saliency, "lite"),
    (build_phi, "lite"),
]


@pytest.mark.parametrize(
    ("build", "spec"), DENSE, ids=[f"{build.__name__}-{spec}" for build, spec in DENSE]
)
class TestDenseContract:
    @pytest.mark.parametrize("image_hw", [(64, 96), (45, 71), (97, 33)])
    def test_grid_is_ceil_and_output_fp32(self, build, spec, image_hw, compute: Compute):
        encoder = build(spec, compute)
        features = encoder.features(photos(2, *image_hw))
        stride = encoder.info.stride
        grid = tuple(math.ceil(side / stride) for side in image_hw)
        assert features.shape == (2, encoder.info.dim, *grid)
        assert features.dtype == torch.float32
        assert features.isfinite().all()
        if build is build_saliency:
            assert_unit(features, 1)

    def test_batch_equals_one_by_one(self, build, spec, compute: Compute):
        encoder = build(spec, compute)
        images = photos(3, 45, 71)
        alone = torch.cat([encoder.features(image[None]) for image in images])
        torch.testing.assert_close(encoder.features(images), alone, atol=1e-4, rtol=1e-4)

    def test_half_precision_is_close(self, build, spec, compute: Compute):
        images = photos(1, 64, 96)
        half = build(spec, BF16).features(images)
        assert half.dtype == torch.float32
        assert cosines(half, build(spec, compute).features(images)).min() > HALF.get(spec, 0.999)

    @pytest.mark.wrong_shapes
    def test_inputs_other_than_uint8_are_refused(self, build, spec, compute: Compute):
        with pytest.raises(RecosegError, match="uint8"):
            build(spec, compute).features(torch.zeros(1, 3, 64, 64))
