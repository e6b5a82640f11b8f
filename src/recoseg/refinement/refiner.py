"""Refiners, which turn fused scores into refined probabilities, and their settings."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Literal, NamedTuple, final, get_args

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from recoseg.cores import usable_cores
from recoseg.errors import RecosegError, UnknownNameError
from recoseg.refinement.crf import CrfPool
from recoseg.refinement.lposs import LpossSettings, lposs_pixels
from recoseg.refinement.mean_field import MAX_ITERATIONS, CrfSettings
from recoseg.refinement.pamr import (
    PUBLISHED_DILATIONS,
    PUBLISHED_ITERATIONS,
    neighbour_offsets,
    pamr,
)
from recoseg.refinement.pamr_strips import StripPlan, pamr_strips, plan_strips
from recoseg.storage.fields import read_fields

RefineForm = Literal["none", "pamr", "crf", "lposs", "lposs+"]
"""`pamr` runs on any device and needs no extra package; `crf` is published, slower, on the CPU.
`lposs` spreads scores between patches, before they are brought to pixels (see `lposs`); `lposs+`
does so, and then spreads them between pixels."""

_MOST_DILATIONS = 64
_LARGEST_DILATION = 1024  # pixels
_BUFFERS = 256  # bytes per pixel that a refinement needs in addition to its score maps

PUBLISHED_TEMPERATURE = 1.0
"""In the published evaluation of ReCo the CRF starts from the softmax over classes of the fused
scores (products of two sigmoids), which are not scaled."""


@dataclass(frozen=True)
class PamrSettings:
    """Parameters of PAMR; the defaults are the published ones.

    Attributes:
        iterations: Number of averaging steps.
        dilations: Distances of the neighbours, in pixels.
    """

    iterations: int = PUBLISHED_ITERATIONS
    dilations: tuple[int, ...] = PUBLISHED_DILATIONS

    def __post_init__(self) -> None:
        if not 0 <= self.iterations <= MAX_ITERATIONS:
            raise RecosegError(
                f"iterations is {self.iterations}; expected 0 to {MAX_ITERATIONS:,}."
            )
        neighbour_offsets(self.dilations)
        if len(self.dilations) > _MOST_DILATIONS or max(self.dilations) > _LARGEST_DILATION:
            raise RecosegError(
                f"Expected at most {_MOST_DILATIONS} dilations of at most {_LARGEST_DILATION}; got "
                f"{str(self.dilations)[:200]}."
            )


@dataclass(frozen=True)
class RefineSettings:
    """How score maps are refined.

    Attributes:
        form: The method, or `none`.
        temperature: Fused scores are divided by this before the softmax over classes. The best
            value depends on the encoders and the fusion, which determine the range of the scores:
            the lower it is, the more a pixel's own scores count against those of its neighbours.
        pamr: Parameters of `pamr`.
        crf: Parameters of `crf`.
        lposs: Parameters of `lposs` and `lposs+`.
    """

    form: RefineForm = "none"
    temperature: float = PUBLISHED_TEMPERATURE
    pamr: PamrSettings = field(default_factory=PamrSettings)
    crf: CrfSettings = field(default_factory=CrfSettings)
    lposs: LpossSettings = field(default_factory=LpossSettings)

    def __post_init__(self) -> None:
        if self.form not in get_args(RefineForm):
            raise UnknownNameError("refinement", self.form, list(get_args(RefineForm)))
        if not 0 < self.temperature < math.inf:
            raise RecosegError(
                f"temperature is {self.temperature}; expected more than 0 and finite."
            )

    @property
    def spreads_patches(self) -> bool:
        """Whether scores are refined on patches, by `recoseg.refinement.lposs.lposs`."""
        return self.form in ("lposs", "lposs+")

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON; the parameters of LPOSS only where they are used."""
        fields = asdict(self)
        if not self.spreads_patches:
            del fields["lposs"]
        return fields

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> RefineSettings:
        """Restore the settings from the fields that `to_json` gave.

        Raises:
            RecosegError: A field is unknown, missing or of another type.
        """
        return read_fields(cls, fields)


def probabilities(scores: Float[Tensor, "n c h w"], temperature: float) -> Float[Tensor, "n c h w"]:
    """Softmax over classes of the scores divided by the temperature, in fp32.

    Example:
        >>> import torch
        >>> probabilities(torch.tensor([0.0, 0.1]).view(1, 2, 1, 1), 0.05).flatten()
        tensor([0.1192, 0.8808])
    """
    return (scores.float() / temperature).softmax(1)


Read = Callable[[slice, slice], tuple[UInt8[Tensor, "3 r w"], Float[Tensor, "c r w"]]]
"""Gives the pixels and the fused scores of rows and columns of a photo."""


class Part(NamedTuple):
    """The refined probabilities of a part of a photo.

    Attributes:
        rows: Where the part lies.
        columns: Where the part lies.
        scores: Probabilities, fp32, which add up to 1 over the classes.
    """

    rows: slice
    columns: slice
    scores: Float[Tensor, "c _ _"]


