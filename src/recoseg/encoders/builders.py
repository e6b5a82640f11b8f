"""Build the encoders of the table; the libraries with the models are imported on first use."""

from __future__ import annotations

import re

import torch
from torch import nn

from recoseg.device import Compute
from recoseg.encoders.attention.recipes import VIT_RECIPES, FeatureRecipe
from recoseg.encoders.backbones import (
    HEADS,
    Backbone,
    BackboneEncoder,
    clip_resnet_backbone,
    create_timm,
    is_vit,
    map_backbone,
    resample_without_antialias,
    to_timm,
    vit_backbone,
)
from recoseg.encoders.clip import OpenClipEncoder
from recoseg.encoders.clip_arch import ClipArch, parse_open_clip
from recoseg.encoders.clip_model import LoadedClip, ModelPool
from recoseg.encoders.dense_clip import DenseClipEncoder
from recoseg.encoders.normalisation import IMAGENET, Normalisation, normalisation
from recoseg.encoders.protocols import DenseImageEncoder, EncoderInfo
from recoseg.encoders.proxy_clip import ProxyClipEncoder
from recoseg.encoders.spec import (
    ANTIALIAS,
    BY_SIZE,
    POSITIONS,
    BuildRequest,
    Encoder,
    EncoderSpec,
)
from recoseg.encoders.weight_sources import HubFile, UrlFile, WeightSource
from recoseg.encoders.weights import (
    combine,
    find_weights,
    fingerprint,
    load_into,
    read_state_dict,
    seeded,
)
from recoseg.errors import RecosegError, UnknownNameError

POOL = ModelPool()
"""The open_clip models in use by encoders that were built by name."""


def build_clip(request: BuildRequest) -> Encoder:
    """A model of open_clip, in any role; `NAME/FORM` as saliency encoder (see `VIT_RECIPES`)."""
    row, rest = request.row, request.rest
    if rest and request.role == "retrieval":
        raise RecosegError(
            f"{request.spec.name} cannot be used: '/{rest}' has no meaning for the retrieval "
            f"encoder. Ask for {row.name}."
        )
    return _clip_encoder(request, row.name, ClipArch(row.arch, row.tag), row.source, rest)


def build_open_clip_family(request: BuildRequest) -> Encoder:
    """`open_clip:ARCH/TAG`, or `open_clip:ARCH` with a local file.

    As saliency encoder also `open_clip:ARCH/TAG/FORM` and `open_clip:ARCH/FORM`.
    """
    model, slash, form = request.rest.rpartition("/")
    if request.role != "saliency" or not slash or form not in VIT_RECIPES:
        model, form = request.rest, ""
    name = f"{request.row.name}{model}"
    return _clip_encoder(request, name, parse_open_clip(model), None, form)


def build_timm_row(request: BuildRequest) -> DenseImageEncoder:
    """A phi encoder of the table: a timm architecture, normalised as timm records of its tag.

    Weights without a tag were published elsewhere and take ImageNet's normalisation.
    """
    row = request.row
    statistics = recorded_statistics(row.arch, row.tag) if row.tag else IMAGENET
    return _timm_encoder(request, row.arch, row.source, statistics, request.rest)


def recorded_statistics(arch: str, tag: str) -> Normalisation:
    """The input normalisation that timm records for the weights of an architecture."""
    import timm

    if not timm.is_model(arch):
        return IMAGENET  # `create_timm` says what is missing
    config = timm.get_pretrained_cfg(f"{arch}.{tag}")
    return normalisation(config.mean, config.std)


def build_timm_family(request: BuildRequest) -> DenseImageEncoder:
    """`timm:MODEL`, with the file and normalisation that timm records for it."""
    import timm

    arch, _, variant = request.rest.partition("/")
    if not timm.is_model(arch):
        near = timm.list_models(f"*{arch.split('.')[0].split('_')[0]}*") or [
            "see timm.list_models()"
        ]
        raise UnknownNameError("timm model", arch, near[:20])
    config = timm.get_pretrained_cfg(arch)
    source: WeightSource | None = None
    if config.hf_hub_id:
        name = config.hf_hub_filename
        source = HubFile(config.hf_hub_id, (name,)) if name else HubFile(config.hf_hub_id)
    elif config.url:
        source = UrlFile(config.url)
    statistics = normalisation(config.mean, config.std)
    return _timm_encoder(request, arch, source, statistics, variant)


