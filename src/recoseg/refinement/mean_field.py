"""The dense CRF of one image, computed by the library `pydensecrf` (the package pydensecrf2).

This module does not import torch, so that the processes of `CrfPool` start quickly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from recoseg.errors import MissingExtraError, OptionError

MAX_ITERATIONS = 10_000
"""Largest number of steps, for settings that come from a file of someone else."""


@dataclass(frozen=True)
class CrfSettings:
    """Parameters of the dense CRF; the defaults are those of the published evaluation of ReCo.

    Attributes:
        iterations: Steps of the mean field.
        gaussian_sxy: Standard deviation of the smoothness kernel, in pixels.
        gaussian_compat: Weight of the smoothness kernel.
        bilateral_sxy: Spatial standard deviation of the appearance kernel, in pixels.
        bilateral_srgb: Colour standard deviation of the appearance kernel, on a scale of 0 to 255.
        bilateral_compat: Weight of the appearance kernel.
        clip: Smaller probabilities are replaced by this one.
    """

    iterations: int = 10
    gaussian_sxy: float = 1.0
    gaussian_compat: float = 3.0
    bilateral_sxy: float = 67.0
    bilateral_srgb: float = 3.0
    bilateral_compat: float = 4.0
    clip: float = 1e-5

    def __post_init__(self) -> None:
        if not 0 <= self.iterations <= MAX_ITERATIONS:
            raise OptionError(f"iterations is {self.iterations}; expected 0 to {MAX_ITERATIONS:,}.")
        for name in ("gaussian_sxy", "bilateral_sxy", "bilateral_srgb", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise OptionError(f"{name} is {getattr(self, name)}; expected more than 0.")
        for name in ("gaussian_compat", "bilateral_compat"):
            if not 0 <= getattr(self, name) < math.inf:
                raise OptionError(f"{name} is {getattr(self, name)}; expected 0 or more.")


def check_installed() -> None:
    """Raise an error unless the library is installed.

    Raises:
        MissingExtraError: The extra `crf` is not installed.
    """
    try:
        import pydensecrf.densecrf  # noqa: F401
    except ImportError as error:
        purpose = "The dense CRF (whose library is compiled; `pamr` works without it)"
        raise MissingExtraError("pydensecrf2", "crf", purpose) from error


def mean_field(probs: np.ndarray, image: np.ndarray, settings: CrfSettings) -> np.ndarray:
    """Refine probabilities with the mean field of a fully connected CRF, on one core.

    Krähenbühl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge
    Potentials", NeurIPS 2011. The unary energy is -log(probability). Both kernels are filtered
    approximately, on the permutohedral lattice, and normalised symmetrically.

    Args:
        probs: (c, h, w), fp32, which add up to 1 over the classes.
        image: (3, h, w), RGB, uint8.
        settings: The parameters.

    Returns:
        (c, h, w), fp32.
    """
    from pydensecrf.densecrf import DenseCRF2D

    classes, height, width = probs.shape
    unary = -np.log(np.clip(probs.reshape(classes, -1), settings.clip, 1, dtype=np.float32))
    crf = DenseCRF2D(width, height, classes)
    crf.setUnaryEnergy(np.ascontiguousarray(unary))
    crf.addPairwiseGaussian(sxy=settings.gaussian_sxy, compat=settings.gaussian_compat)
    crf.addPairwiseBilateral(
        sxy=settings.bilateral_sxy,
        srgb=settings.bilateral_srgb,
        rgbim=np.array(image.transpose(1, 2, 0), dtype=np.uint8, order="C"),
        compat=settings.bilateral_compat,
    )
    refined = np.array(crf.inference(settings.iterations), dtype=np.float32)
    return refined.reshape(classes, height, width)
