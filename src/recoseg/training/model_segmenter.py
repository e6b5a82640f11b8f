"""A trained model in the place of a concept bank: the same photos in, the same masks out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from recoseg.device import Compute, resolve_compute
from recoseg.encoders.normalisation import to_input
from recoseg.errors import RecosegError
from recoseg.labels import Colour, Segmentation
from recoseg.photos.inputs import Photo, Ready
from recoseg.refinement.refiner import RefineForm, RefineSettings, build_refiner
from recoseg.segmentation.batches import Outcome, StreamSegmenter, in_batches
from recoseg.segmentation.input_plan import InputPlan, check_plan
from recoseg.segmentation.label_maps import Background, class_indices
from recoseg.segmentation.labeller import Labeller
from recoseg.segmentation.score_grids import Grids, windowed
from recoseg.training.model import TrainedModel
from recoseg.training.network import SCORE_STRIDE


@dataclass(frozen=True)
class TrainedClasses:
    """The classes of a model; see `recoseg.segmentation.labeller.Competing`."""

    names: tuple[str, ...]
    strides: tuple[int, int] = (SCORE_STRIDE, 0)


class TrainedSegmenter(StreamSegmenter):
    """Segments photos by a trained model; needs neither archive nor CLIP.

    Scores that are kept are logarithms of probabilities, and refinement starts from the
    probabilities themselves.

    Args:
        model: The model, its file, or the folder of its run.
        compute: Where to run it; None chooses.
        resize: Short side of its input, pixels; 0 for the photo's own size, None for the model's.
        window: Side of sliding windows over inputs that are larger, pixels; None for none.
        window_step: Pixels from one window to the next; None for half a window.
        background_threshold: Pixels whose best probability is lower become background, 0 to 1.
        background: Names of classes that become background.
        refine: How the probabilities are refined.
        keep_scores: Whether results hold their score maps.
        batch_size: Photos (or windows) of equal size that go together.

    Raises:
        RecosegError: There is no such model, or a setting is out of range.
    """

    def __init__(
        self,
        model: TrainedModel | str | Path,
        *,
        compute: Compute | None = None,
        resize: int | None = None,
        window: int | None = None,
        window_step: int | None = None,
        background_threshold: float | None = None,
        background: Sequence[str] = (),
        refine: RefineForm | RefineSettings | None = None,
        keep_scores: bool = False,
        batch_size: int = 8,
    ) -> None:
        self._model = model if isinstance(model, TrainedModel) else TrainedModel.load(model)
        self._compute = compute or resolve_compute()
        info = self._model.info
        short_side = info.short_side if resize is None else resize
        check_plan(short_side, window, window_step, batch_size)
        if background_threshold is not None and not 0 <= background_threshold <= 1:
            raise RecosegError(
                f"background_threshold is {background_threshold}; a model's scores are "
                "probabilities, expected 0 to 1."
            )
        self._threshold = background_threshold
        self._refine = (
            refine if isinstance(refine, RefineSettings) else RefineSettings(refine or "none")
        )
        least_score = math.log(background_threshold) if background_threshold else None
        self._labeller = Labeller(
            TrainedClasses(info.names),
            info.names,
            info.palette,
            None,
            Background(least_score, class_indices(info.names, background)),
            build_refiner(self._refine),
            keep_scores,
        )
        self._plan = InputPlan.of(short_side, window, window_step, batch_size, info.output_stride)
        self._network = self._model.network.to(self._compute.device).eval()

    @property
    def model(self) -> TrainedModel:
        """The model."""
        return self._model

    @property
    def names(self) -> tuple[str, ...]:
        """The class of each label."""
        return self._model.info.names

    @property
    def palette(self) -> tuple[Colour, ...]:
        """RGB of each class."""
        return self._model.info.palette

    @property
    def labeller(self) -> Labeller[TrainedClasses]:
        """What makes label maps of scores."""
        return self._labeller

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the masks beside the model, as JSON fields."""
        return {
            "resize": self._plan.short_side,
            "window": self._plan.window,
            "window_step": self._plan.step,
            "background_threshold": self._threshold,
            "background": list(self._labeller.background_names),
            "refine": asdict(self._refine),
        }

    @property
    def identity(self) -> dict[str, Any]:
        """The model itself, as JSON fields."""
        info = asdict(self._model.info)
        del info["palette"]
        return {"model": {"fingerprint": self._model.fingerprint} | info}

    def stream(self, photos: Iterable[Photo]) -> Iterator[Outcome]:
        """See `StreamSegmenter`."""
        for outcomes in in_batches(photos, self._plan, self._label):
            yield outcomes[0]

    def _label(
        self, items: Sequence[Ready], pixels: UInt8[Tensor, "n 3 h w"]
    ) -> list[list[Segmentation]]:
        strides = [self._labeller.wanted.strides]
        [grids] = windowed(pixels, self._plan, strides, lambda part: [self._score(part)])
        return [self._labeller.label(items, grids)]

    @torch.inference_mode()
    def _score(self, pixels: UInt8[Tensor, "n 3 h w"]) -> Grids:
        """Scores before the softmax on the grid of stride 4."""
        info = self._model.info
        inputs = to_input(
            pixels,
            info.statistics,
            self._compute,
            multiple=info.output_stride,
        )
        with self._compute.autocast():
            scores: Float[Tensor, "n c gh gw"] = self._network(inputs).float()
        rows, columns = (-(-side // SCORE_STRIDE) for side in pixels.shape[2:])
        return Grids(scores[:, :, :rows, :columns], None)
