"""The training step, optimiser and batches, as a LightningModule."""

from __future__ import annotations

import signal
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from recoseg.device import Compute
from recoseg.encoders.normalisation import Normalisation, to_input
from recoseg.training.augment import mixed_seed
from recoseg.training.data import Batch, StreamPositions, TrainingStream
from recoseg.training.losses import weighted_cross_entropy
from recoseg.training.network import scores_at
from recoseg.training.recipe import Recipe
from recoseg.training.schedule import polynomial_decay


def parameter_groups(network: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Encoder and decoder, each with its learning rate; frozen parameters are in neither."""
    inside = {id(parameter) for parameter in network.get_submodule("encoder").parameters()}
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for parameter in network.parameters():
        if parameter.requires_grad:
            groups[id(parameter) in inside].append(parameter)
    rates = {True: recipe.lr * recipe.encoder_lr, False: recipe.lr}
    names = {True: "encoder", False: "decoder"}
    return [
        {"params": parameters, "lr": rates[part], "name": names[part]}
        for part, parameters in groups.items()
        if parameters
    ]


class TrainingModule(LightningModule):
    """Trains a network by a recipe.

    Args:
        network: DeepLabv3+.
        statistics: Normalisation of the input.
        recipe: The recipe.
        stream: The stream of photos.
        workers: Processes that read and augment photos.
        parts: Number of accumulated parts of a step.
    """

    def __init__(
        self,
        network: nn.Module,
        statistics: Normalisation,
        recipe: Recipe,
        stream: TrainingStream,
        *,
        workers: int = 0,
        parts: int = 1,
    ) -> None:
        super().__init__()
        self.network = network
        self._statistics = statistics
        self._recipe = recipe
        self._stream = stream
        self._workers = workers
        self._parts = parts

    def inputs(self, images: Tensor) -> Tensor:
        """Photos (n, 3, h, w) uint8, normalised for the network."""
        return to_input(images, self._statistics, Compute(self.device, torch.float32))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch; the random seed of dropout depends on the batch's position."""
        torch.manual_seed(mixed_seed(self._recipe.seed, int(batch["positions"][0]), 1))
        scores = scores_at(self.network, self.inputs(batch["images"]))
        weights = batch["confidence"] if self._recipe.confidence else None
        loss = weighted_cross_entropy(scores, batch["labels"], weights)
        self.log("loss", loss, prog_bar=True)
        return loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Log the learning rates."""
        for group in optimizer.param_groups:
            self.log(f"lr/{group['name']}", group["lr"])

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Adam with polynomial decay after every step."""
        recipe = self._recipe
        optimizer = Adam(
            parameter_groups(self.network, recipe), lr=recipe.lr, weight_decay=recipe.weight_decay
        )
        schedule = LambdaLR(
            optimizer,
            lambda step: polynomial_decay(step, recipe.iterations, recipe.decay_power),
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def train_dataloader(self) -> DataLoader[Batch]:
        """The batches of this process, from the current step on."""
        recipe, trainer = self._recipe, self.trainer
        positions = StreamPositions(
            recipe.iterations,
            recipe.batch_size,
            self._parts,
            trainer.global_rank,
            trainer.world_size,
            trainer.global_step,
        )
        return DataLoader(
            self._stream,
            batch_sampler=positions,
            num_workers=self._workers,
            pin_memory=self.device.type == "cuda",
            persistent_workers=False,
            worker_init_fn=_leave_interrupts,
        )


def _leave_interrupts(_: int) -> None:
    """Leave Ctrl-C, which reaches all processes, to the one that trains; it ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
