"""Architectures of timm and open_clip by their own classes, made tiny."""

import json
from pathlib import Path

import open_clip
import timm
from timm.models import register_model

_SMALL = {"img_size": 40, "patch_size": 8, "depth": 2, "num_heads": 2}
_TEXT = {"vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}


def _pe(name: str, kwargs: dict):
    tiny = _SMALL | {"embed_dim": 32, "ref_feat_shape": (5, 5), "mlp_ratio": 2.0}
    return timm.create_model(name, **(tiny | kwargs))


@register_model
def tiny_pe_core(pretrained=False, **kwargs):
    return _pe("vit_pe_core_base_patch16_224", {"attn_pool_num_heads": 2} | kwargs)


@register_model
def tiny_pe_core_g(pretrained=False, **kwargs):
    """The largest Perception Encoder has no class token."""
    return _pe("vit_pe_core_gigantic_patch14_448", {"attn_pool_num_heads": 2} | kwargs)


@register_model
def tiny_pe_spatial(pretrained=False, **kwargs):
    return _pe("vit_pe_spatial_base_patch16_512", kwargs)


@register_model
def tiny_siglip2(pretrained=False, **kwargs):
    return timm.create_model("vit_base_patch16_siglip_224", **(_SMALL | {"embed_dim": 32} | kwargs))


@register_model
def tiny_dinov2_reg4(pretrained=False, **kwargs):
    return timm.create_model(
        "vit_small_patch14_reg4_dinov2", **(_SMALL | {"embed_dim": 32} | kwargs)
    )


@register_model
def tiny_tipsv2(pretrained=False, **kwargs):
    return timm.create_model(
        "vit_base_patch14_reg1_tipsv2", **(_SMALL | {"embed_dim": 32} | kwargs)
    )


@register_model
def tiny_dinov3(pretrained=False, **kwargs):
    return timm.create_model("vit_small_patch16_dinov3", **(_SMALL | {"embed_dim": 32} | kwargs))


@register_model
def tiny_radio(pretrained=False, **kwargs):
    """C-RADIO has a table of positions for 128 x 128 patches, whatever the photo."""
    tiny = {"embed_dim": 32, "depth": 2, "num_heads": 2}
    return timm.create_model("naflexvit_large_patch16_radio_v3", **(tiny | kwargs))


def _clip(name: str, dim: int, context: int, proj: str | None, **more) -> dict:
    vision = {"image_size": 40, "timm_model_name": name, "timm_model_pretrained": False}
    return {
        "embed_dim": dim,
        "vision_cfg": vision | {"timm_pool": "map", "timm_proj": proj},
        "text_cfg": _TEXT | {"context_length": context},
        "custom_text": True,
        **more,
    }


POOLED = {
    "tiny-pe": _clip("tiny_pe_core", 24, 32, None),
    "tiny-pe-g": _clip("tiny_pe_core_g", 24, 72, None),
    "tiny-sig2": _clip("tiny_siglip2", 32, 64, "none", init_logit_bias=-10),
}
"""Configurations of open_clip with the settings of PE-Core and SigLIP 2."""


def add_to_open_clip(folder: Path, configs: dict[str, dict]) -> None:
    """Let open_clip know the configurations."""
    for name, config in configs.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
