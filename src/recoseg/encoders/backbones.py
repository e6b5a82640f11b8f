"""The dense image encoders (the paper's phi): ViT patch tokens and CNN feature maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from recoseg.device import Compute
from recoseg.encoders.normalisation import Normalisation, to_input
from recoseg.encoders.protocols import EncoderInfo
from recoseg.errors import RecosegError

# What checkpoints hold beside the backbone: classifiers and heads of self-supervised training.
HEADS = (
    "head", "head_dist", "fc.", "classifier.", "last_linear.", "projection_head", "prototypes",
    "mask_token", "norm.", "fc_norm.", "queue", "dino_head", "ibot_head",
)  # fmt: skip


@dataclass(frozen=True)
class Backbone:
    """A network with the way from its input to a feature map.

    Attributes:
        module: The network in evaluation mode, on its device.
        extract: From the normalised input (n, 3, H, W), H and W multiples of the stride, to
            features (n, c, H / stride, W / stride).
        dim: Number of channels c.
        stride: Pixels per cell.
        statistics: Input normalisation.
        is_convolutional: Whether channels-last memory is faster.
    """

    module: nn.Module
    extract: Callable[[Tensor], Tensor]
    dim: int
    stride: int
    statistics: Normalisation
    is_convolutional: bool = False


class BackboneEncoder:
    """Describes patches by any backbone's feature map (a `DenseImageEncoder`).

    Args:
        backbone: The network.
        info: Its identity.
        compute: Device (the network's own) and precision.
    """

    def __init__(self, backbone: Backbone, info: EncoderInfo, compute: Compute) -> None:
        self._backbone = backbone
        self._info = info
        self._compute = compute

    @property
    def info(self) -> EncoderInfo:
        """Its identity."""
        return self._info

    def features(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n c gh gw"]:
        """Patch features, not normalised; gh = ceil(h / stride), gw = ceil(w / stride).

        Raises:
            RecosegError: The photos are no uint8 RGB, or of a size the network cannot take.
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
            # timm's way to say that an architecture is tied to one input size.
            raise RecosegError(
                f"{self._info.name} cannot take photos of {images.shape[-2]} x "
                f"{images.shape[-1]}: {error} Bring them to that size or choose another encoder."
            ) from error
        return features.float().contiguous()


def create_timm(arch: str, output_stride: int | None = None) -> nn.Module:
    """A timm architecture at random weights, without classifier, for inputs of any size.

    Args:
        arch: timm's name.
        output_stride: 8, 16 or 32: the last stages are dilated to keep this stride; None leaves
            the architecture as it is.

    Raises:
        RecosegError: timm cannot dilate this architecture.
    """
    import timm

    extra: dict[str, Any] = {} if output_stride is None else {"output_stride": output_stride}
    # Transformers take one of two names for free input sizes, and convolutions need none.
    for free_size in ({"dynamic_img_size": True}, {"strict_img_size": False}, {}):
        try:
            model: nn.Module = timm.create_model(
                arch, pretrained=False, num_classes=0, **extra, **free_size
            )
        except TypeError:
            continue
        return model
    raise RecosegError(
        f"timm's {arch} cannot be given an output stride of {output_stride}. "
        f"Ask for a stage instead, such as {arch}/layer3, or for the plain architecture."
    )


def is_vit(module: nn.Module) -> bool:
    """Whether a timm model is a plain (not hierarchical) vision transformer."""
    return hasattr(module, "num_prefix_tokens") and hasattr(module, "patch_embed")


def vit_backbone(module: nn.Module, statistics: Normalisation) -> Backbone:
    """Patch tokens after the last norm of a timm ViT.

    Class, distillation and register tokens are dropped; position embeddings are resampled
    bicubically for other grids than the native one.
    """
    model = cast(Any, module)
    height, width = model.patch_embed.patch_size
    if height != width:
        raise RecosegError(f"Expected square patches, got {height} x {width}.")

    def extract(inputs: Tensor) -> Tensor:
        tokens: Tensor = model.forward_features(inputs)
        if isinstance(getattr(model, "norm", None), nn.Identity):
            # Models that average before their norm keep it in the head.
            tokens = getattr(model, "fc_norm", nn.Identity())(tokens)
        patches = tokens[:, model.num_prefix_tokens :]
        grid = (inputs.shape[-2] // height, inputs.shape[-1] // width)
        return patches.transpose(1, 2).reshape(patches.shape[0], patches.shape[2], *grid)

    return Backbone(module, extract, int(model.num_features), int(height), statistics)


def map_backbone(
    module: nn.Module, statistics: Normalisation, name: str, stage: int | None = None
) -> Backbone:
    """One stage's feature map of any timm model that has such.

    Args:
        module: The model.
        statistics: Input normalisation.
        name: The encoder's name, for messages.
        stage: Stage as in ResNet's `layer1` to `layer4`, counted so that the last one is always
            the deepest map; None is the last.

    Raises:
        RecosegError: The model gives no feature maps or has no such stage.
    """
    model = cast(Any, module)
    stages = list(getattr(model, "feature_info", []) or [])
    if not stages or not hasattr(model, "forward_intermediates"):
        raise RecosegError(
            f"{name} gives no feature map. Use a ViT, or a model of timm that has "
            "`forward_intermediates` (ResNet, ConvNeXt, EfficientNet, RegNet, Swin, ...)."
        )
    # A stem that is listed among the stages (ResNet) is stage 0; elsewhere counting begins at 1.
    names = [f"layer{i}" for i in range(5 - len(stages), 5)] if len(stages) <= 5 else []
    index = len(stages) - 1
    if stage is not None:
        if f"layer{stage}" not in names:
            raise RecosegError(f"{name}: no stage {stage}. It has {', '.join(names) or 'one map'}.")
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
    """A CLIP ResNet's feature map; stage 4 is the map before the attention pool, stride 32.

    Raises:
        RecosegError: The stage is not 1 to 4.
    """
    layers = [visual.layer1, visual.layer2, visual.layer3, visual.layer4]
    if not 1 <= stage <= len(layers):
        raise RecosegError(f"{name}: no stage {stage}. It has layer1, layer2, layer3, layer4.")
    kept = [cast(nn.Sequential, layer) for layer in layers[:stage]]

    def extract(inputs: Tensor) -> Tensor:
        x: Tensor = cast(Any, visual).stem(inputs)
        for layer in kept:
            x = layer(x)
        return x

    dim = cast(nn.Conv2d, cast(Any, kept[-1][-1]).conv3).out_channels
    return Backbone(visual, extract, dim, 2 ** (stage + 1), statistics, is_convolutional=True)
