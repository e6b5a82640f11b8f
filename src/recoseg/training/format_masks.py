"""Training sets, and their photos, of masks in the format of another tool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from recoseg.datasets.folder_layout import PHOTO_ENDINGS
from recoseg.datasets.folders import FOLDER
from recoseg.errors import BadImageError, DatasetError
from recoseg.formats.reading.masks import FormatMasks
from recoseg.photos.images import decode_image
from recoseg.photos.reading import read_photo
from recoseg.photos.refs import Photo


@dataclass(frozen=True)
class FormatPhoto:
    """A photo whose mask is in the format of another tool; see `TrainingPhoto`.

    Attributes:
        name: Name in messages.
        photo: Path of the photo.
        decode: Reads the label map, in which background is 255.
    """

    name: str
    photo: str
    decode: Callable[[], np.ndarray]

    def read(self) -> tuple[Image.Image, np.ndarray, np.ndarray]:
        """See `TrainingPhoto`."""
        image, labels = decode_image(read_photo(Photo(self.photo))), self.decode()
        if labels.shape != (image.height, image.width):
            raise BadImageError(
                f"its mask is {labels.shape[0]} x {labels.shape[1]} pixels (height x width), the "
                f"photo {image.height} x {image.width}"
            )
        return image, labels, np.full(labels.shape, 255, np.uint8)


def photos_of(found: FormatMasks, images: Path | None = None) -> dict[str, Path]:
    """The photos of masks, by the names of the masks; of some there may be none.

    Args:
        found: The masks.
        images: The folder of the photos; by default the one that the format has. A photo has the
            name of its mask, with more or fewer folders before it; see `FormatMasks.find`.

    Raises:
        DatasetError: The folder that is given holds no photo of any mask.
    """
    folder = found.photos if images is None else images
    listed = FOLDER.files(folder, folder, PHOTO_ENDINGS) if folder.is_dir() else {}
    pairs = ((found.find(name), path) for name, path in listed.items())
    photos = {name: path for name, path in pairs if name is not None}
    if images is not None and not photos:
        raise DatasetError(
            f"None of the {len(listed):,} photos in {images} has a mask in {found.location}. "
            "Expected photos with the names that the masks have there."
        )
    return photos


def format_photos(found: FormatMasks, images: Path | None = None) -> tuple[FormatPhoto, ...]:
    """The photos to train on.

    Args:
        found: The masks.
        images: See `photos_of`.

    Raises:
        DatasetError: There are no photos.
    """
    photos = photos_of(found, images)
    if not photos:
        raise DatasetError(
            f"There are no photos in {found.photos} for the masks in {found.location}. Say where "
            "they are: --images."
        )
    return tuple(
        FormatPhoto(name, str(path), found.read[name]) for name, path in sorted(photos.items())
    )
