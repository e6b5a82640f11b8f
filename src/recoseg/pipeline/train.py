"""Training and export of models (`recoseg train`, `recoseg export`)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recoseg.datasets.dataset_table import open_dataset
from recoseg.datasets.excluded import names_left
from recoseg.errors import OptionError
from recoseg.hub.address import is_hub
from recoseg.pipeline.checks import check_output_file, check_output_folder
from recoseg.storage.locks import lock_file
from recoseg.training.model import TrainedModel, model_file
from recoseg.training.recipe import recipe as recipe_of
from recoseg.training.training_set import TrainingSet, of_dataset, open_masks, readable


@dataclass(frozen=True)
class TrainReport:
    """Results of a run.

    Attributes:
        model: The trained model.
        photos: Number of photos that it was trained on.
        left_out: Reason for each photo that could not be used, by name.
    """

    model: TrainedModel
    photos: int
    left_out: dict[str, str]


def train(
    out: str | Path,
    *,
    masks: str | Path | None = None,
    images: str | Path | None = None,
    dataset: str | None = None,
    root: str | Path | None = None,
    split: str = "train",
    exclude: str | Sequence[str] = (),
    recipe: str = "paper",
    rounds: int = 1,
    ground_truth: str | Path | None = None,
    report_every: int = 1000,
    checkpoint_every: int = 500,
    preview_every: int = 500,
    resume: bool = False,
    overwrite: bool = False,
    accelerator: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    strategy: str = "auto",
    precision: str = "fp32",
    accumulate: int = 1,
    workers: int = 2,
    progress: bool | None = False,
    **changes: Any,
) -> TrainReport:
    """Train DeepLabv3+ on masks, such as pseudo-labels (paper, section 3.4).

    Args:
        out: Folder of the run; see `recoseg.training.trainer`.
        masks: Folder of pseudo-labels, of masks `NAME.png` with `classes.txt`, or masks in the
            format of another tool; see `open_format`.
        images: Folder of their photos; for pseudo-labels needed only if the photos have moved.
        dataset: Name of a labelled data set to use instead of masks; see `open_dataset`.
        root: Folder that holds the data set.
        split: Dataset split.
        exclude: Patterns of the names of photos to leave out; see `names_left`.
        recipe: Training recipe: `paper`, or `short`, which takes minutes on a CPU.
        rounds: Rounds of self-training. Each round after the first trains on labels that the model
            of the round before has made.
        ground_truth: Folder with `images`, `masks` and `classes.txt`, on which scores are reported
            during training.
        report_every: Steps between reports of these scores.
        checkpoint_every: Steps between checkpoints.
        preview_every: Steps between preview pictures.
        resume: Whether to continue from the newest whole checkpoint in the folder, if there is one.
        overwrite: Whether to replace an earlier run in the folder.
        accelerator: Accelerator of Lightning: `auto`, `cpu`, `gpu` or `mps`.
        devices: Number of devices per machine.
        nodes: Number of machines.
        strategy: Strategy of Lightning, such as `ddp`.
        precision: `fp32`, or `bf16` or `fp16` for mixed precision.
        accumulate: Number of parts that a batch is split into, to save memory; their gradients are
            accumulated.
        workers: Processes per device that read and augment photos.
        progress: See `StageProgress`.
        **changes: Settings of the recipe to change, such as `iterations=1000`; None leaves the
            setting of the recipe.

    Raises:
        RecosegError: Neither or both of masks and data set are given, or settings do not fit.
        OutputError: The folder holds another run, another process is writing to it, or it cannot
            be written to.
        DatasetError: There are no photos with masks, or `exclude` matches none of them, or all.
        MissingWeightsError: The weights of the encoder are not available.
        MissingExtraError: The extra `train` is not installed.
        KeyboardInterrupt: The run was interrupted; the message says what is kept.
    """
    from recoseg.training.network import check_encoder
    from recoseg.training.rounds import train_rounds
    from recoseg.training.trainer import Machines, check_folder

    if (masks is None) == (dataset is None):
        raise OptionError("Expected either masks or a data set: --masks FOLDER or --dataset NAME.")
    chosen = recipe_of(recipe, **changes)
    machines = Machines(accelerator, devices, nodes, strategy, precision, workers, accumulate)
    machines.check(chosen.batch_size)
    folder = check_output_folder(out)
    check_folder(folder, resume=resume, overwrite=overwrite)  # before all photos are read
    data = _training_set(masks, images, dataset, root, split)
    if exclude:
        kept = set(names_left([photo.name for photo in data.photos], exclude))
        data = replace(data, photos=tuple(p for p in data.photos if p.name in kept))
    check_encoder(chosen.encoder, chosen.output_stride, separable=chosen.separable)
    truth = None if ground_truth is None else open_dataset("folder", ground_truth)
    data, left_out = readable(data, progress=progress)
    model = train_rounds(
        data,
        chosen,
        folder,
        rounds=rounds,
        machines=machines,
        resume=resume,
        overwrite=overwrite,
        checkpoint_every=checkpoint_every,
        preview_every=preview_every,
        truth=truth,
        truth_every=report_every,
        left_out=left_out,
        progress=progress,
    )
    return TrainReport(model, len(data.photos), left_out)


def export_onnx(model: str | Path, out: str | Path | None = None) -> tuple[Path, float]:
    """Export a trained model to ONNX, for photos of any size, and compare the scores of both.

    Args:
        model: The model's file, the folder of its run, or its address on the Hub.
        out: File to write. By default `model.onnx` in the folder of the model.

    Returns:
        The file, and the largest difference of a score between the file and the model.

    Raises:
        RecosegError: There is no such model, or the file cannot be written.
        OutputError: Another process is writing the file.
        MissingExtraError: The extra `onnx` is not installed.
    """
    from recoseg.training.export import export_onnx as write_onnx

    if out is None and is_hub(model):
        raise OptionError(f"{model} has no folder on this machine. Name the file: --out FILE.onnx.")
    path = Path(out) if out is not None else model_file(os.fspath(model)).with_suffix(".onnx")
    check_output_file(path, [".onnx"])
    loaded = TrainedModel.load(os.fspath(model))
    with lock_file(path):
        return path, write_onnx(loaded, path)


def _training_set(
    masks: str | Path | None,
    images: str | Path | None,
    dataset: str | None,
    root: str | Path | None,
    split: str,
) -> TrainingSet:
    if masks is not None:
        return open_masks(Path(masks), None if images is None else Path(images))
    assert dataset is not None
    return of_dataset(open_dataset(dataset, root, split))
