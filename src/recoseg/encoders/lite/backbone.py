"""EfficientNet-Lite: pooled features of whole photos, and a dense map at stride 16."""

from __future__ import annotations

import weakref
from collections.abc import Mapping

import timm
import torch
import torch.nn.functional as nnf
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from recoseg.device import Compute
from recoseg.encoders.normalisation import check_photos
from recoseg.errors import RecosegError

STRIDE = 16
MEAN, SCALE = 127.0, 128.0
"""Input normalisation of the published weights: (RGB - 127) / 128."""


def make_dense(model: nn.Module) -> None:
    """Turn a timm `tf_efficientnet_lite*` of stride 32 into one of stride 16, in place.

    The last strided convolution loses its stride, and every depthwise convolution behind it is
    dilated by two (a trous). The map then holds the stride-32 map at its odd cells, exactly.
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
    )
    dense.weight = conv.weight
    return dense


def map_keys(theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the package's tensors to timm's names.

    Both files list the same layers in the same order, so the n-th tensor is the n-th tensor; every
    shape is compared.

    Raises:
        RecosegError: The files differ in length or in a shape.
    """
    if len(theirs) != len(ours):
        raise RecosegError(
            f"Expected weights of an EfficientNet-Lite with {len(ours)} tensors, got "
            f"{len(theirs)}. Are they those of another model?"
        )
    renamed = {}
    for (source, tensor), (target, like) in zip(theirs.items(), ours.items(), strict=True):
        if tensor.shape != like.shape:
            raise RecosegError(
                f"Expected {target} of {tuple(like.shape)}, got {source} of "
                f"{tuple(tensor.shape)}. Are the weights those of another model?"
            )
        renamed[target] = tensor
    return renamed


class LiteBackbone:
    """An EfficientNet-Lite with its classifier.

    The features of the last batch are remembered, since the dense text features and the dense
    image features of one photo come from the same pass.

    Attributes:
        classifier: Weight rows (1000, c) and biases (1000,) of the ImageNet-1k classifier, fp32.

    Args:
        variant: 0, 1 or 2.
        state: timm's keys, see `map_keys`.
        compute: Device and precision.
        margin_cells: Cells of mirrored photo around it that are computed and cut off again, since
            the convolutions pad with zeros.
    """

    def __init__(
        self, variant: int, state: Mapping[str, Tensor], compute: Compute, margin_cells: int = 1
    ) -> None:
        self.compute = compute
        self.margin_cells = margin_cells
        model = timm.create_model(f"tf_efficientnet_lite{variant}", pretrained=False)
        model.load_state_dict(dict(state))
        make_dense(model)
        layer = model.classifier
        weight, bias = (p.detach().clone().to(compute.device) for p in (layer.weight, layer.bias))
        self.classifier = (weight, bias)
        compute.place(model)
        self._model = model.to(memory_format=torch.channels_last)
        self._last: tuple[weakref.ref[Tensor], int, Tensor] | None = None

    @property
    def dim(self) -> int:
        """Length of a feature."""
        return int(self._model.num_features)

    def dense(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n c gh gw"]:
        """The last map at stride 16: gh = ceil(h / 16), gw = ceil(w / 16); values in [0, 6]."""
        check_photos(images)
        version = 0 if images.is_inference() else images._version  # counts changes in place
        if self._last is not None and self._last[0]() is images and self._last[1] == version:
            return self._last[2]
        height, width = images.shape[-2:]
        grid_h, grid_w = -(-height // STRIDE), -(-width // STRIDE)
        margin = self.margin_cells
        front = margin * STRIDE
        back_h = (grid_h + 2 * margin) * STRIDE - front - height
        back_w = (grid_w + 2 * margin) * STRIDE - front - width
        framed = _mirror_pad(images, front, back_h, back_w)
        features = self._forward(framed)
        features = features[:, :, margin : margin + grid_h, margin : margin + grid_w].contiguous()
        self._last = (weakref.ref(images), version, features)
        return features

    def pooled(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n c"]:
        """The mean feature of each photo, as the classifier gets it."""
        check_photos(images)
        features = self._forward(images)
        # Every second cell is the stride-32 map that the classifier was trained on: the odd ones
        # where SAME padding of an even grid is lopsided, else the even ones.
        rows, columns = features.shape[-2:]
        return features[:, :, 1 - rows % 2 :: 2, 1 - columns % 2 :: 2].mean((2, 3))

    @torch.inference_mode()
    def _forward(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n c gh gw"]:
        device = self.compute.device
        batch = (images.to(device).float() - MEAN) / SCALE
        with self.compute.autocast():
            features = self._model.forward_features(
                batch.contiguous(memory_format=torch.channels_last)
            )
        return features.float()


def _mirror_pad(images: UInt8[Tensor, "n 3 h w"], front: int, back_h: int, back_w: int) -> Tensor:
    """Pad by the photo's mirror image, or by its edge where the photo is too small for that."""
    height, width = images.shape[-2:]
    fits = max(front, back_h) < height and max(front, back_w) < width
    return nnf.pad(
        images.float(), (front, back_w, front, back_h), mode="reflect" if fits else "replicate"
    ).to(torch.uint8)
