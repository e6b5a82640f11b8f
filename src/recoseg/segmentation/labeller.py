"""From score grids to label maps: fuse, up-sample, refine, decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from recoseg.config import Fusion
from recoseg.labels import IGNORE_INDEX, Colour, Segmentation, ignore_index
from recoseg.photos.images import to_tensor
from recoseg.photos.inputs import Ready
from recoseg.refinement.refiner import Refiner
from recoseg.segmentation.fusion import activate_text, activate_visual, fuse
from recoseg.segmentation.label_maps import Background, label_map, label_strips
from recoseg.segmentation.score_grids import Grids
from recoseg.segmentation.upsample import Upsampler

_MOST_REFINED = 64_000_000
"""Score numbers (photos x classes x pixels) that are refined together, unless one has more."""


class Competing(Protocol):
    """The classes that compete, and where their scores stand."""

    @property
    def names(self) -> tuple[str, ...]:
        """The classes, one per score."""

    @property
    def strides(self) -> tuple[int, int]:
        """Pixels per cell of both kinds of scores; 0 where there are none."""


CompetingT = TypeVar("CompetingT", bound=Competing, covariant=True)


@dataclass(frozen=True)
class Labeller(Generic[CompetingT]):
    """Everything between the score grids and the label maps.

    Attributes:
        wanted: The classes that compete (those that are named, then context classes that stand for
            background), with the encoders of their scores where such make them.
        names: The classes that are named.
        palette: Their colours.
        fusion: How the two kinds of scores become one; None for a model's scores before the
            softmax, of the first kind: what is kept and refined is their log-softmax.
        background: What becomes background.
        refiner: What refines the fused scores; None for nothing.
        keep_scores: Whether results hold their fused scores, as they were before refinement.
    """

    wanted: CompetingT
    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    fusion: Fusion | None
    background: Background
    refiner: Refiner | None = None
    keep_scores: bool = False

    @property
    def background_names(self) -> tuple[str, ...]:
        """The classes that become background."""
        return tuple(self.wanted.names[index] for index in self.background.classes)

    @property
    def ignored(self) -> int:
        """The label of background."""
        return ignore_index(len(self.names))

    @torch.inference_mode()
    def label(self, items: Sequence[Ready], grids: Grids) -> list[Segmentation]:
        """Label photos.

        Args:
            items: The photos.
            grids: Their scores.
        """
        strides = self.wanted.strides
        strips = [
            _Strips(item, grids.of(place), strides, self.fusion) for place, item in enumerate(items)
        ]
        if self.refiner is None:
            return [self._label_strips(part) for part in strips]
        results: dict[int, Segmentation] = {}
        for part in self._refined_together(items):
            results |= zip(part, self._refine([strips[index] for index in part]), strict=True)
        return [results[index] for index in range(len(items))]

    def _label_strips(self, strips: _Strips) -> Segmentation:
        labels, kept = label_strips(
            strips,
            len(self.wanted.names),
            strips.output_hw,
            self.background,
            ignored=self.ignored,
            keep_scores=self.keep_scores,
        )
        own = None if kept is None else kept[: len(self.names)]
        return Segmentation(labels, self.names, self.palette, own)

    def _refined_together(self, items: Sequence[Ready]) -> Iterator[list[int]]:
        """Photos of equal size, as many as may be refined at a time."""
        sizes: dict[tuple[int, int], list[int]] = {}
        for index, item in enumerate(items):
            sizes.setdefault(item.image.size, []).append(index)
        for (width, height), group in sizes.items():
            count = max(1, _MOST_REFINED // (len(self.wanted.names) * height * width))
            for start in range(0, len(group), count):
                yield group[start : start + count]

    def _refine(self, strips: Sequence[_Strips]) -> list[Segmentation]:
        """Refine photos of equal size.

        A background threshold takes part as a class whose score is the threshold everywhere: the
        same decision as without refinement, and background gets refined edges as well.
        """
        assert self.refiner is not None
        height, width = strips[0].output_hw
        scores = torch.stack([part(0, height) for part in strips])
        names = len(self.names)
        own = scores[:, :names].half().cpu().numpy() if self.keep_scores else None
        background = self.background
        if background.threshold is not None:
            level = scores.new_full((len(scores), 1, height, width), background.threshold)
            scores = torch.cat([scores, level], dim=1)
            background = Background(classes=(*background.classes, len(self.wanted.names)))
        images = torch.stack([part.photo for part in strips])
        refined = self.refiner(images, scores)
        dtype = "uint8" if self.ignored == IGNORE_INDEX else "uint16"
        return [
            Segmentation(
                label_map(photo, background, self.ignored).cpu().numpy().astype(dtype),
                self.names,
                self.palette,
                None if own is None else own[place],
            )
            for place, photo in enumerate(refined)
        ]


class _Strips:
    """Fused scores of one photo, any strip of its rows at a time."""

    def __init__(
        self, item: Ready, grids: Grids, strides: tuple[int, int], fusion: Fusion | None
    ) -> None:
        input_hw = (item.pixels.shape[1], item.pixels.shape[2])
        self.output_hw = (item.image.height, item.image.width)
        self._item = item
        self._fusion = fusion
        self._maps: list[tuple[Tensor, Upsampler] | None] = []
        for scores, activate, stride in zip(
            grids, (activate_visual, activate_text), strides, strict=True
        ):
            if scores is None:
                self._maps.append(None)
                continue
            active = scores[0] if fusion is None else activate(scores, fusion)[0]
            grid_hw = (active.shape[1], active.shape[2])
            up = Upsampler.build(grid_hw, stride, input_hw, self.output_hw, active.device)
            self._maps.append((active, up))
        self._device = next(part[0].device for part in self._maps if part is not None)

    @property
    def photo(self) -> Tensor:
        """The photo itself, (3, h, w) uint8, on the scores' device."""
        return to_tensor(self._item.image).to(self._device)

    def __call__(self, start: int, end: int) -> Float[Tensor, "c strip w"]:
        parts = [part[1].strip(part[0], start, end) if part else None for part in self._maps]
        if self._fusion is None:
            assert parts[0] is not None
            return parts[0].log_softmax(0)
        return fuse(parts[0], parts[1], self._fusion)
