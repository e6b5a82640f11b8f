"""The trackers of SAM 2.1 and SAM 3 by transformers.

Sources: Ravi et al., "SAM 2: Segment Anything in Images and Videos", 2024; Carion et al., "SAM 3:
Segment Anything with Concepts", 2025.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Integer
from PIL import Image
from torch import Tensor

from recoseg.device import Compute, resolve_compute
from recoseg.encoders.library_models import load_model
from recoseg.encoders.licences import tell_licences
from recoseg.encoders.spec import parse_spec
from recoseg.encoders.tracker_sources import tracker_row
from recoseg.encoders.weights import fingerprint


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
    row = tracker_row(asked.name)
    compute = compute or resolve_compute()
    model, processor, located = load_model(row.model, asked)
    settings = {
        "name": row.name,
        "weights": located.origin,
        "fingerprint": fingerprint(model),
        "licence": row.licence,
        "precision": compute.precision,
    }
    tell_licences([(row.name, row.licence)])
    compute.place(model)
    return SamTracker(model, processor, compute, settings)