class Refiner(AbstractContextManager["Refiner"]):
    """Refines score maps; a context manager that frees its processes.

    Args:
        settings: The method and its parameters.
    """

    def __init__(self, settings: RefineSettings) -> None:
        self.settings = settings

    @abstractmethod
    def __call__(
        self, images: UInt8[Tensor, "n 3 h w"], scores: Float[Tensor, "n c h w"]
    ) -> Float[Tensor, "n c h w"]:
        """Turn fused scores of all classes into refined probabilities.

        Args:
            images: RGB of the same pixels, on the device of the scores.
            scores: Fused scores, on any scale; see `Fusion`.

        Returns:
            Probabilities, fp32, which add up to 1 over the classes, on the device of the scores.
        """

    def bytes_of(self, classes: int, height: int, width: int) -> int:
        """Estimate of the memory that refining a photo needs, with its score maps.

        Args:
            classes: Number of score maps, or more.
            height: Of the photo, pixels.
            width: Of the photo, pixels.
        """
        return (16 * classes + _BUFFERS) * height * width

    def splits(self, classes: int, height: int, width: int) -> bool:
        """Whether a photo is refined by `parts`, because it is large, and not by a call."""
        return False

    def parts(self, read: Read, classes: int, height: int, width: int) -> Iterator[Part]:
        """Refine a photo part by part; by default all of it is one.

        Args:
            read: Gives its pixels and scores; called more than once for some of them.
            classes: Number of score maps, or more, as for `splits`.
            height: Of the photo, pixels.
            width: Of the photo, pixels.

        Yields:
            Parts that together are the photo.
        """
        rows, columns = slice(0, height), slice(0, width)
        pixels, scores = read(rows, columns)
        yield Part(rows, columns, self(pixels[None], scores[None])[0])

    def close(self) -> None:
        """Free resources; by default there are none."""
        return

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@final
class PamrRefiner(Refiner):
    """Refines with `pamr`, on the device of the scores."""

    def __call__(
        self, images: UInt8[Tensor, "n 3 h w"], scores: Float[Tensor, "n c h w"]
    ) -> Float[Tensor, "n c h w"]:
        """See `Refiner`."""
        chosen = self.settings.pamr
        probs = probabilities(scores, self.settings.temperature)
        return pamr(probs, images, chosen.iterations, chosen.dilations)

    def bytes_of(self, classes: int, height: int, width: int) -> int:
        """See `Refiner`."""
        return self._plan(classes, height, width).needed

    def splits(self, classes: int, height: int, width: int) -> bool:
        """See `Refiner`."""
        return bool(self._plan(classes, height, width).lanes)

    def parts(self, read: Read, classes: int, height: int, width: int) -> Iterator[Part]:
        """See `Refiner`."""
        plan, chosen = self._plan(classes, height, width), self.settings.pamr

        def strips(columns: slice) -> Iterator[tuple[Tensor, Tensor]]:
            for rows in plan.strips(height):
                pixels, scores = read(rows, columns)
                yield pixels, probabilities(scores[None], self.settings.temperature)[0]

        for lane in plan.lanes:
            start = 0
            for found in pamr_strips(
                strips(lane.around), height, plan.rows, chosen.iterations, chosen.dilations
            ):
                rows = slice(start, start + found.shape[1])
                yield Part(rows, lane.columns, found[:, :, lane.inside])
                start = rows.stop

    def _plan(self, classes: int, height: int, width: int) -> StripPlan:
        chosen = self.settings.pamr
        return plan_strips(classes, height, width, chosen.iterations, chosen.dilations)


@final
class CrfRefiner(Refiner):
    """Refines with `crf`; with several workers it owns their processes.

    Args:
        settings: The method and its parameters.
        workers: Number of images refined at the same time, each in its own process.

    Raises:
        MissingExtraError: The extra `crf` is not installed.
    """

    def __init__(self, settings: RefineSettings, workers: int = 1) -> None:
        super().__init__(settings)
        self._pool = CrfPool(workers)

    def __call__(
        self, images: UInt8[Tensor, "n 3 h w"], scores: Float[Tensor, "n c h w"]
    ) -> Float[Tensor, "n c h w"]:
        """See `Refiner`."""
        probs = probabilities(scores, self.settings.temperature)
        return self._pool(probs, images, self.settings.crf)

    def close(self) -> None:
        """End the processes."""
        self._pool.close()


@final
class LpossRefiner(Refiner):
    """Refines with `lposs_pixels`, the second step of LPOSS+, on the device of the scores."""

    def __call__(
        self, images: UInt8[Tensor, "n 3 h w"], scores: Float[Tensor, "n c h w"]
    ) -> Float[Tensor, "n c h w"]:
        """See `Refiner`; the scores are spread first, and then turned into probabilities."""
        chosen = self.settings.lposs
        spread = [
            lposs_pixels(one, image, chosen) for one, image in zip(scores, images, strict=True)
        ]
        # Back from sums of scores to their range; the order of the classes stays.
        return probabilities((1 - chosen.alpha) * torch.stack(spread), self.settings.temperature)

    def bytes_of(self, classes: int, height: int, width: int) -> int:
        """See `Refiner`; each pixel has a weight for each of its neighbours."""
        near = 6 * self.settings.lposs.square**2
        return super().bytes_of(classes, height, width) + near * height * width


def build_refiner(settings: RefineSettings, workers: int | None = None) -> Refiner | None:
    """Build the refiner for the given settings.

    Args:
        settings: The method and its parameters.
        workers: Number of processes of the CRF; None for one per core. They are started by the
            first call with more than one image. PAMR uses none.

    Returns:
        The refiner, which must be closed after use, or None if nothing is refined at pixels: the
        form is `none` or `lposs`.

    Raises:
        MissingExtraError: The form is `crf` and the extra `crf` is not installed.
    """
    if settings.form in ("none", "lposs"):
        return None
    if settings.form == "lposs+":
        return LpossRefiner(settings)
    if settings.form == "pamr":
        return PamrRefiner(settings)
    return CrfRefiner(settings, usable_cores() if workers is None else workers)
