"""Checkpoints: written completely or not at all, read without running code, the newest whole one.

Lightning's own saving goes through the system's temporary folder, from where a file is copied if
that is another file system; a run that is killed meanwhile leaves a cut checkpoint, and its parts
in the temporary folder.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import signal
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from recoseg.errors import FileError
from recoseg.storage.atomic import write_atomically

_log = logging.getLogger(__name__)

_NAME = re.compile(r"step=(\d{1,18})\.ckpt", re.ASCII)
_PARTS = {"global_step", "state_dict", "loops", "callbacks", "optimizer_states", "lr_schedulers"}


class CheckpointFile(CheckpointIO):
    """Writes checkpoints in one step beside their place, and reads tensors and records only."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None
    ) -> None:
        """Write a checkpoint; Ctrl-C waits until it is whole."""
        with _uninterrupted():
            # In memory first: an error of the disk within `torch.save` would reach the caller as
            # one of the zip writer.
            buffer = io.BytesIO()
            torch.save(checkpoint, buffer)
            write_atomically(Path(path), lambda file: file.write(buffer.getbuffer()))

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read a checkpoint; code in it is refused, whatever `weights_only` is."""
        found: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
        return found

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint."""
        Path(path).unlink(missing_ok=True)


class Checkpoints(Checkpoint):
    """Writes a checkpoint regularly and at the last step; the older ones are removed afterwards.

    Lightning's `ModelCheckpoint` keeps the one that a run was resumed from.

    Args:
        folder: Where to write `step=N.ckpt`.
        every: Steps from one checkpoint to the next.
    """

    def __init__(self, folder: Path, every: int) -> None:
        self._folder = folder
        self._every = every
        self._last = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember the step that the run goes on from, which is written already."""
        self._last = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Write a checkpoint if it is due at this step."""
        step = trainer.global_step
        due = step % self._every == 0 or step == trainer.max_steps
        if not due or step == self._last:
            return
        self._last = step
        # By all processes, whose state is collected.
        trainer.save_checkpoint(self._folder / f"step={step}.ckpt", weights_only=False)
        if trainer.is_global_zero:
            remove_others(self._folder, step)


def remove_others(folder: Path, step: int) -> None:
    """Remove the checkpoints of other steps, if there is one of this step."""
    found = _listed(folder)
    if step not in {number for number, _ in found}:
        return
    for number, path in found:
        if number != step:
            path.unlink()


def newest_whole(folder: Path) -> Path | None:
    """The checkpoint of the latest step that is whole; damaged ones are passed over with a warning.

    Files of other names are ignored.

    Args:
        folder: The folder of the checkpoints; it may not exist.

    Returns:
        The checkpoint; None if there are no checkpoints.

    Raises:
        FileError: There are checkpoints, but none is whole.
    """
    damaged: list[str] = []
    for step, path in sorted(_listed(folder), reverse=True):
        reason = damage(path)
        if reason is None:
            for text in damaged:
                _log.warning("%s The run continues from step %d.", text, step)
            return path
        damaged.append(f"The checkpoint {path} is {reason}.")
    if damaged:
        raise FileError(
            f"{damaged[0]} No whole checkpoint is left; start again with --overwrite, or in "
            "another folder."
        )
    return None


def newest_step(folder: Path) -> int:
    """The step of the newest checkpoint, whole or not; 0 if there is none."""
    return max((step for step, _ in _listed(folder)), default=0)


def step_of(path: Path | None) -> int:
    """The step of a checkpoint; 0 if there is none."""
    found = None if path is None else _NAME.fullmatch(path.name)
    return 0 if found is None else int(found[1])


def damage(path: Path) -> str | None:
    """Why a checkpoint cannot be used, such as "damaged (...)"; None if it is whole.

    The CRC-32 of every part is compared, so that no changed bit passes.
    """
    try:
        with zipfile.ZipFile(path) as parts:
            if any(part.compress_type != zipfile.ZIP_STORED for part in parts.infolist()):
                return "damaged (its parts are compressed)"  # and could be of any size
            wrong = parts.testzip()
        if wrong is not None:
            return f"damaged (the checksum of {wrong} differs)"
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # of the many kinds that damaged files and code in them raise
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        return f"damaged, or contains code, which is not run ({reason})"
    if not isinstance(content, dict) or not content.keys() >= _PARTS:
        return "damaged, or no checkpoint of a training run"
    if content["global_step"] != step_of(path):
        return f"of another step, {content['global_step']}"
    return None


def _listed(folder: Path) -> list[tuple[int, Path]]:
    """Step and path of each regular file with a checkpoint's name."""
    if not folder.is_dir():
        return []
    named = [(_NAME.fullmatch(path.name), path) for path in folder.iterdir()]
    return [(int(name[1]), path) for name, path in named if name is not None and path.is_file()]


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait until the block ends."""
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or previous is None:
        yield
        return
    asked: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: asked.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
    if asked:
        raise KeyboardInterrupt
