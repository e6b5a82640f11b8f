"""Single things in label maps: which of the pixels of a class belong together."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int32, UInt

from recoseg.decoders.instances import Instances
from recoseg.errors import OptionError, UnknownNameError
from recoseg.labels import InstanceMap

InstanceForm = Literal["parts", "decoder", "regions"]
"""What the single things of a class are: its connected parts; the instances that a decoder finds;
or the regions that vote, such as those of SAM 2."""

_MOST = 65_535  # numbers of 16 bits
_COVERED = 0.5  # the probability above which a mask covers a pixel


def instance_form(
    asked: str | None, has_decoder: bool, has_regions: bool, has_windows: bool
) -> InstanceForm:
    """The form of instances that is asked for, or else the one that suits the segmenter.

    Args:
        asked: A form, or None for the decoder's instances where there is a decoder that sees whole
            photos, and for connected parts elsewhere.
        has_decoder: Whether there is a decoder.
        has_regions: Whether regions vote.
        has_windows: Whether photos may be seen window by window.

    Raises:
        UnknownNameError: There is no such form.
        OptionError: It needs a decoder that sees whole photos, or regions.
    """
    if asked is None:
        return "decoder" if has_decoder and not has_windows else "parts"
    if asked not in get_args(InstanceForm):
        raise UnknownNameError("form of instances", asked, list(get_args(InstanceForm)))
    if asked == "decoder" and not has_decoder:
        raise OptionError("--instances decoder needs a decoder. Add one: --decoder sam3")
    if asked == "decoder" and has_windows:
        raise OptionError(
            "--instances decoder needs a decoder that sees whole photos, because the instances of "
            "windows do not fit together. Leave out --window, or choose --instances parts."
        )
    if asked == "regions" and not has_regions:
        raise OptionError("--instances regions needs regions. Add some, such as --regions sam2")
    return asked  # type: ignore[return-value]


def of_decoder(labels: UInt[np.ndarray, "h w"], found: Instances, classes: int) -> InstanceMap:
    """The instances of a decoder in a label map.

    A pixel belongs to the instance of its class that covers it; of several to that with the highest
    score times probability. Pixels of the class beside an instance join it; see `joined`.

    Args:
        labels: The label map.
        found: The instances, whose classes are labels.
        classes: Number of classes with labels; instances of others are left out.
    """
    numbers = np.zeros(labels.shape, np.int32)
    best = np.zeros(labels.shape, np.float32)
    scores = found.scores.tolist()
    for index, label in enumerate(found.classes.tolist()):
        mask = found.masks[index].float().numpy()
        place = _box_of(mask, labels.shape)
        if place is None or label >= classes:
            continue
        sure = _at_pixels(mask, labels.shape, place)
        value = scores[index] * sure
        own = (labels[place] == label) & (sure > _COVERED) & (value > best[place])
        numbers[place][own] = index + 1
        best[place][own] = value[own]
    return _numbered(labels, numbers, scores)


def of_regions(
    labels: UInt[np.ndarray, "h w"], regions: Int32[np.ndarray, "h w"], ignored: int
) -> InstanceMap:
    """The regions of a photo as instances in its label map.

    A region is an instance of the label that most of its pixels have, of equal ones the first;
    where that is background, it is none. Its other pixels do not belong to it. Pixels of the class
    beside an instance join it; see `joined`.

    Args:
        labels: The label map.
        regions: The regions, from 1; 0 for none.
        ignored: The label of background.
    """
    width = int(labels.max(initial=0)) + 1
    pairs, counts = np.unique(regions.astype(np.int64) * width + labels, return_counts=True)
    own, label = pairs // width, pairs % width
    order = np.lexsort((label, -counts, own))  # by region, the most frequent label first
    firsts = order[np.unique(own[order], return_index=True)[1]]
    table = np.full(int(regions.max(initial=0)) + 1, ignored, np.int64)
    table[own[firsts]] = label[firsts]
    table[0] = ignored
    belongs = (table[regions] == labels) & (labels != ignored)
    return _numbered(labels, np.where(belongs, regions, 0), [])


def joined(
    labels: UInt[np.ndarray, "h w"], numbers: Int32[np.ndarray, "h w"]
) -> Int32[np.ndarray, "h w"]:
    """Numbers of instances that fill the connected parts which they touch.

    In each connected part of a class that holds pixels of instances, the others get the number of
    the nearest instance of the class. Parts without an instance keep 0.

    Args:
        labels: The label map.
        numbers: The instance of each pixel, 0 for none.

    Example:
        >>> labels = np.array([[1, 1, 1, 0, 1]], np.uint8)
        >>> joined(labels, np.array([[0, 7, 0, 0, 0]], np.int32)).tolist()
        [[7, 7, 7, 0, 0]]
    """
    from scipy.ndimage import distance_transform_edt, find_objects, label

    numbers = numbers.copy()
    places = find_objects(np.where(numbers > 0, labels.astype(np.int32) + 1, 0))
    for value in (index for index, place in enumerate(places) if place is not None):
        is_own = labels == value
        [place] = find_objects(is_own.astype(np.int8))
        own, given = is_own[place], numbers[place]
        parts, _ = label(own, np.ones((3, 3)))
        held = np.zeros(int(parts.max()) + 1, bool)
        held[parts[own & (given > 0)]] = True
        missing = own & (given == 0) & held[parts]
        if missing.any():
            near = distance_transform_edt(
                ~(own & (given > 0)), return_distances=False, return_indices=True
            )
            given[missing] = given[tuple(near[:, missing])]
    return numbers


def _numbered(
    labels: UInt[np.ndarray, "h w"], numbers: Int32[np.ndarray, "h w"], scores: list[float]
) -> InstanceMap:
    """Instances that fill their parts, numbered without gaps; of too many the last are dropped."""
    filled = joined(labels, numbers)
    kept = np.unique(filled[filled > 0])[:_MOST]
    table = np.zeros(int(filled.max(initial=0)) + 1, np.uint16)
    table[kept] = np.arange(1, len(kept) + 1)
    return InstanceMap(table[filled], tuple(scores[index - 1] for index in kept) if scores else ())


def _box_of(mask: Float[np.ndarray, "a b"], size: tuple[int, ...]) -> tuple[slice, slice] | None:
    """The pixels of a photo that a mask may cover; None if it covers none."""
    covers = mask > _COVERED
    sides = []
    for axis, cells, pixels in zip((1, 0), mask.shape, size, strict=True):
        [where] = np.nonzero(covers.any(axis))
        if not len(where):
            return None
        # Half a cell beyond the centre of the next one is more than interpolation reaches.
        first, last = (where[0] - 1) * pixels // cells, -((where[-1] + 2) * pixels // -cells)
        sides.append(slice(max(0, int(first)), min(pixels, int(last))))
    return sides[0], sides[1]


def _at_pixels(
    mask: Float[np.ndarray, "a b"], size: tuple[int, ...], place: tuple[slice, slice]
) -> Float[np.ndarray, "rows columns"]:
    """A mask over a whole photo at the centres of some of its pixels, bilinearly."""
    for axis, (pixels, part) in enumerate(zip(size, place, strict=True)):
        cells = mask.shape[axis]
        at = (np.arange(part.start, part.stop) + 0.5) * (cells / pixels) - 0.5
        at = np.clip(at, 0, cells - 1).astype(np.float32)
        before = np.minimum(at.astype(np.int64), max(0, cells - 2))
        after = np.minimum(before + 1, cells - 1)
        share = (at - before)[:, None] if axis == 0 else at - before
        low, high = mask.take(before, axis), mask.take(after, axis)
        mask = low + (high - low) * share
    return mask
