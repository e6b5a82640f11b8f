import argparse
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from recoseg.concepts import ConceptBank
from recoseg.device import Compute
from recoseg.encoders.backbones import Backbone, BackboneEncoder, create_timm, map_backbone
from recoseg.encoders.builders import parse_variant
from recoseg.encoders.bundle import EncoderInfos
from recoseg.encoders.encoder_table import TABLE, build_phi, build_saliency
from recoseg.encoders.normalisation import IMAGENET, Normalisation, to_input
from recoseg.encoders.protocols import EncoderInfo
from recoseg.encoders.weights import read_state_dict
from recoseg.errors import EncoderMismatchError, RecosegError

from .conftest import FP32, photos


def normalised(images: torch.Tensor) -> torch.Tensor:
    mean = torch.tensor(IMAGENET.mean)[:, None, None]
    std = torch.tensor(IMAGENET.std)[:, None, None]
    return (images / 255 - mean) / std


def test_padding_repeats_the_border_and_moves_nothing():
    plain = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    images = photos(1, 17, 30)
    padded = to_input(images, plain, FP32, multiple=16)
    assert padded.shape == (1, 3, 32, 32)
    assert torch.equal(padded[..., :17, :30], images / 255)
    assert (padded[..., 17:, :] == padded[..., 16:17, :]).all()
    assert (padded[..., :, 30:] == padded[..., :, 29:30]).all()


def test_cells_of_a_local_backbone_see_their_own_pixels():
    identity = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    backbone = Backbone(nn.Identity(), lambda x: F.avg_pool2d(x, 16), 3, 16, identity)
    info = EncoderInfo("mean", "none", "0" * 16, 3, 16)
    encoder = BackboneEncoder(backbone, info, FP32)
    images = photos(2, 37, 50)
    cells = encoder.features(images)
    assert cells.shape == (2, 3, 3, 4)
    for y in range(2):
        for x in range(3):
            pixels = images[..., 16 * y : 16 * y + 16, 16 * x : 16 * x + 16].float() / 255
            torch.testing.assert_close(cells[..., y, x], pixels.mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("arch", "prefix"),
    [
        ("deit_tiny_patch16_224", 1),
        ("deit_tiny_distilled_patch16_224", 2),
        ("vit_small_patch14_reg4_dinov2", 5),
        ("vit_small_patch16_dinov3", 5),
        ("beit_base_patch16_224", 1),
    ],
)
def test_vit_patches_are_timms_tokens_without_the_prefix(arch: str, prefix: int, compute: Compute):
    encoder = build_phi(f"timm:{arch}=random", compute)
    module = encoder._backbone.module
    stride = encoder.info.stride
    images = photos(1, 4 * stride, 6 * stride)
    if arch.startswith("beit"):
        images = photos(1, 224, 224)
    features = encoder.features(images)
    config = timm.get_pretrained_cfg(arch)
    mean, std = torch.tensor(config.mean), torch.tensor(config.std)
    inputs = (images / 255 - mean[:, None, None]) / std[:, None, None]
    tokens = module.fc_norm(module.forward_features(inputs))[0, prefix:]
    rows, columns = features.shape[-2:]
    assert len(tokens) == rows * columns
    for y, x in [(0, 0), (1, 2), (rows - 1, columns - 1)]:
        torch.testing.assert_close(
            features[0, :, y, x], tokens[y * columns + x], atol=1e-4, rtol=1e-4
        )


def test_published_deit_checkpoint_loads(tmp_path: Path, compute: Compute):
    """The form of DeiT's checkpoints: timm's names under `model`, with heads and options."""
    torch.manual_seed(1)
    published = timm.create_model("deit_small_distilled_patch16_224")
    path = tmp_path / "deit_s_sin_dist.pth"
    options = argparse.Namespace(lr=5e-4, data_set="SIN")
    torch.save({"model": published.state_dict(), "epoch": 3, "args": options}, path)
    encoder = build_phi(f"deit-s16-sin={path}", compute)
    assert encoder.info.weights == "file deit_s_sin_dist.pth"
    assert (encoder.info.dim, encoder.info.stride) == (384, 16)
    images = photos(1, 224, 224)
    tokens = published.eval().forward_features(normalised(images))[0, 2:]
    features = encoder.features(images)[0].flatten(1).T
    torch.testing.assert_close(features, tokens, atol=1e-4, rtol=1e-4)


