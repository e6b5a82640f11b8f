"""Verdicts by what an index holds: the texts that photos fit, copies, and near-duplicates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from recoseg.archive.index import ArchiveIndex
from recoseg.classes import ClassNames
from recoseg.curation.checks import UNWANTED
from recoseg.curation.detectors import detected_people
from recoseg.curation.measuring import Measures
from recoseg.curation.near_duplicates import Alike, best_first, near_duplicates
from recoseg.curation.pixel_measures import alike_by
from recoseg.curation.text_margins import CONTRASTS, PEOPLE, margin
from recoseg.curation.verdicts import Verdict
from recoseg.encoders.protocols import ImageTextEncoder
from recoseg.onednn import linear
from recoseg.photos.refs import Photo
from recoseg.progress import StageProgress
from recoseg.retrieval.class_texts import ClassTexts

_ROWS = 4096
"""Photos whose cosines are computed at a time."""
NEAR = 0.1
"""Cosines that are lower than the limit by up to this are told as well, and thumbnails decide."""


def text_margins(
    index: ArchiveIndex,
    encoder: ImageTextEncoder,
    classes: Sequence[ClassNames],
    prompts: str,
    contrasts: Sequence[str] = CONTRASTS,
) -> Float[np.ndarray, "c n"]:
    """The margin of every photo for each class; see `margin`.

    The contrasts of a class are its negative words, the common ones, and not its own words.

    Args:
        index: The index.
        encoder: The encoder that made it.
        classes: Classes with their words.
        prompts: Name of the prompt set; see `prompt_set`.
        contrasts: The common contrasts.
    """
    common = [
        ClassNames(one.name, one.prompts, (*one.negatives, *_others(contrasts, one)))
        for one in classes
    ]
    texts = ClassTexts.of(common)
    words = texts.embed(encoder, prompts)
    found = np.empty((len(classes), len(index)), np.float32)
    for start, block in index.blocks(_ROWS, selected=False):
        cosines = linear(torch.from_numpy(np.asarray(block, np.float32)), words)
        pairs = zip(texts.spans.positive, texts.spans.negative, strict=True)
        for number, (positive, negative) in enumerate(pairs):
            scores = margin(cosines[:, positive], cosines[:, negative])
            found[number, start : start + len(block)] = scores.numpy()
    return found


def _others(contrasts: Sequence[str], one: ClassNames) -> list[str]:
    own = {word.casefold() for word in (one.name, *one.prompts)}
    return [word for word in contrasts if word.casefold() not in own]


def text_verdicts(
    classes: Sequence[ClassNames],
    margins: Float[np.ndarray, "c n"],
    limits: Mapping[str, float],
    detected: Measures | None = None,
) -> list[Verdict]:
    """Leave out photos that fit the words of classes.

    Args:
        classes: The classes; `PEOPLE` has a limit of its own.
        margins: The margin of each photo for each class.
        limits: The limits by name.
        detected: What detectors have found, who judge people as well.
    """
    found = []
    for item, scores in zip(classes, margins, strict=True):
        if item is PEOPLE:
            found.append(Verdict.above("people", "people", scores, limits["people"]))
            if detected is not None:
                found.append(detected_people(detected))
        else:
            reason = f"unwanted: {item.name}"
            found.append(Verdict.above(UNWANTED, reason, scores, limits[UNWANTED]))
    return found


def copy_verdicts(
    index: ArchiveIndex,
    photos: Mapping[int, Photo],
    stays: np.ndarray,
    spared: np.ndarray,
    pixels: Measures | None,
    limit: float,
    progress: bool | None = False,
) -> list[Verdict]:
    """Leave out copies and near-duplicates of better photos that stay.

    Args:
        index: The index.
        photos: The photos that are judged, by position.
        stays: Which photos no other verdict leaves out, (n,) bool.
        spared: Which photos stay whatever is found, (n,) bool.
        pixels: Measures of the photos, by which the better one is told, and thumbnails; without
            them, the sizes in the index tell the better one.
        limit: Photos with a higher cosine are near-duplicates.
        progress: See `StageProgress`.
    """
    count = len(index)
    size, area, sharpness = np.zeros(count), np.zeros(count), np.full(count, np.nan)
    ids = [""] * count
    for at, photo in photos.items():
        size[at], area[at], ids[at] = photo.size, photo.width * photo.height, photo.hash
    if pixels is not None:
        area = np.where(np.isfinite(pixels["width"]), pixels["width"] * pixels["height"], area)
        sharpness = pixels["sharpness"]
    order = best_first(area, sharpness, size)
    order = order[[at in photos and bool(stays[at]) for at in order.tolist()]]
    order = np.concatenate([order[spared[order]], order[~spared[order]]])
    same = identical_copies(ids, order).sparing(spared)

    def rows(positions: np.ndarray) -> Float[Tensor, "m d"]:
        return index.embeddings(positions.tolist())

    alike = None if pixels is None else alike_by(pixels)
    near = near_copies(rows, order[~same.is_out[order]], count, limit, alike, progress)
    return [same, near.sparing(spared)]


def identical_copies(ids: Sequence[str], order: np.ndarray) -> Verdict:
    """Leave out all copies of a file but one.

    Args:
        ids: The content of each photo, n; empty for photos that do not count.
        order: Positions, the photos to prefer first, int64.
    """
    kept = np.full(len(ids), -1, np.int64)
    first: dict[str, int] = {}
    for position in order.tolist():
        if ids[position]:
            known = first.setdefault(ids[position], position)
            kept[position] = known if known != position else -1
    scores = np.full(len(ids), np.nan, np.float32)
    return Verdict("duplicates", "an identical copy", kept >= 0, scores, kept=kept)


def near_copies(
    rows: Callable[[np.ndarray], Float[Tensor, "m d"]],
    order: np.ndarray,
    count: int,
    limit: float,
    alike: Alike | None = None,
    progress: bool | None = False,
) -> Verdict:
    """Leave out near-duplicates of better photos; see `near_duplicates`.

    Args:
        rows: Reads embeddings by position.
        order: Positions of the photos to compare, the best first, int64.
        count: Number of photos of the archive.
        limit: Photos with a higher cosine are near-duplicates.
        alike: Judges pairs with a slightly lower cosine.
        progress: See `StageProgress`.
    """
    with StageProgress("Comparing", len(order), enabled=progress) as bar:
        floor = max(-1.0, limit - NEAR)
        found = near_duplicates(rows, order, count, limit, floor, alike, bar.advance)
    scores = np.where(found.kept >= 0, found.cosine, np.nan).astype(np.float32)
    return Verdict("duplicates", "a near-duplicate", found.is_copy, scores, limit, found.kept)
