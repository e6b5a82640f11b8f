"""`recoseg train`: DeepLabv3+ on pseudo-labels or on masks of one's own (ReCo+)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    masks: Annotated[
        Path | None,
        typer.Option(help="Folder of pseudo-labels, or of masks NAME.png with classes.txt."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of their photos; of pseudo-labels only where they moved."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Or a data set by name; see `recoseg datasets`.")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Folder that holds the data set.")] = None,
    split: Annotated[str, typer.Option(help="Its part.")] = "train",
    recipe: Annotated[str, typer.Option(help="paper, or short: minutes on a processor.")] = "paper",
    encoder: Annotated[
        str | None,
        typer.Option(help="segmentation_models.pytorch's, timm's, or efficientnet-lite0 to 2."),
    ] = None,
    output_stride: Annotated[int | None, typer.Option(help="8 or 16.")] = None,
    freeze_encoder: Annotated[
        bool | None, typer.Option("--freeze-encoder", help="Keep the encoder as it is.")
    ] = None,
    iterations: Annotated[int | None, typer.Option(help="Steps of the optimiser.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Photos per step, in all.")] = None,
    crop: Annotated[int | None, typer.Option(help="Side of the random crop, pixels.")] = None,
    short_side: Annotated[
        int | None, typer.Option(help="Photos are resized to this short side first.")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate of the decoder.")] = None,
    confidence: Annotated[
        bool | None,
        typer.Option("--confidence", help="Weight each pixel with its label's confidence."),
    ] = None,
    keep: Annotated[
        str | None, typer.Option(help="last, ema, or best-on-ground-truth (looks at labels).")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything drawn at random.")] = None,
    rounds: Annotated[
        int, typer.Option(min=1, help="Rounds; each after the first on the student's own labels.")
    ] = 1,
    ground_truth: Annotated[
        Path | None,
        typer.Option(help="Folder with images/, masks/, classes.txt to report scores on."),
    ] = None,
    report_every: Annotated[int, typer.Option(min=1, help="Steps between such scores.")] = 1000,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 500,
    preview_every: Annotated[int, typer.Option(min=1, help="Steps between previews.")] = 500,
    resume: Annotated[
        bool, typer.Option(help="Go on from the folder's newest checkpoint, if there is one.")
    ] = False,
    device: Annotated[str, typer.Option(help="Lightning's: auto, cpu, gpu, mps, ...")] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="How many, per node.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="How many machines.")] = 1,
    strategy: Annotated[str, typer.Option(help="Lightning's: auto, ddp, ...")] = "auto",
    precision: Annotated[str, typer.Option(help="fp32; bf16 or fp16, mixed.")] = "fp32",
    accumulate: Annotated[int, typer.Option(min=1, help="Parts of a step, to save memory.")] = 1,
    workers: Annotated[int, typer.Option(min=0, help="Reading processes per device.")] = 2,
) -> None:
    """Train DeepLabv3+ on masks, such as pseudo-labels."""
    import sys

    from recoseg.datasets.dataset_table import open_dataset
    from recoseg.errors import RecosegError
    from recoseg.training.recipe import recipe as recipe_of
    from recoseg.training.rounds import train_rounds
    from recoseg.training.trainer import Machines
    from recoseg.training.training_set import of_dataset, open_masks, readable

    if (masks is None) == (dataset is None):
        raise RecosegError("Expected either --masks or --dataset; see `recoseg train --help`.")
    chosen = recipe_of(
        recipe,
        encoder=encoder,
        output_stride=output_stride,
        freeze_encoder=freeze_encoder,
        iterations=iterations,
        batch_size=batch_size,
        crop=crop,
        short_side=short_side,
        lr=lr,
        confidence=confidence,
        keep=keep,
        seed=seed,
    )
    if masks is not None:
        data = open_masks(masks, images)
    else:
        assert dataset is not None
        data = of_dataset(open_dataset(dataset, root, split))
    truth = None if ground_truth is None else open_dataset("folder", ground_truth)
    machines = Machines(device, devices, nodes, strategy, precision, workers, accumulate)
    machines.check(chosen.batch_size)
    data, left_out = readable(data, progress=None)
    for name, reason in left_out.items():
        typer.echo(f"Left out: {name}: {reason}", err=True)
    train_rounds(
        data,
        chosen,
        out,
        rounds=rounds,
        machines=machines,
        resume=resume,
        checkpoint_every=checkpoint_every,
        preview_every=preview_every,
        truth=truth,
        truth_every=report_every,
        left_out=left_out,
        progress=sys.stderr.isatty(),
    )
    typer.echo(f"Model of {len(data.names)} classes from {len(data.photos):,} photos: {out}")
