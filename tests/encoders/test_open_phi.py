"""The open phi encoders at tiny sizes: tokens of patches alone, as the library computes them."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from recoseg.encoders.backbones import create_timm
from recoseg.encoders.encoder_table import build_phi, find_row
from recoseg.errors import RecosegError

from .conftest import FP32, photos

TINY = {
    "pe-spatial-b16": ("tiny_pe_spatial", 1, 0.5),
    "dinov3-s16": ("tiny_dinov3", 5, 0.485),
    "tipsv2-vision-b14": ("tiny_tipsv2", 2, 0.0),
    "dinov2-s14-reg4": ("tiny_dinov2_reg4", 5, 0.485),
}


@pytest.mark.parametrize("name", list(TINY))
@pytest.mark.parametrize("size", [(40, 40), (24, 56)])
def test_class_and_register_tokens_are_dropped(name, size, monkeypatch):
    arch, prefix, mean_red = TINY[name]
    if not timm.is_model(find_row(name, "phi")[0].arch):
        pytest.skip(f"timm {timm.__version__} does not have {name}")
    monkeypatch.setattr(
        "recoseg.encoders.builders.create_timm", lambda _, stride: create_timm(arch, stride)
    )
    encoder = build_phi(f"{name}=random", FP32)
    module = encoder._backbone.module
    fixed = timm.create_model(arch, num_classes=0, img_size=size).eval()
    state = module.state_dict()
    if "pos_embed" in state:  # timm resamples learnt positions when it loads weights, too
        state["pos_embed"] = timm.layers.resample_abs_pos_embed(
            state["pos_embed"],
            new_size=[side // 8 for side in size],
            old_size=(5, 5),
            num_prefix_tokens=0 if module.no_embed_class else prefix,
        )
    fixed.load_state_dict(state)
    images = photos(2, *size)
    statistics = encoder._backbone.statistics
    assert statistics.mean[0] == mean_red
    mean, std = torch.tensor(statistics.mean), torch.tensor(statistics.std)
    tokens = fixed.forward_features((images / 255 - mean[:, None, None]) / std[:, None, None])
    rows, columns = size[0] // 8, size[1] // 8
    assert tokens.shape[1] == prefix + rows * columns
    found = encoder.features(images)
    for y in range(rows):
        for x in range(columns):
            expected = tokens[:, prefix + y * columns + x]
            torch.testing.assert_close(found[:, :, y, x], expected, atol=1e-5, rtol=1e-4)


@pytest.fixture
def radio():
    transformers = pytest.importorskip("transformers")
    if not hasattr(transformers, "RadioModel") or not timm.is_model(
        "naflexvit_large_patch16_radio_v3"
    ):
        pytest.skip("C-RADIO needs newer versions of transformers and timm")
    config = transformers.RadioConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_cls_tokens=3,
        num_registers=5, layerscale_value=0.7,
    )  # fmt: skip
    torch.manual_seed(5)
    model = transformers.RadioModel(config).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1 or parameter.shape[0] == 32:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def as_published(model) -> dict[str, torch.Tensor]:
    """The weights of a RadioModel under the names of NVIDIA's files."""
    state, start = model.state_dict(), "radio_model.model."
    out = {
        f"{start}patch_generator.embedder.weight": state["embeddings.patch_projection.weight"],
        f"{start}patch_generator.pos_embed": state["embeddings.position_embedding"],
        f"{start}patch_generator.cls_token.token": state["embeddings.cls_register_token"],
        "radio_model.summary_idxs": torch.tensor([0, 1]),
        "radio_model.input_conditioner.norm_mean": torch.zeros(3, 1, 1),
    }
    names = {"norm1": "norm1", "norm2": "norm2", "attn.proj": "attention.o_proj"}
    names |= {"mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
    for i in range(len(model.encoder.layer)):
        block, layer = f"{start}blocks.{i}.", f"encoder.layer.{i}."
        for end in ("weight", "bias"):
            for new, old in names.items():
                out[f"{block}{new}.{end}"] = state[f"{layer}{old}.{end}"]
            parts = [state[f"{layer}attention.{part}_proj.{end}"] for part in "qkv"]
            out[f"{block}attn.qkv.{end}"] = torch.cat(parts)
        for number in (1, 2):
            out[f"{block}ls{number}.grandma"] = state[f"{layer}layer_scale{number}.lambda1"]
    return out


@pytest.mark.parametrize("size", [(48, 80), (160, 64)])
def test_c_radio_is_that_of_transformers(radio, size, tmp_path, monkeypatch):
    """NVIDIA's files, read by way of timm, give what transformers' own class gives."""
    path = tmp_path / "C-RADIOv3-L.safetensors"
    save_file({name: value.contiguous() for name, value in as_published(radio).items()}, path)
    monkeypatch.setattr(
        "recoseg.encoders.builders.create_timm",
        lambda _, stride: create_timm("tiny_radio", stride),
    )
    encoder = build_phi(f"c-radiov3-l16={path}", FP32)
    images = photos(2, *size)
    with torch.no_grad():
        expected = radio(pixel_values=images / 255).features
    found = encoder.features(images)
    assert found.shape == (2, 32, size[0] // 16, size[1] // 16)
    torch.testing.assert_close(found.flatten(2).mT, expected, atol=1e-4, rtol=1e-4)


def test_an_architecture_that_timm_is_too_old_for(monkeypatch):
    monkeypatch.setattr("timm.is_model", lambda name: False)
    with pytest.raises(RecosegError, match=r"has no architecture naflexvit.*upgrade timm"):
        build_phi("c-radiov3-l16=random", FP32)
