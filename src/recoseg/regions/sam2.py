"""Regions by SAM 2.1: the masks that it finds at a grid of points."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Bool, Float, Int32, UInt8
from safetensors import SafetensorError
from torch import Tensor

from recoseg.device import Compute, resolve_compute
from recoseg.errors import MissingWeightsError, OptionError, RecosegError
from recoseg.photos.folder_files import files_of
from recoseg.photos.refs import Photo
from recoseg.regions.masks import paint
from recoseg.regions.rle import mask_of, run_lengths
from recoseg.regions.scaling import divide_small
from recoseg.storage.checksums import file_checksum

DEFAULT_MODEL = "facebook/sam2.1-hiera-large"
"""The model on the Hugging Face Hub; `-base-plus`, `-small` and `-tiny` are faster."""

MAX_SIDE = 1024
"""The longest side at which masks are computed, pixels: the model sees no more."""

_OVERLAP = 0.7  # of boxes (IoU) at which the mask of lower quality is left out, as published
_CROPS_OVERLAP = 512 / 1500  # of neighbouring crops, share of the short side, as published
_MOST_CROPS = 4  # layers; the last of them has 256 crops


Box = tuple[int, int, int, int]
"""Left, top, right and bottom, pixels."""


class _Loaded(NamedTuple):
    model: Any
    image_processor: Any


class _Masks(NamedTuple):
    """Masks of some points: run lengths column by column, qualities, and boxes in the photo."""

    runs: list[dict[str, Any]]
    scores: Float[Tensor, " n"]
    boxes: Tensor


class Sam2Regions:
    """Divides photos by automatic masks of SAM 2.1 (a `RegionProvider`).

    Ravi et al., "SAM 2: Segment Anything in Images and Videos", 2024, by the package
    `transformers`. Each point of a regular grid gives three masks. Those of low quality or
    stability and near copies of better ones are left out; of masks that overlap the smallest lies
    on top. The model is loaded when the first photo is divided.

    Masks equal those of the package's own mask generation on square photos. On others its grid
    misses a part of the photo, since it is laid out for photos that keep their shape, while SAM 2
    squashes them into a square; this grid covers all of it.

    Args:
        model: A model on the Hugging Face Hub, or a local folder that holds one.
        points: Points per side of the grid.
        iou: Masks of a lower predicted quality (IoU) are left out.
        stability: Masks are left out whose area changes more than this (IoU) when the threshold
            of the mask moves by 1 to both sides.
        crops: Layers of crops that get a grid of their own, for small objects: layer i divides the
            photo into 2^i x 2^i crops that overlap. Masks that end at the edge of a crop are left
            out. One layer takes five times as long as none.
        batch: Points at once; the maps of their masks at full size are in memory together.
        compute: Device and precision; by default those that `resolve_compute` chooses.

    Raises:
        RecosegError: A number is out of range.
    """

    needs_features = False
    is_cacheable = True

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        points: int = 32,
        iou: float = 0.7,
        stability: float = 0.7,
        crops: int = 0,
        batch: int = 32,
        compute: Compute | None = None,
    ) -> None:
        for name, number in (("points", points), ("batch", batch)):
            if number < 1:
                raise OptionError(f"{name} is {number}; expected 1 or more.")
        if not 0 <= crops <= _MOST_CROPS:
            raise OptionError(f"crops is {crops}; expected 0 to {_MOST_CROPS}.")
        for name, value in (("iou", iou), ("stability", stability)):
            if not 0 <= value <= 1:
                raise OptionError(f"{name} is {value}; expected 0 to 1.")
        self._model = model
        self._points, self._iou, self._stability = points, iou, stability
        self._crops, self._batch = crops, batch
        self._compute = compute or resolve_compute()

    @cached_property
    def key(self) -> str:
        """See `RegionProvider`; the weights of a local folder count by their checksum."""
        folder = Path(self._model)
        name = self._model
        if folder.is_dir():
            files = sorted(files_of(folder, "*.safetensors"))
            name = "+".join([folder.name, *(file_checksum(path)[:16] for path in files)])
        return (
            f"sam2(model={name},points={self._points},iou={self._iou:g},"
            f"stability={self._stability:g},"
            + (f"crops={self._crops}," if self._crops else "")  # as keys were before crops came
            + f"precision={self._compute.precision})"
        )

    def regions(
        self,
        photo: Photo,
        pixels: UInt8[Tensor, "3 h w"],
        features: Sequence[Float[Tensor, "_ _ _"]] = (),
    ) -> Int32[Tensor, "h w"]:
        """See `RegionProvider`.

        Raises:
            MissingWeightsError: The model is not on this machine and cannot be downloaded.
        """
        return divide_small(pixels, MAX_SIDE, lambda small: paint(self.masks(small)))

    def masks(self, pixels: UInt8[Tensor, "3 h w"]) -> Bool[Tensor, "n h w"]:
        """The masks of a photo, the best first; they may overlap."""
        size = (pixels.shape[1], pixels.shape[2])
        found = [
            part for box in crop_boxes(size, self._crops) for part in self._masks_of(pixels, box)
        ]
        runs = [run for part in found for run in part.runs]
        scores, boxes = (
            torch.cat(parts) for parts in zip(*(one[1:] for one in found), strict=True)
        )
        return self._without_copies(runs, scores, boxes, size)

    def _masks_of(self, pixels: UInt8[Tensor, "3 h w"], box: Box) -> Iterator[_Masks]:
        """The masks of a crop that meet the thresholds, for some points at a time."""
        model, processor = self._loaded
        device, size = self._compute.device, pixels.shape[1:]
        left, top, right, bottom = box
        crop = pixels[:, top:bottom, left:right]
        inputs = processor(images=crop.cpu(), return_tensors="pt")["pixel_values"].to(device)
        # The photo is squashed to a square, and the grid covers this square.
        points = _grid(self._points, inputs.shape[2:]).to(device)
        with torch.inference_mode(), self._compute.autocast():
            embeddings = model.get_image_embeddings(inputs)
            for part in torch.split(points[None, :, None], self._batch, 1):
                found = model(
                    image_embeddings=embeddings,
                    input_points=part,
                    input_labels=torch.ones_like(part[..., 0], dtype=torch.int64),
                    multimask_output=True,
                )
                maps = processor.post_process_masks(
                    found.pred_masks.float(), [crop.shape[1:]], binarize=False
                )
                runs, scores, boxes = processor.filter_masks(
                    maps[0],
                    found.iou_scores[0].float(),
                    size,
                    torch.tensor(box),
                    pred_iou_thresh=self._iou,
                    stability_score_thresh=self._stability,
                )
                yield _Masks(runs, scores.cpu(), boxes.cpu())

    def _without_copies(
        self,
        runs: list[dict[str, Any]],
        scores: Float[Tensor, " n"],
        boxes: Tensor,
        size: tuple[int, int],
    ) -> Bool[Tensor, "m h w"]:
        """Masks without those whose box is nearly that of a better one, the best first."""
        from torchvision.ops import nms

        kept = nms(boxes.float(), scores, _OVERLAP).tolist()
        masks = torch.zeros(len(kept), *size, dtype=torch.bool)
        for place, number in enumerate(kept):
            masks[place] = torch.from_numpy(
                mask_of(run_lengths(runs[number]["counts"], size), size)
            )
        return masks

    @cached_property
    def _loaded(self) -> _Loaded:
        try:
            from transformers import Sam2Model, Sam2Processor
        except ImportError as error:
            raise RecosegError(
                "SAM 2.1 needs the package 'transformers' 4.56 or newer. Install it with: "
                "pip install --upgrade transformers"
            ) from error
        try:
            model = Sam2Model.from_pretrained(self._model, use_safetensors=True)
            processor = Sam2Processor.from_pretrained(self._model)
        # What the library raises for files that are missing, damaged or of another model.
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            reason = " ".join(str(error).split())[:200]
            raise MissingWeightsError(
                f"SAM 2.1 cannot be loaded from {self._model!r}: {reason}\nExpected a model on the "
                "Hugging Face Hub that this machine holds or can download, such as "
                f"{DEFAULT_MODEL}, or a folder with its files. Choose other regions, such as "
                "superpixels, to go on without it."
            ) from error
        self._compute.place(cast(Any, model))
        return _Loaded(model, processor.image_processor)


def crop_boxes(size: tuple[int, int], layers: int) -> list[Box]:
    """The photo and its crops: layer i has 2^i x 2^i of them, which overlap.

    Args:
        size: Of the photo (rows, columns), pixels.
        layers: Number of layers of crops.

    Example:
        >>> crop_boxes((30, 60), 1)
        [(0, 0, 60, 30), (0, 0, 35, 20), (0, 10, 35, 30), (25, 0, 60, 20), (25, 10, 60, 30)]
    """
    height, width = size
    boxes = [(0, 0, width, height)]
    for layer in range(1, layers + 1):
        count = 2**layer
        overlap = int(_CROPS_OVERLAP * min(size) * 2 / count)
        across, down = (
            math.ceil((overlap * (count - 1) + side) / count) for side in (width, height)
        )
        boxes += [
            (left, top, min(left + across, width), min(top + down, height))
            for left in range(0, count * (across - overlap), across - overlap)
            for top in range(0, count * (down - overlap), down - overlap)
        ]
    return boxes


def _grid(points: int, size: Sequence[int]) -> Float[Tensor, "n 2"]:
    """The centres (x, y) of `points` x `points` equal cells of a picture, row by row."""
    steps = (torch.arange(points) + 0.5) / points
    y, x = torch.meshgrid(steps * size[0], steps * size[1], indexing="ij")
    return torch.stack([x, y], -1).view(-1, 2)
