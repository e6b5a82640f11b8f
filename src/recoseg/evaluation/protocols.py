"""Protocols: how photos are prepared, segmented and scored, so that scores can be compared."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from recoseg.errors import OptionError, UnknownNameError
from recoseg.photos.images import center_crop, resize_short_side
from recoseg.photos.keep_ratio import resize_keep_ratio

_LARGE = 1 << 16  # the photos of data sets are smaller


@dataclass(frozen=True)
class Protocol:
    """One way to score a data set.

    Attributes:
        name: Name of the protocol.
        note: One line that describes it.
        short_side: Photo and truth are resized to this short side first; 0 keeps their size.
        crop: Then they are cropped to the central square of this size, smaller photos are scaled
            up; 0 does not crop.
        nearest: Whether photos are resized by taking the nearest pixel, as published. The truth
            always is.
        resize: Short side of the encoders' input; 0 for the size of the prepared photo, None for
            that of the bank. Label maps are scored at the size of the prepared photo.
        longest: Where it is not 0, the input is scaled as the published evaluations of
            open-vocabulary segmentation do: its long side is at most this, pixels; see
            `resize_keep_ratio`.
        window: Side of sliding windows, pixels; None for no windows.
        window_step: Pixels from one window to the next.
        aliases: Whether the protocol expects classes that were learnt with the words of later
            papers: the label space `NAME_community`, or else the aliases.
    """

    name: str
    note: str
    short_side: int = 0
    crop: int = 0
    nearest: bool = False
    resize: int | None = 0
    longest: int = 0
    window: int | None = None
    window_step: int | None = None
    aliases: bool = False

    def prepare_photo(self, image: Image.Image) -> Image.Image:
        """Prepare a photo for segmentation."""
        return self._prepare(image, "nearest" if self.nearest else "bicubic")

    def prepare_labels(self, labels: np.ndarray) -> np.ndarray:
        """Prepare a label map (h, w), uint8 or uint16, for scoring."""
        return np.asarray(self._prepare(Image.fromarray(labels), "nearest"), labels.dtype)

    def _prepare(self, image: Image.Image, interpolation: str) -> Image.Image:
        if self.short_side:
            image = resize_short_side(image, self.short_side, interpolation)
        if min(image.size) < self.crop:
            image = resize_short_side(image, self.crop, interpolation)
        return center_crop(image, self.crop) if self.crop else image

    def scale_input(self, image: Image.Image, short_side: int) -> Image.Image:
        """Scale a prepared photo for the encoders."""
        if self.longest:
            return resize_keep_ratio(image, short_side, self.longest)
        return resize_short_side(image, short_side)

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON; `longest`, which earlier versions do not know, only where it is set.

        Records of evaluations that were begun with those can then be continued.
        """
        fields = asdict(self)
        if not self.longest:
            del fields["longest"]
        return fields

    @property
    def segmenter_options(self) -> dict[str, Any]:
        """The arguments of `bank_segmenter` that the protocol decides."""
        return {
            "resize": self.resize,
            "window": self.window,
            "window_step": self.window_step,
        }


PROTOCOLS = (
    Protocol("paper", "as published: short side 320, central square of 320", 320, 320),
    Protocol(
        "tcl",
        "the community's: short side 336, windows of 224 every 112, scored at the original size",
        resize=336,
        longest=2048,
        window=224,
        window_step=112,
        aliases=True,
    ),
    Protocol(
        "proxyclip",
        "as ProxyCLIP: short side 336, windows of 336 every 112, scored at the original size",
        resize=336,
        window=336,
        window_step=112,
        aliases=True,
    ),
    Protocol("native", "each photo whole, as `recoseg segment` does it", resize=None),
)

# Data sets for which a protocol has other settings.
_EXCEPTIONS: dict[tuple[str, str], dict[str, Any]] = {
    ("paper", "kitti_step19"): {"short_side": 0, "crop": 0, "note": "as published: full size"},
    ("tcl", "cityscapes19"): {"resize": 560},
    ("tcl", "cityscapes27"): {"resize": 560},
    ("proxyclip", "ade150"): {"resize": 448},
    ("proxyclip", "cityscapes19"): {"resize": 448, "window": 224},
    ("proxyclip", "cityscapes27"): {"resize": 448, "window": 224},
}


def protocol_of(
    name: str, dataset: str, *, published_quirks: bool = False, resize: int | None = None
) -> Protocol:
    """The protocol for a data set.

    Args:
        name: `paper`, `tcl`, `proxyclip` or `native`.
        dataset: Name of the data set; some have settings of their own.
        published_quirks: With `paper`: resize photos by the nearest pixel, as the published
            evaluation did.
        resize: Short side of the encoders' input, instead of the protocol's.

    Raises:
        UnknownNameError: There is no such protocol.
        RecosegError: The protocol has no published quirks, or `resize` is out of range.

    Example:
        >>> protocol_of("tcl", "cityscapes19").resize
        560
    """
    found = {protocol.name: protocol for protocol in PROTOCOLS}
    if name not in found:
        raise UnknownNameError("protocol", name, list(found))
    chosen = replace(found[name], **_EXCEPTIONS.get((name, dataset), {}))
    if published_quirks:
        if name != "paper":
            raise OptionError(f"Only the protocol 'paper' has published quirks; got {name!r}.")
        chosen = replace(chosen, nearest=True)
    if resize is not None:
        if not 0 <= resize < _LARGE:
            raise OptionError(f"resize is {resize}; expected 0 to {_LARGE - 1}.")
        chosen = replace(chosen, resize=resize)
    return chosen