def parse_variant(variant: str, name: str) -> tuple[int | None, int | None]:
    """Read the part after the slash in the name of an encoder with feature maps.

    Args:
        variant: Empty, an output stride (`16`) or a stage (`layer3`).
        name: The encoder's name, for error messages.

    Returns:
        Output stride and stage; one of them or both are None.

    Example:
        >>> parse_variant("16", "moco-v2-rn50/16"), parse_variant("layer3", "moco-v2-rn50/layer3")
        ((16, None), (None, 3))
    """
    match = re.fullmatch(r"(?P<stride>8|16|32)|layer(?P<stage>\d)|", variant)
    if match is None:
        raise RecosegError(
            f"Expected {name} to end in an output stride (/8, /16, /32) or a stage (/layer1 to "
            f"/layer4), got {variant!r}."
        )
    stride, stage = match["stride"], match["stage"]
    return (int(stride) if stride else None), (int(stage) if stage else None)


def _clip_encoder(
    request: BuildRequest, model: str, arch: ClipArch, source: WeightSource | None, form: str
) -> Encoder:
    """The encoder of a CLIP; all encoders of one model share it, whatever their form.

    Args:
        request: What is asked for.
        model: The name without the form.
        arch: The architecture.
        source: Where the weights are published; None asks open_clip.
        form: What stands behind the model in the name; empty for the default.
    """
    if request.role == "phi":
        return _clip_phi(request, POOL.get(request.spec, arch, request.compute, source))
    if form and form not in VIT_RECIPES:
        raise UnknownNameError(f"form of {model}", form, list(VIT_RECIPES))
    spec = EncoderSpec(model, request.spec.weights)
    recipe: FeatureRecipe | None = VIT_RECIPES.get(form)
    if recipe is None or not recipe.needs_features:
        clip = POOL.get(spec, arch, request.compute, source)
        if request.role == "retrieval":
            return OpenClipEncoder(clip, request.compute)
        return DenseClipEncoder(clip, request.compute, form)
    if request.proxy is None:
        raise RecosegError(
            f"{request.spec.name} needs the features of phi. Build it together with phi, such as "
            "by `load_encoders`, or name the encoder that it gets them from: "
            "build_saliency(..., proxy=phi.info)."
        )
    clip = POOL.get(spec, arch, request.compute, source)
    return ProxyClipEncoder(clip, request.compute, form, request.proxy)


def _clip_phi(request: BuildRequest, clip: LoadedClip) -> DenseImageEncoder:
    name = request.spec.name
    stride, stage = parse_variant(request.rest, name)
    if stride not in (None, 32):
        raise RecosegError(
            f"{name} is not available: CLIP ResNets cannot be dilated. Use /layer3 for stride 16."
        )
    backbone = clip_resnet_backbone(clip.visual, clip.statistics, name, stage or 4)
    identity = combine(clip.fingerprint, "features", stage or 4)
    info = EncoderInfo(name, clip.origin, identity, backbone.dim, backbone.stride, clip.file)
    return BackboneEncoder(backbone, info, request.compute)


def _timm_encoder(
    request: BuildRequest,
    arch: str,
    source: WeightSource | None,
    statistics: Normalisation,
    variant: str,
) -> DenseImageEncoder:
    spec = request.spec
    positions, variant = (variant, "") if variant in POSITIONS else ("", variant)
    stride, stage = parse_variant(variant, spec.name)
    located = find_weights(spec, source)
    with seeded():
        module = create_timm(arch, stride)
    if positions and not is_vit(module):
        raise RecosegError(
            f"{spec.name} is not available: it is no ViT and has no positions. Leave out "
            f"'/{positions}'."
        )
    if located is not None:
        state = to_timm(module, read_state_dict(located.path))
        load_into(module, state, str(located.path), heads=HEADS)
    identity = fingerprint(module, statistics, stride, stage)
    # Records of before positions were a choice hold this fingerprint, whatever the row says.
    if (positions or request.row.positions) == BY_SIZE and identity != request.recorded:
        resample_without_antialias(module, spec.name)
        identity = combine(identity, "positions", BY_SIZE)
    backbone = _backbone(module, statistics, spec.name, variant, stage)
    origin, file = ("random", "") if located is None else (located.origin, located.own_file)
    info = EncoderInfo(spec.name, origin, identity, backbone.dim, backbone.stride, file)
    _place(module, request.compute, backbone)
    return BackboneEncoder(backbone, info, request.compute)


def _backbone(
    module: nn.Module, statistics: Normalisation, name: str, variant: str, stage: int | None
) -> Backbone:
    if not is_vit(module):
        return map_backbone(module, statistics, name, stage)
    if variant:
        raise RecosegError(
            f"{name} is not available: a ViT has one stride and one map. Leave out '/{variant}'. "
            f"What can be chosen is how it resamples positions: /{BY_SIZE} or /{ANTIALIAS}."
        )
    return vit_backbone(module, statistics)


def _place(module: nn.Module, compute: Compute, backbone: Backbone) -> None:
    compute.place(module)
    if backbone.is_convolutional:
        for parameter in module.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
