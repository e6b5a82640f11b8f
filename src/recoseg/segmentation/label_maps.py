"""Label maps from fused scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from recoseg.errors import OptionError
from recoseg.labels import ignore_index, label_dtype
from recoseg.segmentation.presence import is_ambiguous, leave_out

MAX_STRIP = 4_000_000
"""Bound on the scores of a strip (classes x rows x width) per branch."""


@dataclass(frozen=True)
class BackgroundRule:
    """Which pixels become background.

    Attributes:
        threshold: Pixels whose best fused score is lower become background; None for no
            threshold. Fused scores lie in (0, 1) for the product; see `FUSIONS`.
        classes: Indices of the classes whose pixels become background.
        ambiguity: Pixels whose two best classes are too weak or too close to each other become
            background; see `is_ambiguous`. None for no such rule.

    Raises:
        RecosegError: The ambiguity is out of range.
    """

    threshold: float | None = None
    classes: tuple[int, ...] = ()
    ambiguity: float | None = None

    @property
    def divides(self) -> bool:
        """Whether background is told from the classes, and not only what is unclear."""
        return self.threshold is not None or bool(self.classes)

    def __post_init__(self) -> None:
        if self.ambiguity is not None and not 0 <= self.ambiguity < math.inf:
            raise OptionError(
                f"ambiguity is {self.ambiguity}; expected 0 or more, and not infinity."
            )


def label_map(
    scores: Float[Tensor, "c h w"],
    background: BackgroundRule | None = None,
    ignored: int | None = None,
    kept: Bool[Tensor, " c"] | None = None,
    unclear: int | None = None,
) -> Int64[Tensor, "h w"]:
    """The class with the highest score at each pixel; of equal scores the first class.

    Args:
        scores: Fused scores.
        background: Which pixels become background.
        ignored: The label of background; by default `ignore_index` of c classes.
        kept: The classes that a pixel can have; by default all. Without any, all is background.
        unclear: The label of ambiguous pixels; by default that of background.

    Example:
        >>> scores = torch.tensor([[[0.9, 0.2]], [[0.1, 0.3]]])
        >>> label_map(scores, BackgroundRule(threshold=0.5)).tolist()
        [[0, 255]]
    """
    background = background or BackgroundRule()
    ignored = ignore_index(len(scores)) if ignored is None else ignored
    scores = leave_out(scores, kept)
    best, labels = scores.max(0)
    if background.classes:
        table = torch.arange(len(scores), device=scores.device)
        table[list(background.classes)] = ignored
        labels = table[labels]
    if background.threshold is not None:
        labels = torch.where(best < background.threshold, ignored, labels)
    if background.ambiguity is not None:
        unclear = ignored if unclear is None else unclear
        labels = torch.where(is_ambiguous(scores, background.ambiguity), unclear, labels)
    return labels if kept is None or bool(kept.any()) else torch.full_like(labels, ignored)


def label_strips(
    strip: Callable[[int, int], Float[Tensor, "c strip w"]],
    classes: int,
    output_hw: tuple[int, int],
    background: BackgroundRule | None = None,
    *,
    ignored: int | None = None,
    keep_scores: bool = False,
    kept: Bool[Tensor, " c"] | None = None,
    unclear: int | None = None,
    max_elements: int = MAX_STRIP,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Compute a label map strip by strip, without holding all score maps in memory.

    Args:
        strip: Gives the fused scores of rows `start` to `end`.
        classes: Number of classes c.
        output_hw: Size of the label map, pixels.
        background: Which pixels become background.
        ignored: The label of background; by default `ignore_index` of c classes.
        keep_scores: Whether to keep all score maps, in fp16 (2 c h w bytes).
        kept: The classes that a pixel can have; by default all.
        unclear: The label of ambiguous pixels; by default that of background.
        max_elements: Bound on the scores of a strip (c * rows * w) per branch.

    Returns:
        The label map (h, w), uint8 or uint16, and the scores (c, h, w), fp16, if kept.
    """
    height, width = output_hw
    ignored = ignore_index(classes) if ignored is None else ignored
    dtype = label_dtype(ignored if unclear is None else unclear)
    labels = np.empty((height, width), dtype)
    maps = np.empty((classes, height, width), np.float16) if keep_scores else None
    start = 0
    for scores in score_strips(strip, classes, output_hw, max_elements):
        end = start + scores.shape[1]
        found = label_map(scores, background, ignored, kept, unclear)
        labels[start:end] = found.cpu().numpy().astype(dtype)
        if maps is not None:
            maps[:, start:end] = scores.half().cpu().numpy()
        start = end
    return labels, maps


def score_strips(
    strip: Callable[[int, int], Float[Tensor, "c strip w"]],
    classes: int,
    output_hw: tuple[int, int],
    max_elements: int = MAX_STRIP,
) -> Iterator[Float[Tensor, "c _ w"]]:
    """All scores of a photo from top to bottom, strip by strip; see `label_strips`."""
    height, width = output_hw
    step = max(1, max_elements // (classes * width))
    for start in range(0, height, step):
        yield strip(start, min(start + step, height))


def background_scores(
    scores: Float[np.ndarray, "m h w"], labelled: int, place: int, rule: BackgroundRule
) -> Float[np.ndarray, "c h w"]:
    """Scores in which background is a class like the others.

    Its score is the best of the classes that become background, and at least the threshold. Those
    classes themselves are left out, so that they do not compete with it.

    Args:
        scores: Scores of all classes, those that only become background after the others.
        labelled: Number c of classes with labels, background among them.
        place: The label of background.
        rule: Which pixels become background.

    Example:
        >>> scores = np.array([[[0.9, 0.2]], [[0.1, 0.3]]], np.float16)
        >>> background_scores(scores, 2, 1, BackgroundRule(0.25, (1,)))[1].tolist()
        [[0.25, 0.300048828125]]
    """
    found = np.full((labelled, *scores.shape[1:]), -np.inf, scores.dtype)
    for label in range(min(labelled, len(scores))):
        if label not in (place, *rule.classes):
            found[label] = scores[label]
    for label in rule.classes:
        np.maximum(found[place], scores[label], out=found[place])
    if rule.threshold is not None:
        np.maximum(found[place], scores.dtype.type(rule.threshold), out=found[place])
    return found


def class_indices(
    names: Sequence[str], wanted: Sequence[str], valid: Sequence[str] | None = None
) -> tuple[int, ...]:
    """The indices of the wanted names among the names.

    Args:
        names: All names.
        wanted: The names to find.
        valid: The names that the error lists; by default all names.

    Raises:
        RecosegError: A wanted name is not among the names.
    """
    missing = [name for name in wanted if name not in names]
    if missing:
        raise OptionError(
            f"Unknown background classes: {', '.join(missing)}. The bank has: "
            f"{', '.join(valid or names)}. Add them to the bank first, or leave them out."
        )
    return tuple(list(names).index(name) for name in wanted)
