"""Training recipes: all settings of a run, and named sets of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args

from recoseg.errors import OptionError, UnknownNameError

Keep = Literal["last", "ema", "best-on-ground-truth"]
"""Which weights become the model: those of the last step, their exponential moving average, or
those with the highest mIoU on ground truth, as published; the last choice uses labels."""


@dataclass(frozen=True)
class Augmentation:
    """How photos and masks are augmented, in this order.

    The defaults are the paper's (supplement, B.4) and, where it is not specific, those of its code.

    Attributes:
        short_side: The photo is resized to this short side first, pixels.
        centre_crop: Whether only its central square is used.
        scale: Range of the random scale.
        crop: Side of the random crop, pixels; smaller photos are padded, and padded pixels are
            ignored.
        flip: Probability of a horizontal flip.
        jitter: Strengths of the random brightness, contrast, saturation and hue.
        jitter_p: Probability of the colour jitter.
        blur_p: Probability of the Gaussian blur.
        blur_kernel: Side of the blur's kernel as a fraction of the crop, rounded to an odd number
            of pixels.
        blur_sigma: Range of the blur's standard deviation, pixels.
    """

    short_side: int = 320
    centre_crop: bool = True
    scale: tuple[float, float] = (0.5, 2.0)
    crop: int = 320
    flip: float = 0.5
    jitter: tuple[float, float, float, float] = (0.8, 0.8, 0.8, 0.2)
    jitter_p: float = 0.8
    blur_p: float = 0.5
    blur_kernel: float = 0.1
    blur_sigma: tuple[float, float] = (0.1, 2.0)

    def __post_init__(self) -> None:
        for name in ("short_side", "crop"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}; expected 1 or more.")
        for name in ("flip", "jitter_p", "blur_p"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(f"{name} is {getattr(self, name)}; expected 0 to 1.")
        for name in ("scale", "blur_sigma"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise OptionError(f"{name} is {low} to {high}; expected 0 < low <= high.")

    @property
    def kernel(self) -> int:
        """Side of the blur's kernel, pixels, odd.

        Example:
            >>> Augmentation().kernel, Augmentation(crop=192).kernel
            (33, 19)
        """
        return int(self.blur_kernel * self.crop) // 2 * 2 + 1


@dataclass(frozen=True)
class Recipe:
    """All settings that decide a model, apart from its data; the defaults are the paper's.

    Attributes:
        encoder: Spec of the encoder; see `recoseg.training.network`.
        output_stride: Pixels per cell of the encoder's last map: 8 or 16.
        separable: Whether the dilated convolutions of the pyramid are depthwise separable.
        freeze_encoder: Whether the encoder keeps its weights and norm statistics.
        iterations: Steps of the optimiser.
        batch_size: Photos per step, over all devices and accumulated parts.
        lr: Initial learning rate of the decoder.
        encoder_lr: Factor on the learning rate for the encoder.
        weight_decay: L2 penalty, added to the gradients by Adam.
        decay_power: Exponent of the polynomial decay of the learning rate.
        confidence: Whether the loss of each pixel is weighted with the confidence of its label.
        keep: Which weights become the model.
        ema_decay: Decay per step of the moving average.
        seed: Random seed of the order of photos, augmentation, dropout and new weights.
        augmentation: How photos and masks are augmented.
    """

    encoder: str = "resnet101"
    output_stride: int = 8
    separable: bool = False
    freeze_encoder: bool = False
    iterations: int = 20_000
    batch_size: int = 8
    lr: float = 5e-4
    encoder_lr: float = 0.1
    weight_decay: float = 2e-4
    decay_power: float = 0.9
    confidence: bool = False
    keep: Keep = "last"
    ema_decay: float = 0.999
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if self.keep not in get_args(Keep):
            raise UnknownNameError("choice of weights", self.keep, list(get_args(Keep)))
        if self.output_stride not in (8, 16):
            raise OptionError(f"output_stride is {self.output_stride}; expected 8 or 16.")
        if self.augmentation.crop % self.output_stride:
            raise OptionError(
                f"crop is {self.augmentation.crop}; expected a multiple of the output stride, "
                f"{self.output_stride}."
            )
        for name, least in (("iterations", 1), ("batch_size", 2), ("lr", 0), ("weight_decay", 0)):
            if getattr(self, name) < least:  # one photo alone has no batch statistics
                raise OptionError(f"{name} is {getattr(self, name)}; expected {least} or more.")
        if not 0 <= self.ema_decay < 1:
            raise OptionError(f"ema_decay is {self.ema_decay}; expected 0 to less than 1.")

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Recipe:
        """Read the result of `dataclasses.asdict`, also after a round through JSON."""
        parts: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in given["augmentation"].items()
        }
        return cls(**{**given, "augmentation": Augmentation(**parts)})


RECIPES: Mapping[str, Recipe] = {
    "paper": Recipe(),
    # For CPUs: a small encoder from a PyPI package, smaller photos, fewer steps.
    "short": Recipe(
        encoder="efficientnet-lite2",
        output_stride=16,
        separable=True,
        iterations=600,
        lr=1e-3,
        keep="ema",
        ema_decay=0.99,
        augmentation=Augmentation(
            short_side=256, centre_crop=False, crop=192, jitter=(0.4, 0.4, 0.4, 0.1)
        ),
    ),
}
"""`paper`: as published. `short`: some minutes on a CPU."""


def recipe(name: str, **changes: Any) -> Recipe:
    """A recipe by its name, with some fields (also those of the augmentation) changed.

    Args:
        name: Name of the recipe.
        changes: New values; None does not change a field.

    Raises:
        UnknownNameError: There is no such recipe; the message lists all.
        RecosegError: A value is out of range.

    Example:
        >>> recipe("paper", crop=256, iterations=None).augmentation.crop
        256
    """
    if name not in RECIPES:
        raise UnknownNameError("recipe", name, list(RECIPES))
    base = RECIPES[name]
    given = {key: value for key, value in changes.items() if value is not None}
    inner = {item.name for item in fields(Augmentation)}
    augmentation = replace(base.augmentation, **{k: v for k, v in given.items() if k in inner})
    outer = {k: v for k, v in given.items() if k not in inner}
    return replace(base, **outer, augmentation=augmentation)
