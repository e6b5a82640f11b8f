"""Dense image encoders (phi in the paper): patch tokens of ViTs and feature maps of CNNs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from recoseg.device import Compute
from recoseg.encoders.attention.positions import by_size
from recoseg.encoders.attention.resnet import resnet_map
from recoseg.encoders.attention.tower import to_map
from recoseg.encoders.normalisation import Normalisation, to_input
from recoseg.encoders.protocols import EncoderInfo
from recoseg.errors import RecosegError

# Parts of checkpoints that are not the backbone: classifiers, heads of self-supervised training.
HEADS = (
    "head", "head_dist", "fc.", "classifier.", "last_linear.", "projection_head", "prototypes",
    "mask_token", "norm.", "fc_norm.", "queue", "dino_head", "ibot_head",
)  # fmt: skip


@dataclass(frozen=True)
class Backbone:
    """A network and how its feature map is computed.

    Attributes:
        module: The network in evaluation mode, on its device.
        extract: From the normalised input (n, 3, H, W), H and W multiples of the stride, to
            features (n, c, H / stride, W / stride).
        dim: Number of channels c.
        stride: Pixels per cell.
        statistics: Input normalisation.
        is_convolutional: Whether the network is faster in channels-last memory.
    """

    module: nn.Module
    extract: Callable[[Tensor], Tensor]
    dim: int
    stride: int
    statistics: Normalisation
    is_convolutional: bool = False


class BackboneEncoder:
    """Describes patches by the feature map of any backbone (a `DenseImageEncoder`).

    Args:
        backbone: The network.
        info: Its identity.
        compute: Device (that of the network) and precision.
    """

    def __init__(self, backbone: Backbone, info: EncoderInfo, compute: Compute) -> None:
        self._backbone = backbone
        self.info = info
        self._compute = compute

    def features(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n c gh gw"]:
        """Patch features, not normalised; gh = ceil(h / stride), gw = ceil(w / stride).

        Raises:
            RecosegError: The photos are not uint8 RGB, or of a size the network cannot take.
        """
        backbone = self._backbone
        inputs = to_input(
            images,
            backbone.statistics,
            self._compute,
            multiple=backbone.stride,
            channels_last=backbone.is_convolutional,
        )
        try:
            with torch.no_grad(), self._compute.autocast():
                features = backbone.extract(inputs)
        except AssertionError as error:
            # timm asserts the input size of architectures that take one size only.
            raise RecosegError(
                f"{self.info.name} cannot take photos of {images.shape[-2]} x "
                f"{images.shape[-1]}: {error} Bring them to that size or choose another encoder."
            ) from error
        return features.float().contiguous()


def create_timm(arch: str, output_stride: int | None = None) -> nn.Module:
    """A timm architecture with random weights, without classifier, for inputs of any size.

    Args:
        arch: The name in timm.
        output_stride: 8, 16 or 32: the last stages are dilated to reach this stride; None leaves
            the architecture unchanged.

    Raises:
        RecosegError: timm cannot dilate this architecture, or is too old to have it.
    """
    import timm

    if not timm.is_model(arch):
        raise RecosegError(
            f"timm {timm.__version__} has no architecture {arch}. Install a newer one: "
            "pip install --upgrade timm"
        )
    extra: dict[str, Any] = {} if output_stride is None else {"output_stride": output_stride}
    # Inputs of any size: transformers have one of two options for it, convolutions need none.
    for free_size in ({"dynamic_img_size": True}, {"strict_img_size": False}, {}):
        try:
            model = cast(
                Any,
                timm.create_model(arch, pretrained=False, num_classes=0, **extra, **free_size),
            )
        except TypeError:
            continue
        except AssertionError:  # how timm refuses a stride, often without a message
            if output_stride is None:
                raise
            break
        # timm before 1.0.31 builds some architectures and ignores the stride.
        if output_stride is not None and model.feature_info[-1]["reduction"] > output_stride:
            break
        return cast(nn.Module, model)
    raise RecosegError(
        f"timm cannot build {arch} with an output stride of {output_stride}. "
        f"Ask for a stage instead, such as {arch}/layer3, or for the plain architecture."
    )


def to_timm(module: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Bring the names of C-RADIO's published files to those of timm; other files stay as they are.

    The heads that imitate its teachers (adaptors) and its input normalisation are left out.
    """
    if not any(name.startswith("radio_model.") for name in state):
        return state
    from timm.models.naflexvit import checkpoint_filter_fn

    return dict(checkpoint_filter_fn(state, cast(Any, module)))


def is_vit(module: nn.Module) -> bool:
    """Whether a timm model is a plain (not hierarchical) vision transformer."""
    has_patches = hasattr(module, "patch_embed") or hasattr(module, "embeds")
    return hasattr(module, "num_prefix_tokens") and has_patches


