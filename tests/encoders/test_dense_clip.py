from dataclasses import replace

import pytest
import torch
from torch import nn

from recoseg.encoders.attention.forms import vit_values
from recoseg.encoders.attention.positions import by_size
from recoseg.encoders.attention.resnet import resnet_map, resnet_values
from recoseg.encoders.attention.tower import before_last
from recoseg.encoders.clip import OpenClipEncoder
from recoseg.encoders.dense_clip import DenseClipEncoder, choose_recipe
from recoseg.encoders.normalisation import Normalisation
from recoseg.encoders.weights import combine, fingerprint
from recoseg.errors import RecosegError
from recoseg.photos.frame import Frame

from .conftest import FP32, photos, tiny_clip


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    return tiny_clip("tiny-rn").visual


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    return tiny_clip("tiny-vit").visual


def test_resnet_place_is_the_attention_pool_over_that_place_alone(resnet: nn.Module):
    inputs = torch.randn(2, 3, 96, 160)
    dense = resnet_values(resnet, inputs)
    place = resnet_map(resnet, inputs)[:, :, 1:2, 2:3]
    pool = resnet.attnpool
    kept = pool.positional_embedding
    pool.positional_embedding = nn.Parameter(torch.zeros(2, kept.shape[1]))
    try:
        # The pool sees the place and its mean, twice the same: any attention gives its value.
        torch.testing.assert_close(dense[:, :, 1, 2], pool(place), atol=1e-5, rtol=1e-5)
    finally:
        pool.positional_embedding = kept


def test_resnet_mean_is_encode_image_when_attention_is_uniform():
    clip = tiny_clip("tiny-rn")
    pool = clip.visual.attnpool
    for part in (pool.q_proj, pool.k_proj):
        part.weight.zero_()
        part.bias.zero_()
    pool.positional_embedding.zero_()
    size = clip.frame.size
    inputs = torch.randn(2, 3, size, size)
    mean = resnet_values(clip.visual, inputs).mean(dim=(2, 3))
    torch.testing.assert_close(mean, clip.model.encode_image(inputs), atol=1e-5, rtol=1e-5)


def test_vit_place_is_the_last_attention_over_that_token_alone(vit: nn.Module):
    inputs = torch.randn(2, 3, *vit.image_size)
    seen: list[torch.Tensor] = []
    blocks = vit.transformer.resblocks
    hook = blocks[-1].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        vit(inputs)
    hook.remove()
    dense = vit_values(vit, inputs)
    rows, columns = vit.grid_size
    assert dense.shape[-2:] == (rows, columns)
    for y, x in [(0, 0), (1, 3), (rows - 1, columns - 1)]:
        token = blocks[-1].ln_1(seen[0][:, 1 + y * columns + x])[:, None]
        alone, _ = blocks[-1].attn(token, token, token)
        expected = vit.ln_post(alone[:, 0]) @ vit.proj
        torch.testing.assert_close(dense[:, :, y, x], expected, atol=1e-5, rtol=1e-5)


def test_vit_class_embedding_before_the_last_block_is_open_clips(vit: nn.Module):
    """Same tokens as open_clip: with the whole last block put back, its embedding comes out."""
    inputs = torch.randn(1, 3, *vit.image_size)
    tokens, _ = before_last(vit, inputs)
    pooled = vit.ln_post(vit.transformer.resblocks[-1](tokens))[:, 0] @ vit.proj
    torch.testing.assert_close(pooled, vit(inputs), atol=1e-5, rtol=1e-5)


def test_positions_at_the_native_grid_are_themselves_and_constants_stay():
    positions = torch.randn(1 + 3 * 5, 4)
    assert by_size(positions, (3, 5), (3, 5)) is positions
    flat = torch.cat([positions[:1], torch.full((15, 4), 2.5)])
    larger = by_size(flat, (3, 5), (7, 11))
    assert larger.shape == (1 + 77, 4)
    assert torch.equal(larger[0], flat[0])
    torch.testing.assert_close(larger[1:], torch.full((77, 4), 2.5))


def test_positions_keep_rows_and_columns_apart():
    rows = torch.arange(3.0)[:, None].expand(3, 5).reshape(-1, 1)
    resampled = by_size(torch.cat([torch.zeros(1, 1), rows]), (3, 5), (6, 10))
    plane = resampled[1:].reshape(6, 10)
    assert (plane[:, :1] == plane).all()
    assert (plane.diff(dim=0) >= 0).all()


def test_encoders_of_one_model_share_texts_but_not_identity():
    clip = tiny_clip("tiny-rn")
    whole, dense = OpenClipEncoder(clip, FP32), DenseClipEncoder(clip, FP32)
    assert torch.equal(whole.embed_texts(["a dog"]), dense.embed_texts(["a dog"]))
    assert not whole.info.same_as(dense.info)


def test_resnet_odd_sizes_are_filled_at_the_right_and_bottom_only():
    encoder = DenseClipEncoder(tiny_clip("tiny-rn"), FP32)
    image = photos(1, 64, 96)
    image[..., 50:, :] = image[..., 49:50, :]
    image[..., :, 75:] = image[..., :, 74:75]
    cropped = image[..., :50, :75]
    assert torch.equal(encoder.features(cropped), encoder.features(image))


def test_towers_without_a_value_path_are_refused():
    import open_clip

    with torch.device("meta"):
        mobile = open_clip.create_model("MobileCLIP2-S0", pretrained=None, device="meta")
    with pytest.raises(
        RecosegError, match=r"mobileclip2-s0 \(TimmModel\) cannot be a saliency encoder.*Supported"
    ):
        choose_recipe(mobile.visual, "mobileclip2-s0")


# As version 0.1 computed them, from the names of its functions. Banks hold these fingerprints.
FINGERPRINTS = {
    "tiny-rn": ("resnet_values", "65102393cde86d1d"),
    "tiny-vit": ("vit_values", "69ff6d441a0fd628"),
}


@pytest.mark.parametrize("arch", list(FINGERPRINTS))
def test_fingerprints_are_those_of_version_0_1(arch):
    clip = tiny_clip(arch)
    recipe_id, stored = FINGERPRINTS[arch]
    assert DenseClipEncoder(clip, FP32).info.fingerprint == combine(clip.fingerprint, recipe_id)
    same_weights = replace(clip, fingerprint="0123456789abcdef")
    assert DenseClipEncoder(same_weights, FP32).info.fingerprint == stored


@pytest.mark.parametrize("arch", list(FINGERPRINTS))
def test_the_names_of_functions_do_not_count(arch, monkeypatch):
    clip = tiny_clip(arch)
    before = DenseClipEncoder(clip, FP32).info
    for function in (resnet_values, vit_values):
        monkeypatch.setattr(function, "__name__", "renamed")
        monkeypatch.setattr(function, "__qualname__", "renamed")
    assert DenseClipEncoder(clip, FP32).info == before


def test_what_counts_by_its_repr_keeps_it():
    """Input statistics and frame are part of fingerprints; see `combine`."""
    assert repr(Normalisation((0.5, 0.5, 0.5), (0.2, 0.2, 0.2))) == (
        "Normalisation(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))"
    )
    assert repr(Frame(224)) == "Frame(size=224, resize='short', interpolation='bicubic')"
    settings = (True, Normalisation((0.5, 0.5, 0.5), (0.2, 0.2, 0.2)), Frame(224))
    assert fingerprint({"a": torch.arange(6.0)}, *settings) == "670a1e154c444066"
