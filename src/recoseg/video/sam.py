"""The trackers of SAM 2.1 and SAM 3 by transformers.

Sources: Ravi et al., "SAM 2: Segment Anything in Images and Videos", 2024; Carion et al., "SAM 3:
Segment Anything with Concepts", 2025.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Integer
from PIL import Image
from torch import Tensor

from recoseg.device import Compute, resolve_compute
from recoseg.encoders.download import locate
from recoseg.encoders.licences import SAM, tell_licences
from recoseg.encoders.spec import EncoderSpec, parse_spec
from recoseg.encoders.weight_sources import HubModel
from recoseg.encoders.weights import fingerprint
from recoseg.errors import MissingWeightsError, RecosegError, UnknownNameError

_OTHERWISE = "name a folder with them: --tracker {0}=/path/to/folder; or do without: --tracker none"


@dataclass(frozen=True)
class TrackerRow:
    """A tracker of the table.

    Attributes:
        name: The name it is asked for by.
        repo: The repository of its weights on the Hugging Face Hub.
        classes: Names of its model and its processor in transformers.
        needs: The oldest version of transformers that has them.
        licence: Licence of the weights.
    """

    name: str
    repo: str
    classes: tuple[str, str]
    needs: str
    licence: str

    @property
    def source(self) -> HubModel:
        """Where the weights are published."""
        return HubModel(self.repo, otherwise=_OTHERWISE.format(self.name))


def _sam2(name: str, size: str) -> TrackerRow:
    classes = ("Sam2VideoModel", "Sam2VideoProcessor")
    return TrackerRow(name, f"facebook/sam2.1-hiera-{size}", classes, "4.56", "Apache-2.0")


TRACKERS = (
    _sam2("sam2", "large"),
    _sam2("sam2-base-plus", "base-plus"),
    _sam2("sam2-small", "small"),
    _sam2("sam2-tiny", "tiny"),
    TrackerRow(
        "sam3",
        "facebook/sam3",
        ("Sam3TrackerVideoModel", "Sam3TrackerVideoProcessor"),
        "5.0",
        SAM,
    ),
)
"""All trackers."""


class SamTracker:
    """A tracker of SAM 2.1 or SAM 3 (a `Tracker`).

    Each instance has a memory of its own: of the frame where it was found, and of the last frames
    up to as many as the model uses. Older ones are dropped, so memory does not grow with the film.

    Args:
        model: `Sam2VideoModel` or `Sam3TrackerVideoModel`, on its device, frozen.
        processor: Its processor.
        compute: Device (that of the model) and precision.
        settings: What decides its masks, as JSON fields.
    """

    def __init__(
        self, model: Any, processor: Any, compute: Compute, settings: dict[str, Any]
    ) -> None:
        self.settings = settings
        self._model, self._processor, self._compute = model, processor, compute
        self._kept = max(model.config.num_maskmem, model.config.max_object_pointers_in_encoder)
        self._pixels: Tensor | None = None
        self._number, self._count = -1, 0
        self._session = self._new_session()

    def see(self, image: Image.Image) -> None:
        """See `Tracker`."""
        self._number += 1
        found = self._processor.image_processor(images=image, return_tensors="pt")
        self._pixels = found["pixel_values"].to(self._compute.device)

    def begin(self, parts: Integer[np.ndarray, "h w"], count: int) -> None:
        """See `Tracker`."""
        seen = self._session.cache  # what the model has seen of this frame stays
        self._session, self._count = self._new_session(), count
        self._session.cache = seen
        if count:
            masks = [torch.from_numpy(parts == one) for one in range(1, count + 1)]
            ids = list(range(1, count + 1))
            with torch.inference_mode():
                self._processor.process_new_mask_for_video_frame(
                    self._session, self._number, ids, masks
                )
            self._run()

    def masks(self) -> Float[Tensor, "n a b"]:
        """See `Tracker`."""
        if not self._count:
            return torch.zeros(0, 1, 1)
        found: Tensor = self._run().pred_masks.float()
        return found.reshape(self._count, *found.shape[-2:])

    def _run(self) -> Any:
        """Run the model on the frame that was seen last."""
        assert self._pixels is not None, "a frame is seen before instances are followed"
        with torch.inference_mode(), self._compute.autocast():
            found = self._model(self._session, frame=self._pixels, frame_idx=self._number)
        self._forget()
        return found

    def _forget(self) -> None:
        """Drop what no later frame uses."""
        session, oldest = self._session, self._number - self._kept
        for number in [one for one in session.processed_frames if one < self._number]:
            del session.processed_frames[number]
        for outputs in session.output_dict_per_obj.values():
            followed = outputs["non_cond_frame_outputs"]
            for number in [one for one in followed if one <= oldest]:
                del followed[number]
            for one in (outputs["cond_frame_outputs"], followed):
                if self._number in one:
                    one[self._number].pop("high_res_masks", None)

    def _new_session(self) -> Any:
        return self._processor.init_video_session(inference_device=self._compute.device)


def load_tracker(spec: str, compute: Compute | None = None) -> SamTracker:
    """Load a tracker: `NAME` of the table `TRACKERS`, or `NAME=FOLDER` with files as on the Hub.

    Args:
        spec: The name, with a folder if the weights are one's own.
        compute: Device and precision; by default the best.

    Raises:
        UnknownNameError: No tracker has this name.
        RecosegError: The installed transformers does not have it, or the folder cannot be read.
        MissingWeightsError: The model is not on this machine and cannot be downloaded.
    """
    asked = parse_spec(spec)
    row = tracker_row(asked)
    compute = compute or resolve_compute()
    try:
        import transformers

        model_class, processor_class = (getattr(transformers, name) for name in row.classes)
    except (ImportError, AttributeError) as error:
        raise RecosegError(
            f"The tracker {row.name} needs the package 'transformers' {row.needs} or newer. "
            "Install it with: pip install --upgrade transformers"
        ) from error
    folder, origin = _folder_of(asked, row)
    try:
        model = model_class.from_pretrained(folder, use_safetensors=True, local_files_only=True)
        processor = processor_class.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # transformers raises errors of many types
        reason = " ".join(str(error).split())[:200]
        raise RecosegError(
            f"The tracker {row.name} cannot be read from {folder}: {reason} Expected a folder "
            "with config.json, weights and the processor's settings, as the Hub holds it."
        ) from error
    model.float()
    settings = {
        "name": row.name,
        "weights": origin,
        "fingerprint": fingerprint(model),
        "licence": row.licence,
        "precision": compute.precision,
    }
    tell_licences([(row.name, row.licence)])
    compute.place(model)
    return SamTracker(model, processor, compute, settings)


def tracker_row(asked: EncoderSpec) -> TrackerRow:
    """The row of the table that a spec names.

    Raises:
        UnknownNameError: No tracker has this name; the message lists the valid names.
    """
    for row in TRACKERS:
        if row.name == asked.name:
            return row
    raise UnknownNameError("tracker", asked.name, [*(row.name for row in TRACKERS), "none"])


def _folder_of(asked: EncoderSpec, row: TrackerRow) -> tuple[Path, str]:
    """Where the files are, and what is recorded of where they came from."""
    if asked.is_random:
        raise RecosegError(
            f"{asked} is not available: the sizes of the tracker are read from the published "
            f"files. Name a folder with them: {row.name}=/path/to/folder"
        )
    if asked.weights is None:
        located = locate(row.source, row.name)
        return located.path, located.origin
    own = Path(asked.weights).expanduser()
    if not own.is_dir():
        raise MissingWeightsError(
            f"No folder was found at {str(own)!r} (asked for by {str(asked)!r}). Expected one with "
            "config.json, weights and the processor's settings, as the Hub holds it."
        )
    return own, f"folder {own.name}"
