"""From a concept bank and photos to label maps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from recoseg.concepts import Concept, ConceptBank
from recoseg.config import Fusion
from recoseg.device import Compute, resolve_compute
from recoseg.encoders.base import DenseImageEncoder, DenseTextEncoder
from recoseg.encoders.registry import build_phi, build_saliency
from recoseg.errors import BadImageError, ConceptError, RecosegError
from recoseg.segmentation.fusion import activate_text, activate_visual, fuse
from recoseg.segmentation.inputs import Photo, Ready, equal_sizes, prepare
from recoseg.segmentation.labels import Background, class_indices, label_strips
from recoseg.segmentation.palette import default_palette
from recoseg.segmentation.result import Segmentation
from recoseg.segmentation.scores import text_scores, visual_scores
from recoseg.segmentation.upsample import Upsampler
from recoseg.segmentation.windows import GridMean, window_boxes

Grids = tuple[Float[Tensor, "n c gh gw"] | None, Float[Tensor, "n c hh hw"] | None]
"""Visual and text scores of some images, each on its encoder's grid; None where not used."""


CONTEXT = "context"
"""As a name of background: all context classes of the bank."""


@dataclass(frozen=True)
class Outcome:
    """What became of one photo.

    Attributes:
        photo: The photo as it was given.
        image: The decoded photo, upright RGB; None where it could not be decoded.
        segmentation: Its segmentation; None where it could not be made.
        error: The reason where it could not.
    """

    photo: Photo
    image: Image.Image | None = None
    segmentation: Segmentation | None = None
    error: str | None = None


