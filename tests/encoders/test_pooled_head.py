"""Dense text features of attention-pooled heads, against the library's own head, patch by patch."""

import pytest
import timm
import torch
from torch.nn import functional as F

from recoseg.encoders.attention.pooled_head import at_grid, has_pooled_head, pooled_values
from recoseg.encoders.clip import OpenClipEncoder
from recoseg.encoders.dense_clip import DenseClipEncoder, choose_recipe
from recoseg.errors import RecosegError

from .conftest import BF16, FP32, photos, tiny_clip
from .tiny_timm import POOLED

ARCHS = sorted(POOLED)


def of_any_size(visual):
    """The same image tower, built by timm for photos of any size."""
    trunk = visual.trunk
    head = {} if trunk.num_classes == 0 else {"num_classes": trunk.num_classes}
    name = next(c["vision_cfg"]["timm_model_name"] for c in POOLED.values() if _is(c, trunk))
    model = timm.create_model(
        name, global_pool="map", dynamic_img_size=True, **({"num_classes": 0} | head)
    )
    model.load_state_dict(trunk.state_dict())
    return model.eval()


def _is(config, trunk) -> bool:
    model = timm.create_model(config["vision_cfg"]["timm_model_name"], num_classes=0)
    return type(model) is type(trunk) and model.num_prefix_tokens == trunk.num_prefix_tokens


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("size", [(40, 40), (24, 56)])
def test_each_patch_is_the_only_one_that_the_pooling_sees(arch, size):
    visual = tiny_clip(arch).visual
    model = of_any_size(visual)
    inputs = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(3))
    dense = pooled_values(visual, inputs)
    rows, columns = size[0] // 8, size[1] // 8
    assert dense.shape == (2, visual(torch.zeros(1, 3, 40, 40)).shape[1], rows, columns)
    tokens = model.forward_features(inputs)
    for y in range(rows):
        for x in range(columns):
            at = model.num_prefix_tokens + y * columns + x
            alone = model.forward_head(tokens[:, at : at + 1])
            torch.testing.assert_close(dense[:, :, y, x], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("arch", ARCHS)
def test_other_sizes_share_the_weights_and_leave_the_native_one_alone(arch):
    visual = tiny_clip(arch).visual
    trunk = visual.trunk
    inputs = torch.randn(1, 3, 40, 40, generator=torch.Generator().manual_seed(4))
    before = visual(inputs)
    assert at_grid(trunk, (5, 5)) is trunk
    other = at_grid(trunk, (3, 7))
    assert other.blocks is trunk.blocks
    other.forward_features(torch.zeros(1, 3, 24, 56))
    assert torch.equal(visual(inputs), before)
    with pytest.raises(AssertionError):  # the tower itself takes its own size only
        visual(torch.zeros(1, 3, 24, 56))


@pytest.mark.parametrize("arch", ARCHS)
def test_the_pooled_path_is_the_librarys_own(arch):
    """At the native size, from the photo on; and the patches are those that are pooled."""
    clip = tiny_clip(arch)
    images = photos(2, 40, 40)
    mean, std = torch.tensor(clip.statistics.mean), torch.tensor(clip.statistics.std)
    inputs = (images / 255 - mean[:, None, None]) / std[:, None, None]
    expected = F.normalize(clip.model.encode_image(inputs), dim=-1)
    found = OpenClipEncoder(clip, FP32).embed_images(images)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    trunk = clip.visual.trunk
    pooled = trunk.forward_head(at_grid(trunk, (5, 5)).forward_features(inputs))
    torch.testing.assert_close(F.normalize(clip.visual.head(pooled), dim=-1), expected)


@pytest.mark.parametrize("arch", ARCHS)
def test_the_encoder(arch):
    clip = tiny_clip(arch)
    assert has_pooled_head(clip.visual)
    encoder = DenseClipEncoder(clip, FP32)
    images = photos(2, 45, 71)
    features = encoder.features(images)
    assert features.shape == (2, clip.dim, 6, 9)
    assert encoder.info.stride == 8
    torch.testing.assert_close(features.norm(dim=1), torch.ones(2, 6, 9))
    assert encoder.info.fingerprint != OpenClipEncoder(clip, FP32).info.fingerprint
    half = DenseClipEncoder(tiny_clip(arch), BF16).features(images)
    assert F.cosine_similarity(half, features).min() > 0.99
    with pytest.raises(RecosegError, match="only ViTs with a class token have several forms"):
        choose_recipe(clip.visual, arch, "proxy")


@pytest.mark.parametrize("arch", ARCHS)
def test_texts_have_the_length_of_the_model(arch):
    clip = tiny_clip(arch)
    ids = clip.tokenize(["a dog", "a dog " * 100])
    assert ids.shape == (2, POOLED[arch]["text_cfg"]["context_length"])
    assert ids.shape[1] == clip.model.context_length
