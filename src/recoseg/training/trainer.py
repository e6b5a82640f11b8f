"""Training runs: from a training set and a recipe to a model in a folder.

The folder of a run:

| file | what |
|---|---|
| `model.safetensors` | the model: weights, classes, palette, preprocessing, provenance |
| `settings.json` | recipe and training set; its `format` marks the folder as that of a run |
| `checkpoints/step=N.ckpt` | the latest state, to resume from |
| `checkpoints/best-on-ground-truth.safetensors` | the best weights so far, if they are asked for |
| `logs/from_N/` | `metrics.csv` and TensorBoard events since step N |
| `previews/N.jpg` | photos, masks and the network's labels at step N |
| `left_out.json` | photos that could not be trained on, with the reason |
| `classes.txt` | the classes, one per line |
| `.lock` | empty; locked while a process writes to the folder |

These files are removed, and nothing else, if the run is overwritten; see `run_folder`.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from recoseg.classes import class_list
from recoseg.datasets.sample import SegmentationDataset
from recoseg.encoders.spec import parse_spec
from recoseg.encoders.weights import seeded
from recoseg.errors import MissingExtraError, RecosegError
from recoseg.storage.atomic import write_bytes
from recoseg.storage.fields import to_json
from recoseg.storage.locks import lock_folder
from recoseg.training.data import TrainingStream
from recoseg.training.model import FILE, ModelInfo, TrainedModel
from recoseg.training.network import build_network, freeze_encoder, load_encoder, statistics_of
from recoseg.training.recipe import Recipe
from recoseg.training.run_folder import check_free, open_run, remove_logs
from recoseg.training.training_set import TrainingSet

try:
    from lightning.pytorch import Callback, Trainer
    from lightning.pytorch.callbacks import TQDMProgressBar
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
    from lightning.pytorch.utilities import rank_zero_only

    from recoseg.training.checkpoints import (
        CheckpointFile,
        Checkpoints,
        newest_whole,
        remove_others,
        step_of,
    )
    from recoseg.training.ema import MovingAverage
    from recoseg.training.endings import endings
    from recoseg.training.module import TrainingModule
    from recoseg.training.previews import Previews
    from recoseg.training.truth import BEST, GroundTruth
except ImportError as error:
    raise MissingExtraError("lightning", "train", "Training") from error

_PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


_LONGEST_TMPDIR = 75
"""Bytes of the name of the temporary folder: sockets below it have names of 32 more, 107 in all."""


@dataclass(frozen=True)
class Machines:
    """The machines of a run; they do not change its result, apart from rounding.

    Attributes:
        accelerator: Lightning's accelerator: `cpu`, `gpu`, `auto`, ...
        devices: Number of devices per machine.
        nodes: Number of machines.
        strategy: Lightning's strategy, such as `ddp` or `fsdp`.
        precision: `fp32`, or mixed `bf16` or `fp16`.
        workers: Processes per device that read and augment photos.
        accumulate: Number of parts that a step is divided into, to save memory.
    """

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: str = "auto"
    precision: str = "fp32"
    workers: int = 0
    accumulate: int = 1

    def check(self, batch_size: int) -> None:
        """Check the settings.

        Raises:
            RecosegError: A number is out of range, a batch cannot be divided equally, or processes
                that read photos could not be reached.
        """
        place = tempfile.gettempdir()
        if self.workers and os.name == "posix" and len(os.fsencode(place)) > _LONGEST_TMPDIR:
            raise RecosegError(
                f"The name of the temporary folder {place} is too long for the sockets of the "
                "processes that read photos; they would never answer. Set TMPDIR to one of at most "
                f"{_LONGEST_TMPDIR} characters, or read photos in one process: --workers 0."
            )
        if self.precision not in _PRECISIONS:
            raise RecosegError(
                f"Unknown precision {self.precision!r}. Expected {', '.join(_PRECISIONS)}."
            )
        for name in ("devices", "nodes", "accumulate"):
            if getattr(self, name) < 1:
                raise RecosegError(f"{name} is {getattr(self, name)}; expected 1 or more.")
        parts = self.devices * self.nodes * self.accumulate
        if batch_size % parts or batch_size // parts < 2:
            raise RecosegError(
                f"A batch of {batch_size} photos cannot be divided among {self.devices} x "
                f"{self.nodes} devices in {self.accumulate} parts: each part needs the same "
                "number, at least 2. Change the batch size."
            )


def is_leading() -> bool:
    """Whether this is the only process of a run, or the one that writes its folder."""
    return bool(getattr(rank_zero_only, "rank", 0) == 0)


def check_folder(out: Path, *, resume: bool = False, overwrite: bool = False) -> None:
    """Refuse a folder that a run may not write to; see `check_free`. It is not changed."""
    if is_leading():  # the others start when the folder has been written to
        check_free(out, resume=resume, overwrite=overwrite)


def train(
    data: TrainingSet,
    recipe: Recipe,
    out: Path,
    *,
    machines: Machines | None = None,
    resume: bool = False,
    overwrite: bool = False,
    checkpoint_every: int = 500,
    preview_every: int = 500,
    truth: SegmentationDataset | None = None,
    truth_every: int = 1000,
    left_out: Mapping[str, str] | None = None,
    progress: bool = False,
) -> TrainedModel:
    """Train a model.

    Args:
        data: The training set; see `readable`.
        recipe: The recipe.
        out: Folder of the run.
        machines: The machines; None for one device.
        resume: Continue from the latest whole checkpoint in the folder, if there is one.
        overwrite: Remove the files of an earlier run in the folder, and start again.
        checkpoint_every: Steps from one checkpoint to the next.
        preview_every: Steps from one preview picture to the next.
        truth: Ground truth to report scores on; it chooses weights only if the recipe says so.
        truth_every: Steps from one score to the next.
        left_out: Photos that are not trained on, with the reason, for the record.
        progress: Whether to show a progress bar.

    Returns:
        The model, on the CPU; it is written into the folder, too.

    Raises:
        OutputError: The folder has another run, or another process is writing to it; or it cannot
            be written to.
        RecosegError: Settings do not fit together, or a photo can no longer be read.
        MissingWeightsError: The weights of the encoder are not available.
        KeyboardInterrupt: The run was interrupted; the message says what is kept.
    """
    machines = machines or Machines()
    machines.check(recipe.batch_size)
    for what, steps in (
        ("checkpoints", checkpoint_every),
        ("previews", preview_every),
        ("scores", truth_every),
    ):
        if steps < 1:
            raise RecosegError(f"The steps between {what} are {steps}; expected 1 or more.")
    if recipe.keep == "best-on-ground-truth":
        if truth is None:
            raise RecosegError(
                "Keeping the best weights on ground truth needs ground truth: --ground-truth."
            )
        warnings.warn(
            "The weights are chosen by their score on ground truth, as published. That score is "
            "therefore too high, and the model is no longer trained without labels.",
            stacklevel=2,
        )
    settings = {"recipe": asdict(recipe), "training_set": data.fingerprint}
    leading = is_leading()
    check_folder(out, resume=resume, overwrite=overwrite)  # before weights are downloaded
    with seeded(recipe.seed):
        name = parse_spec(recipe.encoder).name
        network = build_network(
            name, len(data.names), recipe.output_stride, separable=recipe.separable
        )
    origin = load_encoder(network, recipe.encoder)
    if recipe.freeze_encoder:
        freeze_encoder(network)
    info = _info(data, recipe, name, origin)
    module = TrainingModule(
        network,
        info.statistics,
        recipe,
        TrainingStream(data.photos, recipe.augmentation, recipe.seed),
        workers=machines.workers,
        parts=machines.accumulate,
    )
    average = MovingAverage(recipe.ema_decay) if recipe.keep == "ema" else None
    best = out / "checkpoints" / BEST if recipe.keep == "best-on-ground-truth" else None
    callbacks: list[Callback] = [
        *([average] if average is not None else []),
        Previews(out / "previews", data.palette, preview_every),
        *([GroundTruth(truth, info, truth_every, average, best)] if truth is not None else []),
        Checkpoints(out / "checkpoints", checkpoint_every),
        *([TQDMProgressBar()] if progress else []),
    ]
    with endings(out), lock_folder(out) if leading else nullcontext():
        if leading:
            open_run(out, settings, resume=resume, overwrite=overwrite)
        checkpoint = newest_whole(out / "checkpoints") if resume else None
        if leading:
            remove_logs(out, step_of(checkpoint))
            write_bytes(out / "left_out.json", to_json(dict(left_out or {})))
            write_bytes(out / "classes.txt", class_list(data.names).encode())
        trainer = _trainer(out, recipe, machines, checkpoint, callbacks)
        with _quiet():
            trainer.fit(module, ckpt_path=checkpoint, weights_only=True)
        if best is not None:
            model = TrainedModel.load(best)
        else:
            kept: nn.Module = network if average is None else average.network
            model = TrainedModel(kept.cpu().eval(), info)
        if leading:
            model.save(out / FILE)
            remove_others(out / "checkpoints", trainer.global_step)
    return model


def _info(data: TrainingSet, recipe: Recipe, encoder: str, origin: str) -> ModelInfo:
    provenance = {
        "recipe": asdict(recipe),
        "encoder_weights": origin,
        "photos": len(data.photos),
        "training_set": data.fingerprint,
        "masks": dict(data.provenance),
    }
    return ModelInfo(
        encoder,
        recipe.output_stride,
        recipe.separable,
        data.names,
        data.palette,
        statistics_of(encoder),
        recipe.augmentation.short_side,
        json.loads(json.dumps(provenance)),
        data.background,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        # Batches depend on their position only, so nothing is lost when a run is resumed.
        warnings.filterwarnings("ignore", ".*your dataloader is not resumable.*")
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*callbacks used to create the checkpoint.*")
        warnings.filterwarnings("ignore", ".*in eval mode at the start.*")  # a frozen encoder
        warnings.filterwarnings("ignore", ".*treespec.*")  # Lightning's own use of torch
        yield


def _trainer(
    out: Path,
    recipe: Recipe,
    machines: Machines,
    checkpoint: Path | None,
    callbacks: list[Callback],
) -> Trainer:
    logs: dict[str, Any] = {
        "save_dir": out,
        "name": "logs",
        "version": f"from_{step_of(checkpoint)}",
    }
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch.accelerators.cuda"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they report devices that are missing
    return Trainer(
        accelerator=machines.accelerator,
        devices=machines.devices,
        num_nodes=machines.nodes,
        strategy=machines.strategy,
        precision=_PRECISIONS[machines.precision],  # type: ignore[arg-type]
        max_steps=recipe.iterations,
        max_epochs=1,
        accumulate_grad_batches=machines.accumulate,
        use_distributed_sampler=False,  # each process has its own positions already
        sync_batchnorm=machines.accelerator != "cpu" and machines.devices * machines.nodes > 1,
        logger=[CSVLogger(**logs), TensorBoardLogger(**logs)],
        log_every_n_steps=min(10, recipe.iterations),
        callbacks=callbacks,
        plugins=[CheckpointFile()],
        enable_progress_bar=any(isinstance(item, TQDMProgressBar) for item in callbacks),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=out,
    )
