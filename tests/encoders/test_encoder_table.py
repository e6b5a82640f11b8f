import gc
import subprocess
import sys

import open_clip
import pytest
import timm
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from open_clip.transformer import QuickGELU
from PIL import Image
from safetensors.torch import save_file

from recoseg.device import Compute
from recoseg.encoders import builders
from recoseg.encoders.clip_arch import ClipArch, build_open_clip, parse_open_clip
from recoseg.encoders.clip_model import frame_of
from recoseg.encoders.dense_clip import choose_recipe
from recoseg.encoders.encoder_table import (
    TABLE,
    build_phi,
    build_retrieval,
    build_saliency,
    find_row,
    list_encoders,
)
from recoseg.encoders.normalisation import to_input
from recoseg.encoders.presets import PRESETS, preset
from recoseg.encoders.weight_sources import HubFile
from recoseg.errors import RecosegError, UnknownNameError
from recoseg.photos.images import to_frame

from .conftest import FP32, photos, tiny_clip

CLIPS = [row for row in TABLE if row.build is builders.build_clip and "phi" not in row.roles]
TIMM_ROWS = [row for row in TABLE if row.build is builders.build_timm_row]


def test_names_are_unique_and_rows_complete():
    names = [row.name for row in TABLE]
    assert len(set(names)) == len(names)
    for row in TABLE:
        assert row.licence
        assert row.roles
        assert row.source is not None or row.name.endswith(":")
    assert {e.name for e in list_encoders("phi")}.isdisjoint(e.name for e in CLIPS)


@pytest.mark.parametrize("row", CLIPS, ids=lambda row: row.name)
def test_clip_rows(row):
    """Architecture, activation, stride and source, without memory for the weights."""
    arch = ClipArch(row.arch, row.tag)
    assert row.source == arch.source
    with torch.device("meta"):
        model = build_open_clip(arch, device="meta")
    quick = arch.config.get("quick_gelu", False)
    activations = (QuickGELU, torch.nn.GELU) if quick else (torch.nn.GELU, QuickGELU)
    assert any(isinstance(m, activations[0]) for m in model.modules())
    assert not any(isinstance(m, activations[1]) for m in model.modules())
    if "saliency" not in row.roles:
        assert row.stride == 0
        return
    recipe, stride = choose_recipe(model.visual, row.name)
    assert stride == row.stride
    size = 4 * stride
    dense = recipe.compute(model.visual, torch.empty(1, 3, size, 2 * size, device="meta"))
    assert dense.shape == (1, open_clip.get_model_config(row.arch)["embed_dim"], 4, 8)
    several = "proxy" in row.form
    assert several == (recipe.id == "vit_values")


@pytest.mark.parametrize("row", CLIPS, ids=lambda row: row.name)
def test_frames_of_clip_rows_are_open_clips_own(row):
    """A photo is resized and normalised as by open_clip's transform, but for rounding."""
    arch = ClipArch(row.arch, row.tag)
    record = open_clip.get_pretrained_cfg(row.arch, row.tag)
    keys = ("mean", "std", "interpolation", "resize_mode")
    size = open_clip.get_model_config(row.arch)["vision_cfg"]["image_size"]
    config = PreprocessCfg(size=size, **{key: record[key] for key in keys if key in record})
    image = Image.fromarray(photos(1, 90, 130)[0].permute(1, 2, 0).numpy())
    expected = image_transform_v2(config, is_train=False)(image)
    frame, statistics = frame_of(arch, size)
    found = to_input(to_frame(image, frame)[None], statistics, FP32)[0]
    assert found.shape == expected.shape == (3, size, size)
    level = 1 / 255 / min(statistics.std)
    assert (found - expected).abs().max() <= 1.001 * level


@pytest.mark.parametrize("row", TIMM_ROWS, ids=lambda row: row.name)
def test_timm_rows(row):
    if not timm.is_model(row.arch):
        pytest.skip(f"timm {timm.__version__} has no {row.arch}")
    with torch.device("meta"):
        module = builders.create_timm(row.arch)
    backbone = builders._backbone(module, builders.IMAGENET, row.name, "", None)
    assert backbone.stride == row.stride
    inputs = torch.empty(1, 3, 2 * row.stride, 3 * row.stride, device="meta")
    assert backbone.extract(inputs).shape == (1, backbone.dim, 2, 3)
    if not row.tag:
        config = timm.get_pretrained_cfg(row.arch)
        assert (config.mean, config.std) == (builders.IMAGENET.mean, builders.IMAGENET.std)
        return
    config = timm.get_pretrained_cfg(f"{row.arch}.{row.tag}")
    statistics = builders.recorded_statistics(row.arch, row.tag)
    assert (statistics.mean, statistics.std) == (config.mean, config.std)
    if row.tag != "c_radio":  # whose files are those of the publisher, not of timm
        assert row.source == HubFile(config.hf_hub_id)


def test_clip_maps_are_before_the_attention_pool(compute: Compute):
    whole = build_phi("clip-rn50=random", compute)
    third = build_phi("clip-rn50/layer3=random", compute)
    images = photos(1, 50, 70)
    assert whole.features(images).shape == (1, 2048, 2, 3)
    assert third.features(images).shape == (1, 1024, 4, 5)
    assert third.info.stride == 16
    assert third.info.fingerprint != whole.info.fingerprint


