"""EfficientNet-Lite: pooled features of whole photos, and feature maps at stride 16."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as nnf
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from recoseg.device import Compute
from recoseg.encoders.lite.folding import fold_normalisation
from recoseg.encoders.normalisation import check_photos
from recoseg.errors import RecosegError
from recoseg.storage.counts import count_of

STRIDE = 16
MEAN, SCALE = 127.0, 128.0
"""Input normalisation of the published weights: (RGB - 127) / 128."""

LAST = "last"
STAGES = {"block4": 4, "block5": 5}
"""The maps beside the last one: the outputs of these stages, by their number in timm."""


def lite_network(variant: int, device: str) -> Any:
    """The network of a variant, 0 to 2, at random weights; on the device `meta` without weights."""
    import timm

    with torch.device(device):
        return timm.create_model(f"tf_efficientnet_lite{variant}", pretrained=False)


def make_dense(model: nn.Module) -> None:
    """Turn a `tf_efficientnet_lite*` of timm from stride 32 to stride 16, in place.

    The last convolution with a stride loses it, and every depthwise convolution after it is
    dilated by two (a trous). The odd cells of the new map are exactly the map of stride 32.
    """
    first, *rest = model.get_submodule("blocks.5").children()
    _set_depthwise(first, dilation=1)
    for block in [*rest, *model.get_submodule("blocks.6").children()]:
        _set_depthwise(block, dilation=2)


def _set_depthwise(block: nn.Module, dilation: int) -> None:
    conv = block.get_submodule("conv_dw")
    assert isinstance(conv, nn.Conv2d)
    block.set_submodule("conv_dw", _without_stride(conv, dilation))


def _without_stride(conv: nn.Conv2d, dilation: int) -> nn.Conv2d:
    size = conv.kernel_size[0]
    dense = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        size,
        padding=dilation * (size // 2),
        dilation=dilation,
        groups=conv.groups,
        bias=False,
        device="meta",
    )
    dense.weight = conv.weight
    return dense


def map_keys(theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of the package to the names of timm.

    Both have the same layers in the same order, so the n-th tensor gets the n-th name; all shapes
    are compared.

    Args:
        theirs: The tensors of the package.
        ours: The tensors of the model in timm.

    Raises:
        RecosegError: The number of tensors or a shape differs.
    """
    if len(theirs) != len(ours):
        raise RecosegError(
            f"Expected weights of an EfficientNet-Lite with {count_of(len(ours), 'tensors')}, got "
            f"{len(theirs)}. Are they the weights of another model?"
        )
    renamed = {}
    for (source, tensor), (target, like) in zip(theirs.items(), ours.items(), strict=True):
        if tensor.shape != like.shape:
            raise RecosegError(
                f"Expected {target} of {tuple(like.shape)}, got {source} of "
                f"{tuple(tensor.shape)}. Are they the weights of another model?"
            )
        renamed[target] = tensor
    return renamed


class LiteBackbone:
    """An EfficientNet-Lite with its classifier; all encoders named `lite` compute features with it.

    Attributes:
        classifier: Weight rows (1000, c) and biases (1000,) of the ImageNet-1k classifier, fp32.
        widths: Channels of each map of `dense`, in their order: `LAST` and `STAGES`.

    Args:
        network: What `lite_network` made; it becomes part of the backbone.
        state: The tensors under the names of timm; see `map_keys`.
        compute: Device and precision.
        margin_cells: Width, in cells, of a margin of mirrored pixels that is added to photos and
            cut off their feature maps, because the convolutions pad with zeros.
    """

    def __init__(
        self, network: Any, state: Mapping[str, Tensor], compute: Compute, margin_cells: int = 1
    ) -> None:
        self.compute = compute
        self.margin_cells = margin_cells
        # Taken as they are, the tensors of the file need not be copied.
        exact = {k: t.float() if t.is_floating_point() else t for k, t in state.items()}
        network.load_state_dict(exact, assign=True)
        make_dense(network)
        fold_normalisation(network.eval())
        layer = network.classifier
        weight, bias = (p.detach().clone().to(compute.device) for p in (layer.weight, layer.bias))
        self.classifier = (weight, bias)
        self.widths = {LAST: int(network.num_features)} | {
            name: int(network.get_submodule(f"blocks.{stage}.0.conv_pwl").out_channels)
            for name, stage in STAGES.items()
        }
        compute.place(network)
        self._model = network.to(memory_format=torch.channels_last)

    def dense(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n c gh gw"]:
        """All maps of one pass, joined along the channels; see `select` and `widths`.

        gh = ceil(h / 16), gw = ceil(w / 16). Values of the last map are in [0, 6]; those of the
        others have no bounds.
        """
        check_photos(images)
        height, width = images.shape[-2:]
        grid_h, grid_w = -(-height // STRIDE), -(-width // STRIDE)
        margin = self.margin_cells
        front = margin * STRIDE
        back_h = (grid_h + 2 * margin) * STRIDE - front - height
        back_w = (grid_w + 2 * margin) * STRIDE - front - width
        framed = _mirror_pad(images, front, back_h, back_w)
        joined = torch.cat(list(self._forward(framed).values()), dim=1)
        return joined[:, :, margin : margin + grid_h, margin : margin + grid_w].contiguous()

    def select(
        self, maps: Float[Tensor, "n c gh gw"], layer: str = LAST
    ) -> Float[Tensor, "n d gh gw"]:
        """One of the maps that `dense` has joined."""
        parts = torch.split(maps, list(self.widths.values()), dim=1)
        return dict(zip(self.widths, parts, strict=True))[layer].contiguous()

    def pooled(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n c"]:
        """The mean feature of each photo, which is the input of the classifier."""
        check_photos(images)
        features = self._forward(images)[LAST]
        # Every second cell is the stride-32 map that the classifier was trained with: the odd cells
        # of an even grid, because SAME padding shifts it, else the even cells.
        rows, columns = features.shape[-2:]
        return features[:, :, 1 - rows % 2 :: 2, 1 - columns % 2 :: 2].mean((2, 3))

    @torch.inference_mode()
    def _forward(self, images: UInt8[Tensor, "n 3 h w"]) -> dict[str, Float[Tensor, "n _ gh gw"]]:
        """The maps in the order of `widths`."""
        model, device = self._model, self.compute.device
        batch = (images.to(device).float() - MEAN) / SCALE
        outputs = []
        with self.compute.autocast():
            # The steps of timm's `forward_features`, which returns the last map alone.
            features = model.bn1(
                model.conv_stem(batch.contiguous(memory_format=torch.channels_last))
            )
            for stage in model.blocks:
                features = stage(features)
                outputs.append(features)
            last = model.bn2(model.conv_head(features))
        stages = {name: outputs[stage].float() for name, stage in STAGES.items()}
        return {LAST: last.float()} | stages


def _mirror_pad(images: UInt8[Tensor, "n 3 h w"], front: int, back_h: int, back_w: int) -> Tensor:
    """Pad photos with their mirror image, or with their edge if they are too small for that."""
    height, width = images.shape[-2:]
    fits = max(front, back_h) < height and max(front, back_w) < width
    return nnf.pad(
        images.float(), (front, back_w, front, back_h), mode="reflect" if fits else "replicate"
    ).to(torch.uint8)
