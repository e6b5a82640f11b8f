"""From a concept bank and photos to label maps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from recoseg.concepts import Concept, ConceptBank
from recoseg.config import Fusion
from recoseg.device import Compute, resolve_compute
from recoseg.drawing.palette import default_palette
from recoseg.encoders.encoder_table import build_phi, build_saliency
from recoseg.encoders.protocols import DenseImageEncoder, DenseTextEncoder
from recoseg.errors import ConceptError, RecosegError
from recoseg.labels import Colour, Segmentation
from recoseg.photos.inputs import Photo, Ready
from recoseg.refinement.refiner import RefineForm, RefineSettings, build_refiner
from recoseg.segmentation.batches import Outcome, StreamSegmenter, in_batches
from recoseg.segmentation.input_plan import InputPlan, check_plan
from recoseg.segmentation.label_maps import Background, class_indices
from recoseg.segmentation.labeller import Labeller
from recoseg.segmentation.score_grids import Wanted, score_grids

CONTEXT = "context"
"""As a name of background: all context classes of the bank."""


class Segmenter(StreamSegmenter):
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
        window_step: Pixels from one window to the next, rounded down to whole cells; None for
            half a window.
        background_threshold: Pixels whose best fused score is lower become background.
        background: Names of classes that become background: classes of the bank, its context
            classes, which then compete with the others, or `context` for all of those.
        refine: How the fused scores are refined; a form alone takes the bank's temperature.
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
        refine: RefineForm | RefineSettings | None = None,
        keep_scores: bool = False,
        batch_size: int = 8,
    ) -> None:
        self._bank = bank if isinstance(bank, ConceptBank) else ConceptBank.load(bank)
        if not self._bank.classes:
            raise ConceptError("The bank holds no class. Add one with `recoseg learn`.")
        self._names = tuple(concept.name for concept in self._bank.classes)
        self._fusion = fusion = fusion or self._bank.settings.segment.fusion
        short_side = self._bank.settings.segment.short_side if resize is None else resize
        check_plan(short_side, window, window_step, batch_size)
        if background_threshold is not None and math.isnan(background_threshold):
            raise RecosegError("background_threshold is not a number; expected a fused score.")
        concepts = (*self._bank.classes, *self._context_of(background))
        self._refine = (
            refine
            if isinstance(refine, RefineSettings)
            else RefineSettings(refine or "none", self._bank.settings.segment.refine_temperature)
        )
        phi, saliency = self._load_encoders(phi, saliency, compute, fusion)
        self._labeller = Labeller(
            Wanted(
                concepts,
                phi if fusion.uses_visual else None,
                saliency if fusion.uses_text else None,
            ),
            self._names,
            default_palette(len(self._names)),
            fusion,
            Background(background_threshold, self._background_classes(concepts, background)),
            build_refiner(self._refine),
            keep_scores,
        )
        cell = math.lcm(*(e.info.stride for e in (phi, saliency) if e is not None))
        self._plan = InputPlan.of(short_side, window, window_step, batch_size, cell)

    @property
    def bank(self) -> ConceptBank:
        """The concept bank."""
        return self._bank

    @property
    def names(self) -> tuple[str, ...]:
        """The class of each label."""
        return self._names

    @property
    def palette(self) -> tuple[Colour, ...]:
        """RGB of each class."""
        return self._labeller.palette

    @property
    def plan(self) -> InputPlan:
        """How photos go to the encoders."""
        return self._plan

    @property
    def labeller(self) -> Labeller[Wanted]:
        """What makes label maps of scores."""
        return self._labeller

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the masks beside the bank, as JSON fields."""
        labeller, plan = self._labeller, self._plan
        return {
            "fusion": asdict(self._fusion),
            "resize": plan.short_side,
            "window": plan.window,
            "window_step": plan.step,
            "background_threshold": labeller.background.threshold,
            "background": list(labeller.background_names),
            "refine": asdict(self._refine),
        }

    def stream(self, photos: Iterable[Photo]) -> Iterator[Outcome]:
        """Segment photos in order, a few batches at a time.

        Photos of equal size that stand near each other are embedded together; one that cannot be
        decoded becomes an outcome with its reason.
        """
        for outcomes in segment_together([self], photos):
            yield outcomes[0]

    def _context_of(self, background: Sequence[str]) -> list[Concept]:
        """The context classes that compete although they are no classes of the bank."""
        return [
            concept
            for concept in self._bank.context
            if concept.name not in self._names
            and (concept.name in background or CONTEXT in background)
        ]

    def _background_classes(
        self, concepts: Sequence[Concept], background: Sequence[str]
    ) -> tuple[int, ...]:
        """Which of the concepts become background."""
        context = [concept.name for concept in self._bank.context] if CONTEXT in background else []
        wanted = [
            *(name for name in background if name != CONTEXT or name in self._names),
            *context,
        ]
        competing = [concept.name for concept in concepts]
        valid = [*self._names, *(concept.name for concept in self._bank.context), CONTEXT]
        return class_indices(competing, list(dict.fromkeys(wanted)), list(dict.fromkeys(valid)))

    def _load_encoders(
        self,
        phi: DenseImageEncoder | str | None,
        saliency: DenseTextEncoder | str | None,
        compute: Compute | None,
        fusion: Fusion,
    ) -> tuple[DenseImageEncoder | None, DenseTextEncoder | None]:
        """Take the encoders that are given, build those that the fusion needs, and check them.

        One that is given and not needed still counts for the whole cells of windows, so that
        segmenters with the same encoders have the same windows whatever their fusion.
        """
        encoders = self._bank.encoders
        if fusion.uses_visual and (phi is None or isinstance(phi, str)):
            compute = compute or resolve_compute()
            phi = build_phi(phi or encoders.phi[0], compute)
        if fusion.uses_text and (saliency is None or isinstance(saliency, str)):
            compute = compute or resolve_compute()
            saliency = build_saliency(saliency or encoders.saliency, compute)
        phi = None if isinstance(phi, str) else phi
        saliency = None if isinstance(saliency, str) else saliency
        self._bank.check_encoders(
            phi=None if phi is None else phi.info,
            saliency=None if saliency is None else saliency.info,
        )
        return phi, saliency


def segment_together(
    segmenters: Sequence[Segmenter], photos: Iterable[Photo]
) -> Iterator[list[Outcome]]:
    """Segment each photo with several segmenters, decoding and encoding it once.

    Args:
        segmenters: They may differ in bank, encoders, fusion, background and refinement, not in
            input size, windows and batch size. Each encoder object is used once per photo.
        photos: The photos.

    Yields:
        For each photo the outcome of each segmenter.

    Raises:
        RecosegError: The segmenters differ in what they have to share.
    """
    plans = [segmenter.plan for segmenter in segmenters]
    if len(set(plans)) != 1:
        raise RecosegError(
            "Expected one segmenter or more, with one input size, window and batch size for all; "
            f"got {', '.join(map(str, dict.fromkeys(plans))) or 'none'}. Run those that differ one "
            "after the other."
        )
    plan = plans[0]
    labellers = [segmenter.labeller for segmenter in segmenters]

    def label(items: Sequence[Ready], pixels: Tensor) -> list[list[Segmentation]]:
        grids = score_grids(pixels, [labeller.wanted for labeller in labellers], plan)
        return [labeller.label(items, own) for labeller, own in zip(labellers, grids, strict=True)]

    yield from in_batches(photos, plan, label, len(labellers))
