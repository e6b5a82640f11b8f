"""The progress of training, with its loss, on a terminal and in log files."""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from recoseg.progress import StageProgress

AVERAGED = 50
"""Number of iterations whose mean loss is shown."""


class TrainingProgress(Callback):
    """Shows iterations, loss, learning rate and remaining time; see `StageProgress`.

    Args:
        title: The name of the stage, such as `Training`.
        enabled: See `StageProgress`.
    """

    def __init__(self, title: str, enabled: bool | None) -> None:
        self._title = title
        self._enabled = enabled
        self._losses: deque[Tensor] = deque()
        self._bar: StageProgress | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin where the run begins; other processes than the first show nothing."""
        self._bar = StageProgress(
            self._title,
            trainer.max_steps,
            unit="iterations",
            start=trainer.global_step,
            enabled=self._enabled if trainer.is_global_zero else False,
        )
        self._losses = deque(maxlen=AVERAGED * trainer.accumulate_grad_batches)
        self._bar.__enter__()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count a step once, not each of its accumulated parts."""
        assert self._bar is not None
        # The loss of a part is divided by the number of parts.
        self._losses.append(outputs["loss"] * trainer.accumulate_grad_batches)
        steps = trainer.global_step - self._bar.done
        if steps > 0:
            self._bar.advance(steps, note=lambda: self._note(trainer))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the last line."""
        self._end()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leave the terminal as it was."""
        self._end(exception)

    def _end(self, error: BaseException | None = None) -> None:
        if self._bar is not None:
            self._bar.__exit__(None if error is None else type(error), error, None)
            self._bar = None

    def _note(self, trainer: Trainer) -> str:
        loss = torch.stack(list(self._losses)).float().mean().item()
        rates = [group["lr"] for one in trainer.optimizers for group in one.param_groups]
        return f"loss {loss:.4f}, learning rate {max(rates):.2g}"
