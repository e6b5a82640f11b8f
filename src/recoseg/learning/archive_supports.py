"""The photos that a class was learnt from as supports, with the regions that they have in common.

They stand in the place of photos with masks that people have drawn.
"""

from __future__ import annotations

import hashlib
from functools import partial

from jaxtyping import Bool, UInt8
from torch import Tensor

from recoseg.archive.index import ArchiveIndex
from recoseg.learning.one_class import LearnedClass
from recoseg.learning.support_regions import distinct_region
from recoseg.learning.supports import Support
from recoseg.photos.frame import Frame
from recoseg.photos.images import decode_for
from recoseg.photos.reading import read_photo


def archive_supports(index: ArchiveIndex, learnt: LearnedClass) -> list[Support]:
    """The retrieved photos of a class as supports, best first; those without a seed are left out.

    A support is the centre square of a photo, which the class was learnt from. Its region is where
    its patches resemble the reference more than the context; see `distinct_region`.

    Args:
        index: The archive.
        learnt: The class as it has just been learnt.
    """
    found = []
    for row, photo in enumerate(learnt.concept.retrieved):
        if not photo.seeds:
            continue
        region = distinct_region(learnt.distinct[row], photo.seeds)
        read = partial(_centre_square, index, learnt.positions[row])
        found.append(Support(photo.path, support_key(photo.photo_id, region), read, region))
    return found


def support_key(photo: str, region: Bool[Tensor, "a b"]) -> str:
    """A text that identifies a photo with a region.

    Args:
        photo: What identifies the photo.
        region: The region.
    """
    content = region.numpy().tobytes()
    return f"{photo} {tuple(region.shape)} {hashlib.sha256(content).hexdigest()}"


def _centre_square(index: ArchiveIndex, position: int, side: int) -> UInt8[Tensor, "3 side side"]:
    return decode_for(read_photo(index.photo(position)), Frame(side))[0]
