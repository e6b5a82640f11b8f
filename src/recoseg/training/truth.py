"""Scores on ground truth during a run; they choose weights only if the recipe says so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from recoseg.datasets.sample import SegmentationDataset
from recoseg.device import Compute
from recoseg.evaluation.evaluate import evaluate
from recoseg.evaluation.evaluation import Evaluation
from recoseg.evaluation.protocols import protocol_of
from recoseg.training.ema import MovingAverage
from recoseg.training.model import ModelInfo, TrainedModel
from recoseg.training.model_segmenter import model_segmenter

BEST = "best-on-ground-truth.safetensors"


def score(model: TrainedModel, dataset: SegmentationDataset, compute: Compute) -> Evaluation:
    """Evaluate a model on whole photos of a data set, without refinement."""
    [found] = evaluate(
        dataset,
        protocol_of("native", dataset.name),
        {"model": model_segmenter(model, compute=compute)},
        precision=compute.precision,
        device=compute.device,
    )
    return found


class GroundTruth(Callback):
    """Scores the network on ground truth regularly, and keeps the best weights if asked to.

    Args:
        dataset: Photos with their truth.
        info: Description of the model.
        every: Steps from one score to the next.
        average: The moving average that is scored; None scores the network itself.
        best: File of the best weights; None keeps none.
    """

    def __init__(
        self,
        dataset: SegmentationDataset,
        info: ModelInfo,
        every: int,
        average: MovingAverage | None,
        best: Path | None,
    ) -> None:
        self._dataset, self._info = dataset, info
        self._every, self._average, self._best = every, average, best
        self._last = 0
        self._highest = -1.0

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Score the network if it is due at this step."""
        step = trainer.global_step
        due = step % self._every == 0 or step == trainer.max_steps
        if not due or step == self._last or not trainer.is_global_zero:
            return
        self._last = step
        module: Any = pl_module
        network: nn.Module = module.network if self._average is None else self._average.network
        was_training = network.training
        provenance = {**self._info.provenance, "step": step}
        model = TrainedModel(network, replace(self._info, provenance=provenance))
        found = score(model, self._dataset, Compute(pl_module.device, torch.float32)).scores
        network.train(was_training)
        for logger in trainer.loggers:
            logger.log_metrics(
                {"ground_truth/miou": found.miou, "ground_truth/accuracy": found.accuracy}, step
            )
        if self._best is not None and found.miou > self._highest:
            self._highest = found.miou
            model.save(self._best)

    def state_dict(self) -> dict[str, Any]:
        """The state for checkpoints."""
        return {"highest": json.dumps(self._highest)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self._highest = json.loads(state_dict["highest"])
