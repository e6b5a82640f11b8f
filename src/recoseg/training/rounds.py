"""Self-training: each round after the first learns from the labels of the student before it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recoseg.device import resolve_compute
from recoseg.errors import RecosegError
from recoseg.photos.refs import Photo
from recoseg.training.model import FILE, TrainedModel
from recoseg.training.model_segmenter import model_segmenter
from recoseg.training.pseudo_labels import pseudo_label
from recoseg.training.recipe import Recipe
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
    **options: Any,
) -> TrainedModel:
    """Train, let the student label its photos, and train anew on those labels.

    With one round the folder is that of the run. With more, each round has a folder `round-N` in
    it, with the pseudo-labels it learns from in `round-N/pseudo`; the last round's model stands in
    the folder itself.

    Args:
        data: What the first round learns from.
        recipe: Of each round; every one begins with the encoder's own weights.
        out: The folder.
        rounds: How many, 1 or more.
        machines: See `train`; more than one round needs a single device.
        resume: Go on with an interrupted run.
        **options: See `train`.

    Raises:
        RecosegError: More than one round on several devices or with photos that are no files, and
            as `train`.
    """
    if rounds == 1:
        return train(data, recipe, out, machines=machines, resume=resume, **options)
    machines = machines or Machines()
    if machines.devices * machines.nodes > 1:
        raise RecosegError(
            "Several rounds need one device, since one labels for all. On several, label with "
            "`recoseg pseudo-label RUN IMAGES` and train again."
        )
    files = [photo for photo in data.photos if isinstance(photo, FilePhoto)]
    if len(files) != len(data.photos):
        raise RecosegError("Several rounds need photos in files: give --masks and --images.")
    if (out / FILE).is_file() and not resume:
        raise RecosegError(f"{out} holds a run already. Go on (--resume), or use another folder.")
    model = None
    for number in range(1, rounds + 1):
        folder = out / f"round-{number}"
        if model is not None:
            photos = [Photo(item.photo) for item in files]
            data = _relabel(model, photos, folder / "pseudo", machines)
            options["left_out"] = {}
        model = train(data, recipe, folder, machines=machines, resume=resume, **options)
    assert model is not None
    model.save(out / FILE)
    return model


def _relabel(
    model: TrainedModel, photos: Sequence[Photo], folder: Path, machines: Machines
) -> TrainingSet:
    """The student's own labels of the photos, with its confidence."""
    device = {"gpu": "cuda"}.get(machines.accelerator, machines.accelerator)
    compute = resolve_compute(device, machines.precision)
    segmenter = model_segmenter(model, compute=compute, keep_scores=True)
    pseudo_label(segmenter, photos, folder, confidence=True, resume=True)
    return pseudo_labelled(folder)
