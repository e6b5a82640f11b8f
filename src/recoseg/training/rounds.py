"""Self-training: each round after the first trains on labels of the model before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from recoseg.device import resolve_compute
from recoseg.errors import OptionError, OutputError
from recoseg.photos.refs import Photo
from recoseg.storage.locks import lock_folder
from recoseg.training.endings import endings
from recoseg.training.model import FILE, TrainedModel
from recoseg.training.model_segmenter import model_segmenter
from recoseg.training.pseudo_labels import pseudo_label
from recoseg.training.recipe import Recipe
from recoseg.training.run_folder import open_run
from recoseg.training.trainer import Machines, train
from recoseg.training.training_set import FilePhoto, TrainingSet, pseudo_labelled


def train_rounds(
    data: TrainingSet,
    recipe: Recipe,
    out: Path,
    *,
    rounds: int = 1,
    machines: Machines | None = None,
    resume: bool = False,
    overwrite: bool = False,
    **options: Any,
) -> TrainedModel:
    """Train a model, label its photos with it, and train a new model on those labels.

    With one round the folder is that of the run. With more rounds each has a folder `round-N`,
    with the pseudo-labels that it trains on in `round-N/pseudo`; the model of the last round is
    written into the folder itself, and `settings.json` marks it.

    Args:
        data: Training set of the first round.
        recipe: Recipe of each round; each starts from the encoder's pretrained weights.
        out: The folder.
        rounds: Number of rounds, 1 or more.
        machines: See `train`; more than one round needs a single device.
        resume: Continue an interrupted run.
        overwrite: Remove the files of an earlier run in the folder, and start again.
        **options: See `train`.

    Raises:
        RecosegError: There are several rounds, and several devices or photos that are not files; or
            see `train`.
    """
    if rounds == 1:
        return train(
            data, recipe, out, machines=machines, resume=resume, overwrite=overwrite, **options
        )
    machines = machines or Machines()
    if machines.devices * machines.nodes > 1:
        raise OptionError(
            "Several rounds need a single device. With several devices, label photos with "
            "`recoseg pseudo-label RUN IMAGES` after each round and train again."
        )
    files = [photo for photo in data.photos if isinstance(photo, FilePhoto)]
    if len(files) != len(data.photos):
        raise OptionError("Several rounds need photos in files: give --masks and --images.")
    settings = {
        "recipe": asdict(recipe),
        "training_set": data.fingerprint,
        "several_rounds": True,  # their number may change
    }
    with endings(out), lock_folder(out):
        open_run(out, settings, resume=resume, overwrite=overwrite)
        model = None
        for number in range(1, rounds + 1):
            folder = out / f"round-{number}"
            if model is not None:
                photos = [Photo(item.photo) for item in files]
                data = _relabel(
                    model, photos, folder / "pseudo", machines, options.get("progress", False)
                )
                options["left_out"] = {}
            model = train(
                data,
                recipe,
                folder,
                machines=machines,
                resume=True,
                title=f"Training, round {number} of {rounds}",
                **options,
            )
        assert model is not None
        model.save(out / FILE)
    return model


def _relabel(
    model: TrainedModel,
    photos: Sequence[Photo],
    folder: Path,
    machines: Machines,
    progress: bool | None,
) -> TrainingSet:
    """The training set of photos labelled by a model, with its confidence."""
    device = {"gpu": "cuda"}.get(machines.accelerator, machines.accelerator)
    compute = resolve_compute(device, machines.precision)
    segmenter = model_segmenter(model, compute=compute, keep_scores=True)
    chosen: dict[str, Any] = {"confidence": True, "progress": progress}
    try:
        pseudo_label(segmenter, photos, folder, resume=True, **chosen)
    except OutputError:  # labels by another model, which an overwritten run has left
        pseudo_label(segmenter, photos, folder, overwrite=True, **chosen)
    return pseudo_labelled(folder)
