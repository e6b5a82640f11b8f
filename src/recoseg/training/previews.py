"""Preview pictures of a run: photos, their masks, and the labels of the network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from torch import Tensor

from recoseg.drawing.palette import colour_labels
from recoseg.labels import IGNORE_INDEX, Colour
from recoseg.storage.atomic import write_bytes
from recoseg.training.data import Batch
from recoseg.training.network import scores_at
from recoseg.writers.formats import encode_jpeg

_MOST = 4


def preview(
    images: UInt8[Tensor, "n 3 h w"],
    labels: Int64[Tensor, "n h w"],
    found: Int64[Tensor, "n h w"],
    palette: Sequence[Colour],
) -> Image.Image:
    """A row per photo: the photo, its mask (white is ignored) and the network's labels."""
    rows = []
    for image, target, preds in zip(images, labels, found, strict=True):
        photo = image.permute(1, 2, 0).cpu().numpy()
        painted = [
            colour_labels(part.cpu().numpy().astype(np.uint8), palette, IGNORE_INDEX)
            for part in (target, preds)
        ]
        rows.append(np.concatenate([photo, *painted], axis=1))
    return Image.fromarray(np.concatenate(rows))


class Previews(Callback):
    """Writes a picture at steps 1, 10 and 100, and then regularly.

    Args:
        folder: Where to write STEP.jpg.
        palette: RGB of each class.
        every: Steps from one picture to the next.
    """

    def __init__(self, folder: Path, palette: Sequence[Colour], every: int) -> None:
        self._folder = folder
        self._palette = palette
        self._every = every
        self._last = 0

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Write a picture if it is due at this step."""
        step = trainer.global_step
        due = step in (1, 10, 100) or step % self._every == 0
        if not due or step == self._last or not trainer.is_global_zero:
            return
        self._last = step
        module: Any = pl_module
        was_training = module.network.training
        module.network.eval()
        with torch.no_grad():
            images, labels = batch["images"][:_MOST], batch["labels"][:_MOST]
            found = scores_at(module.network, module.inputs(images)).argmax(1)
        module.network.train(was_training)
        picture = preview(images, labels, found, self._palette)
        write_bytes(self._folder / f"{step:06d}.jpg", encode_jpeg(picture))
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("preview", np.asarray(picture), step, dataformats="HWC")