def slowly(module, inputs, grid, prefix):
    """Patch tokens of a ViT; its positions are brought to the grid bicubically, no antialias."""
    rows, columns = module.patch_embed.grid_size
    table = module.pos_embed[0]
    plane = table[prefix:].T.reshape(1, -1, rows, columns)
    plane = F.interpolate(plane, grid, mode="bicubic", align_corners=False, antialias=False)
    first = [module.cls_token] + ([module.dist_token] if prefix == 2 else [])
    positions = torch.cat([table[:prefix], plane[0].flatten(1).T])
    patches = F.conv2d(inputs, module.patch_embed.proj.weight, module.patch_embed.proj.bias, 16)
    x = torch.cat([*first, patches.flatten(2).mT], dim=1) + positions
    for block in module.blocks:
        x = block(x)
    return module.norm(x)[0, prefix:].T.reshape(1, -1, *grid)


@pytest.mark.parametrize(("name", "prefix"), [("dino-s16", 1), ("deit-s16-sin", 2)])
def test_published_vits_resample_positions_without_antialias(name, prefix, compute: Compute):
    encoder = build_phi(f"{name}=random", compute)
    smooth = build_phi(f"{name}/antialias=random", compute)
    for one in (encoder, smooth):  # random positions are too small to be seen
        one._backbone.module.pos_embed.normal_(generator=torch.Generator().manual_seed(2))
    images = photos(1, 96, 144)
    expected = slowly(encoder._backbone.module, normalised(images), (6, 9), prefix)
    found = encoder.features(images)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert F.cosine_similarity(smooth.features(images), expected).min() < 0.99
    same_count = photos(1, 112, 448)  # 196 patches as at the native size, on another grid
    expected = slowly(encoder._backbone.module, normalised(same_count), (7, 28), prefix)
    torch.testing.assert_close(encoder.features(same_count), expected, atol=1e-4, rtol=1e-4)
    native = photos(1, 224, 224)
    assert torch.equal(encoder.features(native), smooth.features(native))


def test_positions_are_part_of_the_identity(compute: Compute):
    """A record of before positions were a choice opens as what it was."""
    by_size, smooth = (build_phi(f"dino-s16{end}=random", compute) for end in ("", "/antialias"))
    plain = build_phi("timm:vit_small_patch16_224.dino=random", compute)
    assert by_size.info.fingerprint != smooth.info.fingerprint == plain.info.fingerprint
    assert build_phi("dino-s16/by-size=random", compute).info.same_as(by_size.info)
    named = build_phi("timm:vit_small_patch16_224.dino/by-size=random", compute)
    assert named.info.same_as(by_size.info)
    older = replace(smooth.info, name="dino-s16")
    images = photos(1, 80, 96)
    for record, encoder in ((older, smooth), (by_size.info, by_size), (named.info, by_size)):
        again = build_phi(record, compute)
        assert again.info == record
        assert torch.equal(again.features(images), encoder.features(images))
    assert not torch.equal(by_size.features(images), smooth.features(images))
    saliency = build_saliency("open_clip:tiny-vit=random", compute)
    bank = ConceptBank((), EncoderInfos(saliency.info, saliency.info, (older,)))
    bank.check_encoders(phi=smooth.info)
    with pytest.raises(EncoderMismatchError, match=r"older than .* take --phi dino-s16/antialias"):
        bank.check_encoders(phi=by_size.info)


def test_published_vits_that_keep_timms_positions():
    kept = {row.name for row in TABLE if row.positions == "antialias" and row.name[:4] == "dino"}
    assert kept == {
        *("dinov2-s14-reg4", "dinov2-b14-reg4", "dinov2-l14-reg4"),
        *("dinov3-s16", "dinov3-b16", "dinov3-l16", "dinov3-h16plus", "dinov3-7b16"),
    }


