"""Checks of trained models."""

from __future__ import annotations

from pathlib import Path

from recoseg.errors import RecosegError
from recoseg.storage.tensors import has_checksum
from recoseg.storage.verification import Verification
from recoseg.training.model import TrainedModel, model_file


def verify_model(path: Path) -> Verification:
    """Check a trained model: its checksum, description, tensors and values.

    Args:
        path: The model's file, or the folder of its run.
    """
    file = model_file(path)
    try:
        TrainedModel.load(file)
        summed = has_checksum(file)
    except RecosegError as error:
        return Verification("model", 1, 0, (str(error),))
    return Verification("model", int(summed), int(not summed), ())
