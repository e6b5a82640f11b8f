"""Folding the normalisation of an EfficientNet into its convolutions.

At inference, batch normalisation is an affine map per channel, which the convolution before it can
do as well. It would otherwise read and write every map of the network once more.
"""

from __future__ import annotations

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

_PAIRS = {
    "EfficientNet": (("conv_stem", "bn1"), ("conv_head", "bn2")),
    "DepthwiseSeparableConv": (("conv_dw", "bn1"), ("conv_pw", "bn2")),
    "InvertedResidual": (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3")),
}
"""Convolutions and the normalisation behind them, by the class of timm that has them."""


def fold_normalisation(model: nn.Module) -> None:
    """Fold every normalisation of an `EfficientNet` of timm into its convolution, in place.

    Outputs stay the same but for rounding. What is left of a normalisation is its activation.

    Args:
        model: The network, in evaluation mode.

    Raises:
        TypeError: A layer of the network has another form than expected.
    """
    for module in [*model.modules()]:
        for first, second in _PAIRS.get(type(module).__name__, ()):
            convolution, norm = module.get_submodule(first), module.get_submodule(second)
            if not (isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)):
                raise TypeError(f"Expected a convolution and its normalisation, got {module}.")
            mean, variance = norm.running_mean, norm.running_var
            if mean is None or variance is None:
                raise TypeError(f"Expected a normalisation with statistics, got {norm}.")
            convolution.weight, convolution.bias = fuse_conv_bn_weights(
                convolution.weight,
                convolution.bias,
                mean,
                variance,
                norm.eps,
                norm.weight,
                norm.bias,
            )
            module.set_submodule(second, norm.get_submodule("act"))