def test_published_moco_checkpoint_loads_at_three_strides(tmp_path: Path, compute: Compute):
    """The published file: torchvision's names under `module.encoder_q.`, beside the key network."""
    torch.manual_seed(1)
    published = timm.create_model("resnet50").state_dict()
    content = {f"module.encoder_q.{k}": v for k, v in published.items() if "fc" not in k}
    content |= {
        "module.encoder_q.fc.0.weight": torch.zeros(2, 2),
        "module.encoder_k.conv1.weight": torch.zeros(2, 2),
        "module.queue": torch.zeros(2, 2),
    }
    path = tmp_path / "moco.pth.tar"
    torch.save({"epoch": 800, "arch": "resnet50", "state_dict": content}, path)
    shapes = {"": (2048, 2, 3), "/16": (2048, 4, 5), "/layer3": (1024, 4, 5)}
    seen = set()
    for variant, shape in shapes.items():
        encoder = build_phi(f"moco-v2-rn50{variant}={path}", compute)
        assert encoder.features(photos(1, 50, 70)).shape == (1, *shape)
        seen.add(encoder.info.fingerprint)
    assert len(seen) == 3
    assert torch.equal(encoder._backbone.module.conv1.weight, published["conv1.weight"])


def test_stages_are_timms_feature_maps(compute: Compute):
    encoder = build_phi("timm:resnet10t/layer2=random", compute)
    images = photos(1, 64, 96)
    reference = timm.create_model("resnet10t", features_only=True, out_indices=(2,)).eval()
    module = encoder._backbone.module
    reference.load_state_dict(module.state_dict(), strict=False)
    (expected,) = reference(normalised(images))
    torch.testing.assert_close(encoder.features(images), expected, atol=1e-4, rtol=1e-4)


def test_architectures_of_one_size_say_so(compute: Compute):
    encoder = build_phi("timm:beit_base_patch16_224=random", compute)
    with pytest.raises(RecosegError, match=r"cannot take photos of 64 x 96.*224"):
        encoder.features(photos(1, 64, 96))


def test_variants_are_checked(compute: Compute):
    assert parse_variant("", "x") == (None, None)
    with pytest.raises(RecosegError, match=r"/layer1 to /layer4.*got 'last'"):
        build_phi("timm:resnet10t/last=random", compute)
    with pytest.raises(RecosegError, match="no stage 9"):
        build_phi("timm:resnet10t/layer9=random", compute)
    with pytest.raises(RecosegError, match="Leave out '/layer3'"):
        build_phi("timm:deit_tiny_patch16_224/layer3=random", compute)
    with pytest.raises(RecosegError, match="it is no ViT and has no positions"):
        build_phi("timm:resnet10t/antialias=random", compute)
    with pytest.raises(RecosegError, match="Eva has no table of positions"):
        build_phi("timm:vit_small_patch16_dinov3/by-size=random", compute)
    with pytest.raises(RecosegError, match="Use /layer3"):
        build_phi("clip-rn50/16=random", compute)
    for arch in ("swin_tiny_patch4_window7_224", "hrnet_w18_small"):  # two ways of timm to refuse
        with pytest.raises(RecosegError, match=r"cannot build .* with an output stride"):
            create_timm(arch, 16)
    with pytest.raises(RecosegError, match="has no feature map"):
        map_backbone(nn.Linear(1, 1), IMAGENET, "linear")


def test_deit_checkpoint_of_another_size_is_refused(tmp_path: Path, compute: Compute):
    path = tmp_path / "tiny.safetensors"
    save_file(timm.create_model("deit_tiny_patch16_224").state_dict(), path)
    with pytest.raises(RecosegError, match=r"lacks 1 of .*dist_token"):
        build_phi(f"deit-s16-sin={path}", compute)
    with pytest.raises(RecosegError, match=r"expected \(1, 1, 384\), got \(1, 1, 192\)"):
        build_phi(f"dino-s16={path}", compute)


@pytest.mark.photos
def test_real_deit_tiny(deit_tiny_file: Path, compute: Compute):
    encoder = build_phi(f"timm:deit_tiny_patch16_224={deit_tiny_file}", compute)
    module = timm.create_model("deit_tiny_patch16_224").eval()
    module.load_state_dict(read_state_dict(deit_tiny_file))
    images = photos(1, 224, 224)
    tokens = module.forward_features(normalised(images))[0, 1:]
    features = encoder.features(images)[0].flatten(1).T
    torch.testing.assert_close(features, tokens, atol=1e-3, rtol=1e-3)
    larger = encoder.features(photos(1, 300, 500))
    assert larger.shape == (1, 192, 19, 32)
    assert larger.isfinite().all()