class Segmenter:
    """Segments photos into the classes of a concept bank (paper, sections 3.2 and 3.3).

    Args:
        bank: The bank, or its file.
        phi: The bank's phi, or its spec; None builds it by the name the bank holds.
        saliency: The bank's saliency encoder; likewise.
        compute: Where to run encoders that are built here; None chooses.
        fusion: How the two kinds of scores become one; None for the bank's.
        resize: Short side of the encoders' input, pixels; 0 for the photo's own size, None for
            the bank's. Label maps always have the photo's own size.
        window: Side of sliding windows over inputs that are larger, pixels; rounded up to whole
            cells of both encoders. None for no windows.
        window_step: Pixels from one window to the next; None for half a window.
        background_threshold: Pixels whose best fused score is lower become background.
        background: Names of classes that become background: classes of the bank, its context
            classes, which then compete with the others, or `context` for all of those.
        keep_scores: Whether results hold their score maps, 2 c h w bytes each.
        batch_size: Photos (or windows) of equal size that are embedded together.

    Raises:
        ConceptError: The bank holds no class.
        EncoderMismatchError: An encoder is not the bank's own.
        RecosegError: A background class is not in the bank, or a setting is out of range.
    """

    def __init__(
        self,
        bank: ConceptBank | str | Path,
        *,
        phi: DenseImageEncoder | str | None = None,
        saliency: DenseTextEncoder | str | None = None,
        compute: Compute | None = None,
        fusion: Fusion | None = None,
        resize: int | None = None,
        window: int | None = None,
        window_step: int | None = None,
        background_threshold: float | None = None,
        background: Sequence[str] = (),
        keep_scores: bool = False,
        batch_size: int = 8,
    ) -> None:
        self._bank = bank if isinstance(bank, ConceptBank) else ConceptBank.load(bank)
        if not self._bank.classes:
            raise ConceptError("The bank holds no class. Add one with `recoseg learn`.")
        self._names = tuple(concept.name for concept in self._bank.classes)
        self._palette = default_palette(len(self._names))
        self._fusion = fusion or self._bank.settings.segment.fusion
        self._short_side = self._bank.settings.segment.short_side if resize is None else resize
        for name, value, least in (
            ("resize", self._short_side, 0),
            ("batch_size", batch_size, 1),
            ("window", 1 if window is None else window, 1),
            ("window_step", 1 if window_step is None else window_step, 1),
        ):
            if value < least:
                raise RecosegError(f"{name} is {value}; expected {least} or more.")
        self._concepts = (*self._bank.classes, *self._context_of(background))
        self._background = Background(background_threshold, self._indices(background))
        self._keep_scores = keep_scores
        self._batch_size = batch_size
        self._phi: DenseImageEncoder | None = None
        self._saliency: DenseTextEncoder | None = None
        self._load_encoders(phi, saliency, compute)
        self._window, self._step = self._whole_cells(window, window_step)

    @property
    def bank(self) -> ConceptBank:
        """The concept bank."""
        return self._bank

    @property
    def fusion(self) -> Fusion:
        """The fusion in use."""
        return self._fusion

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the masks beside the bank, as JSON fields."""
        return {
            "fusion": asdict(self._fusion),
            "resize": self._short_side,
            "window": self._window,
            "window_step": self._step,
            "background_threshold": self._background.threshold,
            "background": [self._concepts[i].name for i in self._background.classes],
        }

    @overload  # a str is also a Sequence; it is taken as one photo
    def __call__(self, photos: Photo) -> Segmentation: ...  # type: ignore[overload-overlap]

    @overload
    def __call__(self, photos: Sequence[Photo]) -> list[Segmentation]: ...

    def __call__(self, photos: Photo | Sequence[Photo]) -> Segmentation | list[Segmentation]:
        """Segment one photo, or a list of them.

        Raises:
            BadImageError: A photo cannot be decoded; see `stream` to go on with the others.
        """
        if isinstance(photos, (str, Path, Image.Image, np.ndarray)):
            return self([photos])[0]
        results = []
        for outcome in self.stream(photos):
            if outcome.segmentation is None:
                where = f"{outcome.photo}: " if isinstance(outcome.photo, (str, Path)) else ""
                raise BadImageError(f"{where}{outcome.error}")
            results.append(outcome.segmentation)
        return results

    def stream(self, photos: Iterable[Photo]) -> Iterator[Outcome]:
        """Segment photos in order, a few batches at a time.

        Photos of equal size that stand near each other are embedded together; one that cannot be
        decoded becomes an outcome with its reason.
        """
        pending = iter(photos)
        while chunk := list(itertools.islice(pending, 2 * self._batch_size)):
            ready: dict[int, Ready] = {}
            outcomes: dict[int, Outcome] = {}
            for index, photo in enumerate(chunk):
                try:
                    ready[index] = prepare(photo, self._short_side)
                except BadImageError as error:
                    outcomes[index] = Outcome(photo, error=str(error))
            for group in equal_sizes({index: item.pixels for index, item in ready.items()}):
                for start in range(0, len(group), self._batch_size):
                    part = group[start : start + self._batch_size]
                    grids = self._score(torch.stack([ready[index].pixels for index in part]))
                    for place, index in enumerate(part):
                        item = ready[index]
                        segmentation = self._finish(item, _pick(grids, place))
                        outcomes[index] = Outcome(chunk[index], item.image, segmentation)
            for index in range(len(chunk)):
                yield outcomes.pop(index)

    def _context_of(self, background: Sequence[str]) -> list[Concept]:
        """The context classes that compete although they are no classes of the bank."""
        return [
            concept
            for concept in self._bank.context
            if concept.name not in self._names
            and (concept.name in background or CONTEXT in background)
        ]

    def _indices(self, background: Sequence[str]) -> tuple[int, ...]:
        """Which of the concepts become background."""
        context = [concept.name for concept in self._bank.context] if CONTEXT in background else []
        wanted = [
            *(name for name in background if name != CONTEXT or name in self._names),
            *context,
        ]
        competing = [concept.name for concept in self._concepts]
        valid = [*self._names, *(concept.name for concept in self._bank.context), CONTEXT]
        return class_indices(competing, list(dict.fromkeys(wanted)), list(dict.fromkeys(valid)))

    def _load_encoders(
        self,
        phi: DenseImageEncoder | str | None,
        saliency: DenseTextEncoder | str | None,
        compute: Compute | None,
    ) -> None:
        """Take or build the encoders that the fusion uses, and check that they are the bank's."""
        encoders = self._bank.encoders
        if self._fusion.uses_visual:
            if phi is None or isinstance(phi, str):
                compute = compute or resolve_compute()
                phi = build_phi(phi or encoders.phi.spec, compute)
            self._bank.check_encoders(phi=phi.info)
            self._phi = phi
        if self._fusion.uses_text:
            if saliency is None or isinstance(saliency, str):
                compute = compute or resolve_compute()
                saliency = build_saliency(saliency or encoders.saliency.spec, compute)
            self._bank.check_encoders(saliency=saliency.info)
            self._saliency = saliency

    def _whole_cells(self, window: int | None, step: int | None) -> tuple[int | None, int]:
        """Window and step in pixels, both rounded up to whole cells of all encoders in use."""
        if window is None:
            return None, 0
        cell = self._cell()
        window = -(-window // cell) * cell
        step = -(-(step or window // 2) // cell) * cell
        return window, min(step, window)

    def _cell(self) -> int:
        """The least common multiple of the strides in use, pixels."""
        return math.lcm(*(e.info.stride for e in (self._phi, self._saliency) if e is not None))

    def _score(self, pixels: UInt8[Tensor, "n 3 h w"]) -> Grids:
        """Scores on the grids of the whole photos, from windows where they are large."""
        height, width = pixels.shape[2:]
        if self._window is None or max(height, width) <= self._window:
            return self._score_directly(pixels)
        boxes = window_boxes((height, width), self._window, self._step, self._cell())
        jobs = [(image, box) for box in boxes for image in range(len(pixels))]
        crops = {
            index: pixels[image, :, box.y0 : box.y1, box.x0 : box.x1]
            for index, (image, box) in enumerate(jobs)
        }
        strides = [e.info.stride if e else 0 for e in (self._phi, self._saliency)]
        means: list[list[GridMean] | None] = [None, None]
        for group in equal_sizes(crops):
            for start in range(0, len(group), self._batch_size):
                part = group[start : start + self._batch_size]
                grids = self._score_directly(torch.stack([crops[index] for index in part]))
                for kind, (scores, stride) in enumerate(zip(grids, strides, strict=True)):
                    if scores is None:
                        continue
                    grid_hw = (-(-height // stride), -(-width // stride))
                    kept = means[kind] or [
                        GridMean(scores.shape[1], grid_hw, scores.device) for _ in pixels
                    ]
                    means[kind] = kept
                    for place, index in enumerate(part):
                        image, box = jobs[index]
                        kept[image].add(scores[place], box.y0 // stride, box.x0 // stride)
        visual, text = (torch.stack([m.mean() for m in kept]) if kept else None for kept in means)
        return visual, text

    @torch.inference_mode()
    def _score_directly(self, pixels: UInt8[Tensor, "n 3 h w"]) -> Grids:
        visual = text = None
        classes = self._concepts
        if self._phi is not None:
            features = self._phi.features(pixels)
            visual = visual_scores(features, [concept.references for concept in classes])
        if self._saliency is not None:
            words = [(concept.text_positive, concept.text_negative) for concept in classes]
            text = text_scores(self._saliency.features(pixels), words)
        return visual, text

    @torch.inference_mode()
    def _finish(self, item: Ready, grids: Grids) -> Segmentation:
        """Fuse, up-sample and label one photo, strip by strip."""
        input_hw = (item.pixels.shape[1], item.pixels.shape[2])
        output_hw = (item.image.height, item.image.width)
        visual, text = grids
        if visual is not None:
            visual = activate_visual(visual, self._fusion)[0]
        if text is not None:
            text = activate_text(text, self._fusion)[0]
        maps: list[tuple[Tensor, Upsampler] | None] = []
        for scores, encoder in ((visual, self._phi), (text, self._saliency)):
            if scores is None or encoder is None:
                maps.append(None)
                continue
            grid_hw = (scores.shape[1], scores.shape[2])
            stride = encoder.info.stride
            up = Upsampler.build(grid_hw, stride, input_hw, output_hw, scores.device)
            maps.append((scores, up))

        def strip(start: int, end: int) -> Tensor:
            parts = [part[1].strip(part[0], start, end) if part else None for part in maps]
            return fuse(parts[0], parts[1], self._fusion)

        labels, kept = label_strips(
            strip, len(self._concepts), output_hw, self._background, keep_scores=self._keep_scores
        )
        own = None if kept is None else kept[: len(self._names)]
        return Segmentation(labels, self._names, self._palette, own)


def _pick(grids: Grids, index: int) -> Grids:
    """The grids of one image, as a batch of one."""
    visual, text = grids
    return (
        None if visual is None else visual[index : index + 1],
        None if text is None else text[index : index + 1],
    )
