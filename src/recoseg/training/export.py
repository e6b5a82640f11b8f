"""Export of a trained model as one ONNX file for photos of any size, with a check."""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from recoseg.errors import MissingExtraError, RecosegError
from recoseg.storage.atomic import write_bytes
from recoseg.training.model import TrainedModel
from recoseg.training.network import SCORE_STRIDE

TOLERANCE = 1e-3
"""Largest allowed difference between the scores of the file and those of the model."""

CHECKED = ((1, 96, 128), (2, 128, 96), (1, 117, 75))
"""Batch, height and width of the compared inputs; the last sides are not multiples of a stride."""


class Exported(nn.Module):
    """From photos to scores, with normalisation, padding and up-sampling inside.

    Args:
        model: The model, on the CPU.
    """

    def __init__(self, model: TrainedModel) -> None:
        super().__init__()
        info = model.info
        self.network = fixed_padding(model.network)
        self.multiple = info.output_stride
        self.register_buffer("mean", torch.tensor(info.statistics.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(info.statistics.std).view(1, 3, 1, 1))

    def forward(self, image: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n c h w"]:
        """Scores of every pixel before the softmax.

        Args:
            image: RGB, 0 to 255, with the short side that the model expects.
        """
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        scaled = (image.float() / 255 - mean) / std
        height, width = image.shape[-2:]
        for axis, length in ((2, height), (3, width)):
            # Repeat the last row or column up to a whole cell. Indices are used because padding
            # would be traced with one fixed size.
            filled = (length + self.multiple - 1) // self.multiple * self.multiple
            indices = torch.arange(filled, device=image.device).clamp(max=length - 1)
            scaled = scaled.index_select(axis, indices)
        scores: Tensor = self.network(scaled)
        size = [side * SCORE_STRIDE for side in scores.shape[-2:]]
        large = F.interpolate(scores, size=size, mode="bilinear", align_corners=False)
        return large[:, :, :height, :width]


def fixed_padding(network: nn.Module) -> nn.Module:
    """A copy of a network whose convolutions pad by a fixed amount.

    TensorFlow's `SAME` padding depends on the size of the input; for inputs of whole cells, which
    the network always gets, it is fixed for each layer.
    """
    from timm.layers import Conv2dSame

    copied = copy.deepcopy(network)
    for name, layer in list(copied.named_modules()):
        if isinstance(layer, Conv2dSame):
            copied.set_submodule(name, nn.Sequential(_same_padding(layer), _plain(layer)))
    return copied.eval()


def export_onnx(model: TrainedModel, path: str | Path) -> float:
    """Write a model as an ONNX file, and compare its scores with those of the model.

    Input `image`: uint8 (n, 3, h, w), RGB, of any size; the model expects the short side that
    `recoseg.short_side` gives. Output `scores`: fp32 (n, c, h, w), before the softmax; the class
    with the highest score is the label. The metadata of the file contain `recoseg.classes`,
    `recoseg.palette` and the rest; `recoseg.background` is the label of the class that stands for
    background, if there is one.

    Args:
        model: The model.
        path: Path of the file.

    Returns:
        The largest difference between two scores.

    Raises:
        MissingExtraError: The extra `onnx` is not installed.
        RecosegError: The scores of the file differ from those of the model; it is not written.
    """
    onnx, _ = _libraries()
    exported = Exported(TrainedModel(model.network.cpu().eval(), model.info)).eval()
    proto = _converted(exported)
    for key, text in metadata_of(model).items():
        proto.metadata_props.add(key=key, value=text)
    onnx.checker.check_model(proto)
    data: bytes = proto.SerializeToString()
    difference = largest_difference(exported, data)
    if not difference <= TOLERANCE:
        raise RecosegError(
            f"The ONNX file's scores differ from the model's by {difference:.2g}, more than "
            f"{TOLERANCE}; it was not written. Please report the encoder, {model.info.encoder}."
        )
    write_bytes(Path(path), data)
    return difference


def metadata_of(model: TrainedModel) -> dict[str, str]:
    """What an ONNX file tells of a model; all but `recoseg.fingerprint` are JSON."""
    info = model.info
    described: dict[str, Any] = {
        "classes": info.names,
        "palette": info.palette,
        "short_side": info.short_side,
        "fingerprint": model.fingerprint,
        "provenance": info.provenance,
    }
    if info.background is not None:
        described["background"] = info.background
    return {
        f"recoseg.{key}": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in described.items()
    }


def _converted(exported: nn.Module) -> Any:
    """A module as a model of ONNX for photos of any number and size."""
    example = torch.zeros(2, 3, 96, 128, dtype=torch.uint8)
    dimensions = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            exported,
            (example,),
            input_names=["image"],
            output_names=["scores"],
            dynamic_shapes=(dimensions,),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def largest_difference(
    exported: nn.Module, data: bytes, sizes: Sequence[tuple[int, int, int]] = CHECKED
) -> float:
    """The largest difference between the scores of an ONNX file and a module on random photos.

    Args:
        exported: The module.
        data: Content of the ONNX file.
        sizes: Batch, height and width of the photos.
    """
    _, runtime = _libraries()
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    largest = 0.0
    for number, (count, height, width) in enumerate(sizes):
        generator = torch.Generator().manual_seed(number)
        shape = (count, 3, height, width)
        image = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        with torch.inference_mode():
            expected = exported(image).numpy()
        [found] = session.run(None, {"image": image.numpy()})
        if found.shape != expected.shape:
            return float("inf")
        largest = max(largest, float(np.abs(found - expected).max()))
    return largest


def _same_padding(layer: nn.Conv2d) -> nn.ZeroPad2d:
    """(left, right, top, bottom) of `SAME` for inputs that are multiples of the stride."""
    pads: list[int] = []
    for kernel, stride, dilation in reversed(
        list(zip(layer.kernel_size, layer.stride, layer.dilation, strict=True))
    ):
        total = max(0, (kernel - 1) * dilation + 1 - stride)
        pads += [total // 2, total - total // 2]
    left, right, top, bottom = pads
    return nn.ZeroPad2d((left, right, top, bottom))


def _plain(layer: nn.Conv2d) -> nn.Conv2d:
    """A convolution without its padding."""
    kernel = (layer.kernel_size[0], layer.kernel_size[1])
    plain = nn.Conv2d(
        layer.in_channels,
        layer.out_channels,
        kernel,
        stride=(layer.stride[0], layer.stride[1]),
        dilation=(layer.dilation[0], layer.dilation[1]),
        groups=layer.groups,
        bias=layer.bias is not None,
    )
    plain.weight, plain.bias = layer.weight, layer.bias
    return plain


def _libraries() -> tuple[Any, Any]:
    """Onnx and onnxruntime; onnxscript must be installed, too."""
    missing = "onnx"
    try:
        import onnx

        missing = "onnxscript"
        import onnxscript  # noqa: F401

        missing = "onnxruntime"
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(missing, "onnx", "Export to ONNX") from error
    return onnx, onnxruntime
