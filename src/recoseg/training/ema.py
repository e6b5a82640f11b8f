"""The exponential moving average of a network's weights.

Lightning's `WeightAveraging` is not used: it copies the whole module with its list of photos,
starts with the weights after the first step, and puts the averaged weights in the place of the
network's own in every checkpoint, so that runs begun before could not be resumed equally.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from recoseg.training.schedule import average_decay

Update = Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]


def average_update(decay: float) -> Update:
    """The update of `AveragedModel` with a decay of at most this; see `average_decay`."""

    @torch.no_grad()
    def update(mean: Sequence[Tensor], new: Sequence[Tensor], updates: Tensor | int) -> None:
        if mean[0].is_floating_point():
            # The initial network was copied and counted as an update, so `updates` starts at 1.
            share = average_decay(int(updates) - 1, decay)
            torch._foreach_lerp_(list(mean), list(new), 1 - share)
        else:  # counters of batch normalisation
            torch._foreach_copy_(list(mean), list(new))

    return update


class MovingAverage(Callback):
    """Averages the network, norm statistics included, after every step.

    Args:
        decay: Decay per step; see `average_decay`.
    """

    def __init__(self, decay: float) -> None:
        self._decay = decay
        self._state: dict[str, Any] | None = None
        self._steps = 0
        self.average: AveragedModel | None = None

    @property
    def network(self) -> nn.Module:
        """The averaged network."""
        assert self.average is not None
        found: nn.Module = self.average.module
        return found

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy the network, or continue with the average of a checkpoint."""
        network: Any = pl_module.network
        self.average = AveragedModel(
            network, multi_avg_fn=average_update(self._decay), use_buffers=True
        )
        if self._state is None:
            self.average.update_parameters(network)  # copies it, and counts as the first update
        else:
            self.average.load_state_dict(self._state)
        self._steps = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Add the new weights once per step, not per accumulated part."""
        if trainer.global_step > self._steps:
            assert self.average is not None
            network: Any = pl_module.network
            self.average.update_parameters(network)
            self._steps = trainer.global_step

    def state_dict(self) -> dict[str, Any]:
        """The state for checkpoints."""
        return {} if self.average is None else {"average": self.average.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state of a checkpoint until the fit starts."""
        self._state = state_dict.get("average")
