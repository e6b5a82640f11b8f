"""Photos with masks of one's own as supports, from which the prompts of a decoder are learnt."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from recoseg.datasets.folder_layout import MASK_ENDINGS, Layout, Pair
from recoseg.datasets.masks import decode_values
from recoseg.datasets.pairs import stamp_of
from recoseg.errors import BadImageError, did_you_mean
from recoseg.learning.archive_supports import support_key
from recoseg.learning.supports import Support
from recoseg.photos.images import decode_reduced, to_tensor, upright_size
from recoseg.photos.refs import composed

SUPPORT = Layout(
    "Photos with masks as supports",
    ("images/<name>.jpg", "masks/<class>/<name>.png"),
    "A mask has its photo's size; each pixel that is not 0 shows the class whose name the folder "
    "has. A photo may have masks of several classes.",
)

MOST_MASKS = 200
"""Masks of a class that are looked at; the most typical ones are learnt from."""

_LONGEST = 1024
"""Long side of a region, pixels; larger masks are scaled down."""

_log = logging.getLogger(__name__)


def find_supports(root: Path, names: Sequence[str]) -> dict[str, list[Pair]]:
    """The photos with masks of each class, by the name of the class.

    Args:
        root: Folder with `images` and `masks`; see `SUPPORT`.
        names: The classes; those that have no folder of masks are not in the result.

    Raises:
        DatasetError: A folder is missing or cannot be read, no folder has the name of a class, or
            a mask has no photo.
    """
    images, masks = (SUPPORT.folder(root, [name]) for name in ("images", "masks"))
    photos = SUPPORT.photos(root, images)
    wanted = {composed(name): name for name in names}
    found: dict[str, list[Pair]] = {}
    folders = sorted(path for path in masks.iterdir() if path.is_dir())
    for folder in folders:
        name = wanted.get(composed(folder.name))
        if name is None:
            near = did_you_mean(folder.name, names)
            _log.warning("No class that is learnt is called %r.%s", folder.name, near)
            continue
        files = SUPPORT.files(root, folder, MASK_ENDINGS)
        found[name] = SUPPORT.pairs(root, photos, files, names=files)
    if not any(found.values()):
        raise SUPPORT.error(root, f"no mask of a class that is learnt ({', '.join(names[:5])}).")
    return {name: pairs for name, pairs in found.items() if pairs}


def read_supports(pairs: Sequence[Pair]) -> list[Support]:
    """Supports of photos and masks; those that cannot be used are left out with a warning."""
    if len(pairs) > MOST_MASKS:
        _log.warning("Of %s masks the first %s are used.", f"{len(pairs):,}", MOST_MASKS)
    found = []
    for pair in pairs[:MOST_MASKS]:
        try:
            region = torch.from_numpy(_region(pair))
        except BadImageError as error:
            _log.warning("Left out: %s: %s", pair.photo, error)
            continue
        key = support_key(f"{pair.photo} {stamp_of(pair.photo)}", region)
        found.append(Support(str(pair.photo), key, partial(_whole, pair.photo), region))
    return found


def _region(pair: Pair) -> np.ndarray:
    """The region of a mask, (h, w) bool, scaled down where it is large.

    Raises:
        BadImageError: The mask cannot be read, is empty, or is not of the photo's size.
    """
    values = decode_values(pair.mask) != 0
    expected = upright_size(pair.photo)
    if values.shape != expected:
        raise BadImageError(
            f"its mask is {values.shape[0]} x {values.shape[1]} pixels (height x width), the photo "
            f"{expected[0]} x {expected[1]}"
        )
    if not values.any():
        raise BadImageError("its mask is empty")
    image = Image.fromarray(values.astype(np.uint8) * 255)
    image.thumbnail((_LONGEST, _LONGEST), Image.Resampling.BOX)
    shares = np.asarray(image)
    return shares >= min(128, int(shares.max()))


def _whole(photo: Path, side: int) -> UInt8[Tensor, "3 h w"]:
    return to_tensor(decode_reduced(photo, side)[0])
