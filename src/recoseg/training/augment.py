"""The paper's augmentations of photo and mask together, with torchvision's transforms v2."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from recoseg.labels import IGNORE_INDEX
from recoseg.training.recipe import Augmentation

FILL = (124, 116, 104)
"""RGB of padded pixels: the mean of ImageNet."""


class Rescale(v2.Transform):
    """Resize to a short side, or by a random factor: photos bilinearly, masks to the nearest pixel.

    The nearest pixel is the one with the nearest centre, as in bilinear interpolation, so that
    masks stay aligned with their photos.

    Args:
        short_side: Resize to this short side, pixels; the long side is rounded down.
        scale: If there is no short side, resize by a random factor in this range; both sides are
            rounded down.
    """

    def __init__(
        self, short_side: int | None = None, scale: tuple[float, float] = (1.0, 1.0)
    ) -> None:
        super().__init__()
        self.short_side = short_side
        self.scale = scale

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The new height and width."""
        height, width = v2.query_size(flat_inputs)
        if self.short_side is not None:
            short = min(height, width)
            return {"size": [self.short_side * side // short for side in (height, width)]}
        low, high = self.scale
        factor = low + (high - low) * float(torch.rand(1))
        return {"size": [max(1, int(side * factor)) for side in (height, width)]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Resize the photo or the mask."""
        if isinstance(inpt, tv_tensors.Mask):
            nearest = v2.InterpolationMode.NEAREST_EXACT
            plain = F.resize(inpt.as_subclass(Tensor), params["size"], interpolation=nearest)
            return tv_tensors.Mask(plain)
        return F.resize(inpt, params["size"], antialias=True)


def build_transform(settings: Augmentation) -> v2.Compose:
    """The augmentations in the paper's order.

    The result takes a `tv_tensors.Image` and a `tv_tensors.Mask`, both uint8, with any number of
    channels, and returns both at the size of the crop. It uses torch's global generator.
    """
    fill = cast("Any", {tv_tensors.Image: FILL, tv_tensors.Mask: IGNORE_INDEX})
    first = [Rescale(short_side=settings.short_side)]
    if settings.centre_crop:
        first.append(v2.CenterCrop(settings.short_side))
    return v2.Compose(
        [
            *first,
            Rescale(scale=settings.scale),
            v2.RandomCrop(settings.crop, pad_if_needed=True, fill=fill),
            v2.RandomHorizontalFlip(settings.flip),
            v2.RandomApply([v2.ColorJitter(*settings.jitter)], settings.jitter_p),
            v2.RandomApply(
                [v2.GaussianBlur(settings.kernel, settings.blur_sigma)], settings.blur_p
            ),
        ]
    )


def augment(
    transform: v2.Compose,
    image: UInt8[Tensor, "3 h w"],
    masks: UInt8[Tensor, "m h w"],
    seed: int,
) -> tuple[UInt8[Tensor, "3 s s"], UInt8[Tensor, "m s s"]]:
    """Apply a transform as a pure function of its inputs and a seed.

    Args:
        transform: From `build_transform`.
        image: RGB.
        masks: Labels and other maps of the pixels, such as confidence.
        seed: Random seed; torch's global generator is not changed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        found = transform(tv_tensors.Image(image), tv_tensors.Mask(masks))
    return found[0].as_subclass(Tensor), found[1].as_subclass(Tensor)


def mixed_seed(*parts: int) -> int:
    """One seed from several numbers, such as the seed of a run and a position in it.

    Example:
        >>> mixed_seed(0, 1) != mixed_seed(1, 0)
        True
    """
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))
