"""What a segmenter gives for one photo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt
from PIL import Image

from recoseg.drawing.overlay import draw_overlay
from recoseg.errors import BadImageError
from recoseg.labels import Colour, InstanceMap, Segmentation
from recoseg.photos.refs import Photo


@dataclass(frozen=True, eq=False)
class Result:
    """A photo with its label map, or with the reason why it has none.

    Everything but `photo`, `image`, `segmentation` and `failure` raises BadImageError where the
    photo could not be segmented.

    Attributes:
        photo: The photo; its path is empty where the photo was given as bytes or pixels.
        image: The decoded photo, upright RGB; None where it could not be decoded.
        segmentation: The label map; None where there is none.
    """

    photo: Photo
    image: Image.Image | None = None
    segmentation: Segmentation | None = None

    @property
    def failure(self) -> str:
        """Why the photo could not be segmented; empty where it was."""
        return self.photo.failure

    @property
    def labels(self) -> UInt[np.ndarray, "h w"]:
        """One label per pixel, at the photo's own size; see `Segmentation`."""
        return self._found.labels

    @property
    def names(self) -> tuple[str, ...]:
        """The class of each label."""
        return self._found.names

    @property
    def palette(self) -> tuple[Colour, ...]:
        """RGB of each class."""
        return self._found.palette

    @property
    def ignore_index(self) -> int:
        """The label of background."""
        return self._found.ignore_index

    @property
    def scores(self) -> Float[np.ndarray, "c h w"] | None:
        """Fused scores of each class, fp16; None unless the segmenter keeps them."""
        return self._found.scores

    @property
    def instances(self) -> InstanceMap | None:
        """The single things; None where only the connected parts of classes are known."""
        return self._found.instances

    def mask(self, name: str) -> Bool[np.ndarray, "h w"]:
        """The pixels of one class; all False where the class is absent.

        Raises:
            UnknownNameError: There is no such class; the message lists the classes.
        """
        return self._found.mask(name)

    def masks(self) -> dict[str, Bool[np.ndarray, "h w"]]:
        """The mask of each class that is present, the largest class first."""
        return self._found.masks()

    def areas(self) -> dict[str, float]:
        """The fraction of the photo that each present class covers, the largest class first."""
        return self._found.areas()

    def confidence(self) -> dict[str, float]:
        """How sure the segmenter is of each present class, 0 to 1; see `Segmentation.confidence`.

        The largest class comes first, as in `areas`.
        """
        return self._found.confidence()

    def overlay(self, *, opacity: float = 0.5, legend: bool = True) -> Image.Image:
        """The photo with its classes painted over it; see `draw_overlay`."""
        found = self._found
        assert self.image is not None
        return draw_overlay(self.image, found, opacity=opacity, legend=legend)

    def to_transformers(self) -> list[dict[str, Any]]:
        """The masks in the form of the `image-segmentation` pipeline of transformers."""
        return self._found.to_transformers()

    def to_supervision(self) -> Any:
        """The masks as `supervision.Detections`; see `Segmentation.to_supervision`."""
        return self._found.to_supervision()

    def to_fiftyone(self) -> Any:
        """The label map as `fiftyone.Segmentation`; see `Segmentation.to_fiftyone`."""
        return self._found.to_fiftyone()

    @property
    def _found(self) -> Segmentation:
        if self.segmentation is None:
            where = f"{self.photo.path}: " if self.photo.path else ""
            raise BadImageError(f"{where}{self.failure}")
        return self.segmentation