def vit_backbone(module: nn.Module, statistics: Normalisation) -> Backbone:
    """Patch tokens after the last norm of a timm ViT.

    Class, distillation and register tokens are dropped. For other grids than the native one,
    position embeddings are resampled by timm, with antialias (see `resample_without_antialias`) or
    as the model was published (C-RADIO).
    """
    model = cast(Any, module)
    height, width = (model.embeds if hasattr(model, "embeds") else model.patch_embed).patch_size
    if height != width:
        raise RecosegError(f"Expected square patches, got {height} x {width}.")

    def extract(inputs: Tensor) -> Tensor:
        tokens: Tensor = model.forward_features(inputs)
        if isinstance(getattr(model, "norm", None), nn.Identity):
            # Models that average before the norm have the norm in the head.
            tokens = getattr(model, "fc_norm", nn.Identity())(tokens)
        patches = tokens[:, model.num_prefix_tokens :]
        grid = (inputs.shape[-2] // height, inputs.shape[-1] // width)
        return to_map(patches, grid)

    return Backbone(module, extract, int(model.num_features), int(height), statistics)


def resample_without_antialias(module: nn.Module, name: str) -> None:
    """Let a timm ViT bring its position embeddings to other grids `by_size`.

    Args:
        module: The model; its weights stay as they are.
        name: The encoder's name, for error messages.

    Raises:
        RecosegError: The model has no position embeddings that are resampled.
    """
    from timm.models.vision_transformer import VisionTransformer

    model = cast(Any, module)
    if not isinstance(module, VisionTransformer) or model.pos_embed is None:
        raise RecosegError(
            f"{name} is not available: {type(module).__name__} has no table of positions that is "
            "brought to other grids. Leave out '/by-size'."
        )

    def add(patches: Float[Tensor, "n rows columns c"]) -> Float[Tensor, "n tokens c"]:
        grid = (patches.shape[1], patches.shape[2])
        prefix = 0 if model.no_embed_class else int(model.num_prefix_tokens)
        table = by_size(model.pos_embed[0], model.patch_embed.grid_size, grid, prefix)
        # A copy with a table of this grid, which shares all other weights and resamples nothing.
        fixed = copy.copy(model)
        fixed._parameters = {**model._parameters, "pos_embed": table[None]}
        fixed.dynamic_img_size = False
        tokens: Tensor = type(model)._pos_embed(fixed, patches.flatten(1, 2))
        return tokens

    model._pos_embed = add


def map_backbone(
    module: nn.Module, statistics: Normalisation, name: str, stage: int | None = None
) -> Backbone:
    """The feature map of one stage of any timm model that has feature maps.

    Args:
        module: The model.
        statistics: Input normalisation.
        name: The encoder's name, for error messages.
        stage: The stage, counted like the `layer1` to `layer4` of a ResNet: the last one is
            always the deepest map. None is the last.

    Raises:
        RecosegError: The model has no feature maps or no such stage.
    """
    model = cast(Any, module)
    stages = list(getattr(model, "feature_info", []) or [])
    if not stages or not hasattr(model, "forward_intermediates"):
        raise RecosegError(
            f"{name} has no feature map. Use a ViT, or a timm model with "
            "`forward_intermediates` (ResNet, ConvNeXt, EfficientNet, RegNet, Swin, ...)."
        )
    # If the stem is listed among the stages (ResNet), it is stage 0; else counting begins at 1.
    names = [f"layer{i}" for i in range(5 - len(stages), 5)] if len(stages) <= 5 else []
    index = len(stages) - 1
    if stage is not None:
        if f"layer{stage}" not in names:
            valid = ", ".join(names) or "no stage, for it has only one map"
            raise RecosegError(f"{name} has no stage {stage}. Expected {valid}.")
        index = names.index(f"layer{stage}")

    def extract(inputs: Tensor) -> Tensor:
        maps: list[Tensor] = model.forward_intermediates(
            inputs, indices=[index], stop_early=True, intermediates_only=True
        )
        return maps[0]

    return Backbone(
        module,
        extract,
        int(stages[index]["num_chs"]),
        int(stages[index]["reduction"]),
        statistics,
        is_convolutional=True,
    )


def clip_resnet_backbone(
    visual: nn.Module, statistics: Normalisation, name: str, stage: int = 4
) -> Backbone:
    """The feature map of a CLIP ResNet after a stage; see `resnet_map`.

    Raises:
        RecosegError: The stage is not 1 to 4.
    """
    if not 1 <= stage <= 4:
        raise RecosegError(
            f"{name} has no stage {stage}. Expected layer1, layer2, layer3 or layer4."
        )

    def extract(inputs: Tensor) -> Tensor:
        return resnet_map(visual, inputs, stage)

    dim = int(getattr(cast(Any, visual), f"layer{stage}")[-1].conv3.out_channels)
    return Backbone(visual, extract, dim, 2 ** (stage + 1), statistics, is_convolutional=True)