def test_retrieval_and_saliency_share_one_model_until_both_are_gone(compute: Compute):
    spec = "open_clip:tiny-rn=random"
    gc.collect()
    before = len(builders.POOL)
    whole, dense = build_retrieval(spec, compute), build_saliency(spec, compute)
    assert whole._clip is dense._clip
    assert len(builders.POOL) == before + 1
    del whole
    gc.collect()
    assert len(builders.POOL) == before + 1
    del dense
    gc.collect()
    assert len(builders.POOL) == before


def test_local_clip_files_load_with_openais_surplus(tmp_path, compute: Compute):
    clip = tiny_clip("tiny-vit")
    path = tmp_path / "clip.safetensors"
    save_file(clip.model.state_dict() | {"input_resolution": torch.tensor(40)}, path)
    torch.save({"state_dict": clip.model.state_dict()}, tmp_path / "clip.pt")
    encoder = build_retrieval(f"open_clip:tiny-vit={path}", compute)
    other = build_retrieval(f"open_clip:tiny-vit={tmp_path / 'clip.pt'}", compute)
    images = photos(2, 40, 40)
    torch.testing.assert_close(encoder.embed_images(images), other.embed_images(images))
    assert encoder.info.fingerprint == other.info.fingerprint != clip.fingerprint
    assert encoder.info.weights == "file clip.safetensors"


def test_normalisation_and_frame_follow_the_training():
    openai = ClipArch("ViT-B-32", "openai").config
    assert openai["mean"][0] == pytest.approx(0.48145466)
    siglip = ClipArch("ViT-B-16-SigLIP", "webli").config
    assert (siglip["mean"], siglip["resize_mode"]) == ((0.5, 0.5, 0.5), "squash")
    # A local file without a tag: what all tags of the architecture agree on.
    assert ClipArch("ViT-B-16-SigLIP").config["mean"] == (0.5, 0.5, 0.5)
    assert ClipArch("RN50x16").config["quick_gelu"] is True
    assert "quick_gelu" not in ClipArch("ViT-B-32").config


def test_open_clip_names():
    assert parse_open_clip("ViT-B-32/laion2b_s34b_b79k").source.repo.startswith("laion/")
    with pytest.raises(UnknownNameError, match="Unknown open_clip architecture 'ViT-X'"):
        parse_open_clip("ViT-X/openai")
    with pytest.raises(UnknownNameError, match="Unknown pretrained tag of RN50 'laion'"):
        parse_open_clip("RN50/laion")
    with pytest.raises(RecosegError, match="open_clip:ViT-B-32/TAG or open_clip:ViT-B-32=/path"):
        _ = ClipArch("ViT-B-32").source


def test_lookup():
    assert find_row("ViT-B/32", "retrieval")[1] == ""
    assert find_row("timm:resnet50/16", "phi")[1] == "resnet50/16"
    assert find_row("moco-v2-rn50/layer3", "phi")[1] == "layer3"
    with pytest.raises(UnknownNameError, match=r"retrieval encoder 'dino-s16'.*ViT-L/14@336px"):
        find_row("dino-s16", "retrieval")
    with pytest.raises(UnknownNameError, match=r"phi encoder 'RN50'.*timm:MODEL"):
        find_row("RN50", "phi")
    with pytest.raises(UnknownNameError, match="open_clip:MODEL"):
        find_row("open_clip:", "saliency")


def test_variants_have_no_meaning_for_retrieval(compute: Compute):
    with pytest.raises(RecosegError, match="no meaning for the retrieval encoder"):
        build_retrieval("RN50/layer3=random", compute)


def test_unknown_timm_model(compute: Compute):
    with pytest.raises(UnknownNameError, match=r"timm model 'resnet51'.*"):
        build_phi("timm:resnet51=random", compute)


def test_presets_name_encoders_of_the_table():
    for choice in PRESETS:
        find_row(choice.retrieval, "retrieval")
        find_row(choice.saliency, "saliency")
        for spec in (*choice.phi, *choice.paper_phi):
            find_row(spec, "phi")
    assert preset("paper").retrieval == "ViT-L/14@336px"
    with pytest.raises(UnknownNameError, match="Valid: lite, paper, paper-light"):
        preset("large")


def test_table_is_quick_to_import():
    code = (
        "import sys, recoseg.encoders.encoder_table, recoseg.encoders.presets\n"
        "heavy = {'timm', 'open_clip', 'transformers', 'torchvision', 'huggingface_hub'}\n"
        "sys.exit(', '.join(heavy & sys.modules.keys()) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_spec_with_weights_of_another_clip(tmp_path, compute: Compute):
    path = tmp_path / "clip.safetensors"
    state = tiny_clip("tiny-rn").model.state_dict()
    save_file({k: v.contiguous() for k, v in state.items()}, path)
    with pytest.raises(RecosegError, match=r"lacks \d+ of the \d+ tensors of CLIP"):
        build_retrieval(f"open_clip:tiny-vit={path}", compute)
