"""From photos to score grids: each photo through each encoder once, for any number of banks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from recoseg.concepts import Concept
from recoseg.encoders.protocols import DenseImageEncoder, DenseTextEncoder
from recoseg.photos.inputs import equal_sizes
from recoseg.segmentation.input_plan import InputPlan
from recoseg.segmentation.scores import text_scores, visual_scores
from recoseg.segmentation.windows import GridMean, window_boxes


class Grids(NamedTuple):
    """Scores of some photos, each kind on its encoder's grid; None where not wanted."""

    visual: Float[Tensor, "n c gh gw"] | None
    text: Float[Tensor, "n c hh hw"] | None

    def of(self, index: int) -> Grids:
        """Those of one photo, as a batch of one."""
        return Grids(*(None if part is None else part[index : index + 1] for part in self))


@dataclass(frozen=True, eq=False)
class Wanted:
    """Which scores a labeller wants.

    Attributes:
        concepts: The classes that compete.
        phi: The encoder of their visual scores; None where those are not wanted.
        saliency: The encoder of their text scores; likewise.
    """

    concepts: tuple[Concept, ...]
    phi: DenseImageEncoder | None
    saliency: DenseTextEncoder | None

    @property
    def names(self) -> tuple[str, ...]:
        """The classes that compete."""
        return tuple(concept.name for concept in self.concepts)

    @property
    def strides(self) -> tuple[int, int]:
        """Pixels per cell of both kinds of scores; 0 where there are none."""
        phi, saliency = (0 if e is None else e.info.stride for e in (self.phi, self.saliency))
        return phi, saliency


def score_grids(
    pixels: UInt8[Tensor, "n 3 h w"], wanted: Sequence[Wanted], plan: InputPlan
) -> list[Grids]:
    """Scores on the grids of whole photos, from windows where they are large.

    Args:
        pixels: Photos of equal size.
        wanted: What each of several labellers wants.
        plan: Windows and batches.

    Returns:
        The grids of each; features are computed once for all that share an encoder, and scores
        once for those that share the very same concepts too.
    """
    unique = {_key(item): item for item in wanted}
    strides = [item.strides for item in unique.values()]
    scored = windowed(pixels, plan, strides, lambda part: _score(part, list(unique.values())))
    found = dict(zip(unique, scored, strict=True))
    return [found[_key(item)] for item in wanted]


def windowed(
    pixels: UInt8[Tensor, "n 3 h w"],
    plan: InputPlan,
    strides: Sequence[tuple[int, int]],
    score: Callable[[UInt8[Tensor, "n 3 h w"]], list[Grids]],
) -> list[Grids]:
    """Scores of whole photos, the mean of those of windows where the photos are large.

    Args:
        pixels: Photos of equal size.
        plan: Windows and batches.
        strides: Pixels per cell of both kinds of scores, for each labeller.
        score: Gives the grids of each labeller, for a batch of photos or windows.
    """
    if plan.window is None or max(pixels.shape[2:]) <= plan.window:
        return score(pixels)
    return _score_windows(pixels, plan, plan.window, strides, score)


def _key(item: Wanted) -> tuple[int, ...]:
    return (id(item.phi), id(item.saliency), *map(id, item.concepts))


def _score_windows(
    pixels: UInt8[Tensor, "n 3 h w"],
    plan: InputPlan,
    window: int,
    strides: Sequence[tuple[int, int]],
    score: Callable[[Tensor], list[Grids]],
) -> list[Grids]:
    height, width = pixels.shape[2:]
    cell = math.lcm(*(stride for pair in strides for stride in pair if stride))
    boxes = window_boxes((height, width), window, plan.step, cell)
    jobs = [(image, box) for box in boxes for image in range(len(pixels))]
    crops = {
        index: pixels[image, :, box.y0 : box.y1, box.x0 : box.x1]
        for index, (image, box) in enumerate(jobs)
    }
    means: dict[tuple[int, int], list[GridMean]] = {}  # by place in wanted and kind of score
    for group in equal_sizes(crops):
        for start in range(0, len(group), plan.batch_size):
            part = group[start : start + plan.batch_size]
            scored = score(torch.stack([crops[index] for index in part]))
            for number, grids in enumerate(scored):
                for kind, (scores, stride) in enumerate(zip(grids, strides[number], strict=True)):
                    if scores is None:
                        continue
                    grid_hw = (-(-height // stride), -(-width // stride))
                    if (number, kind) not in means:
                        means[number, kind] = [
                            GridMean(scores.shape[1], grid_hw, scores.device) for _ in pixels
                        ]
                    for place, index in enumerate(part):
                        image, box = jobs[index]
                        mean = means[number, kind][image]
                        mean.add(scores[place], box.y0 // stride, box.x0 // stride)
    whole = {key: torch.stack([mean.mean() for mean in kept]) for key, kept in means.items()}
    return [Grids(whole.get((number, 0)), whole.get((number, 1))) for number in range(len(strides))]


@torch.inference_mode()
def _score(pixels: UInt8[Tensor, "n 3 h w"], wanted: Sequence[Wanted]) -> list[Grids]:
    features: dict[int, Tensor] = {}
    for item in wanted:
        for encoder in (item.phi, item.saliency):
            if encoder is not None and id(encoder) not in features:
                features[id(encoder)] = encoder.features(pixels)
    grids = []
    for item in wanted:
        visual = text = None
        if item.phi is not None:
            references = [next(iter(concept.references.values())) for concept in item.concepts]
            visual = visual_scores(features[id(item.phi)], references)
        if item.saliency is not None:
            words = [(concept.text_positive, concept.text_negative) for concept in item.concepts]
            text = text_scores(features[id(item.saliency)], words)
        grids.append(Grids(visual, text))
    return grids
