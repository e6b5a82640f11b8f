"""From photos to score grids: each photo through each encoder once, for any number of banks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from recoseg.concepts import Concept
from recoseg.encoders.base import DenseImageEncoder, DenseTextEncoder
from recoseg.segmentation.inputs import equal_sizes
from recoseg.segmentation.scores import text_scores, visual_scores
from recoseg.segmentation.windows import GridMean, window_boxes


class Grids(NamedTuple):
    """Scores of some photos, each kind on its encoder's grid; None where not wanted."""

    visual: Float[Tensor, "n c gh gw"] | None
    text: Float[Tensor, "n c hh hw"] | None

    def of(self, index: int) -> Grids:
        """Those of one photo, as a batch of one."""
        return Grids(*(None if part is None else part[index : index + 1] for part in self))


@dataclass(frozen=True)
class Wanted:
    """Which scores a labeller wants.

    Attributes:
        concepts: The classes that compete.
        visual: Whether it wants their visual scores.
        text: Whether it wants their text scores.
    """

    concepts: tuple[Concept, ...]
    visual: bool
    text: bool


@dataclass(frozen=True)
class PhotoEncoders:
    """The dense encoders, and how photos go through them.

    Attributes:
        phi: The dense image encoder; None where no visual score is wanted.
        saliency: The dense text encoder; likewise.
        window: Side of sliding windows over larger inputs, pixels; None for no windows.
        step: Pixels from one window to the next.
        batch_size: Photos (or windows) of equal size that are embedded together.
    """

    phi: DenseImageEncoder | None
    saliency: DenseTextEncoder | None
    window: int | None = None
    step: int = 0
    batch_size: int = 8

    @property
    def strides(self) -> tuple[int, int]:
        """Pixels per cell of phi and of the saliency encoder; 0 where there is none."""
        phi, saliency = (0 if e is None else e.info.stride for e in (self.phi, self.saliency))
        return phi, saliency

    @property
    def cell(self) -> int:
        """The least common multiple of the strides in use, pixels."""
        return math.lcm(*(stride for stride in self.strides if stride))

    def with_windows(self, window: int | None, step: int | None) -> PhotoEncoders:
        """The same with windows and steps of at least these sizes, in whole cells of both."""
        if window is None:
            return PhotoEncoders(self.phi, self.saliency, None, 0, self.batch_size)
        window = -(-window // self.cell) * self.cell
        step = -(-(step or window // 2) // self.cell) * self.cell
        return PhotoEncoders(self.phi, self.saliency, window, min(step, window), self.batch_size)

    def grids(self, pixels: UInt8[Tensor, "n 3 h w"], wanted: Sequence[Wanted]) -> list[Grids]:
        """Scores on the grids of whole photos, from windows where they are large.

        Args:
            pixels: Photos of equal size.
            wanted: What each of several labellers wants.

        Returns:
            The grids of each; features are computed once for all, and scores of the same concepts
            too.
        """
        # Banks are compared by identity: equal concepts of two banks are scored twice.
        keys = [tuple(map(id, item.concepts)) for item in wanted]
        merged: dict[tuple[int, ...], Wanted] = {}
        for key, item in zip(keys, wanted, strict=True):
            other = merged.get(key, item)
            merged[key] = Wanted(
                item.concepts, item.visual or other.visual, item.text or other.text
            )
        height, width = pixels.shape[2:]
        if self.window is None or max(height, width) <= self.window:
            scored = self._score(pixels, list(merged.values()))
        else:
            scored = self._score_windows(pixels, list(merged.values()), self.window)
        found = dict(zip(merged, scored, strict=True))
        return [
            Grids(
                found[key].visual if item.visual else None, found[key].text if item.text else None
            )
            for key, item in zip(keys, wanted, strict=True)
        ]

    def _score_windows(
        self, pixels: UInt8[Tensor, "n 3 h w"], wanted: Sequence[Wanted], window: int
    ) -> list[Grids]:
        height, width = pixels.shape[2:]
        boxes = window_boxes((height, width), window, self.step, self.cell)
        jobs = [(image, box) for box in boxes for image in range(len(pixels))]
        crops = {
            index: pixels[image, :, box.y0 : box.y1, box.x0 : box.x1]
            for index, (image, box) in enumerate(jobs)
        }
        means: dict[tuple[int, int], list[GridMean]] = {}  # by place in wanted and kind of score
        for group in equal_sizes(crops):
            for start in range(0, len(group), self.batch_size):
                part = group[start : start + self.batch_size]
                for number, grids in enumerate(
                    self._score(torch.stack([crops[index] for index in part]), wanted)
                ):
                    for kind, (scores, stride) in enumerate(zip(grids, self.strides, strict=True)):
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
        return [
            Grids(whole.get((number, 0)), whole.get((number, 1))) for number in range(len(wanted))
        ]

    @torch.inference_mode()
    def _score(self, pixels: UInt8[Tensor, "n 3 h w"], wanted: Sequence[Wanted]) -> list[Grids]:
        visual = text = None
        if self.phi is not None and any(item.visual for item in wanted):
            visual = self.phi.features(pixels)
        if self.saliency is not None and any(item.text for item in wanted):
            text = self.saliency.features(pixels)
        grids = []
        for item in wanted:
            references = [concept.references for concept in item.concepts]
            words = [(concept.text_positive, concept.text_negative) for concept in item.concepts]
            grids.append(
                Grids(
                    visual_scores(visual, references)
                    if visual is not None and item.visual
                    else None,
                    text_scores(text, words) if text is not None and item.text else None,
                )
            )
        return grids
