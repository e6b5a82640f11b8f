"""`recoseg train`: train DeepLabv3+ on pseudo-labels or other masks (ReCo+)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recoseg.cli.options import ExcludeNames, Overwrite, Resume, Root
from recoseg.cli.output import say
from recoseg.storage.counts import count_of


def train(
    out: Annotated[Path, typer.Option(help="Folder of the training run.")],
    masks: Annotated[
        Path | None,
        typer.Option(
            help="Folder of pseudo-labels, of masks NAME.png with classes.txt, or of masks in a "
            "format of `recoseg convert`."
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder or tar shard of the photos of --masks. For pseudo-labels it is needed "
            "only if the photos have moved."
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Labelled data set to train on instead of --masks; see `recoseg datasets`."
        ),
    ] = None,
    root: Root = None,
    split: Annotated[str, typer.Option(help="Split of the data set.")] = "train",
    exclude: ExcludeNames = None,
    recipe: Annotated[
        str, typer.Option(help="Training recipe: paper, or short, which takes minutes on a CPU.")
    ] = "paper",
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Encoder of the network: a name of segmentation_models.pytorch or timm, or "
            "efficientnet-lite0 to efficientnet-lite2. By default that of the recipe; so are all "
            "options up to --seed that are not given."
        ),
    ] = None,
    output_stride: Annotated[
        int | None, typer.Option(help="Output stride of the encoder: 8 or 16.")
    ] = None,
    freeze_encoder: Annotated[
        bool | None, typer.Option("--freeze-encoder", help="Keep the encoder's weights fixed.")
    ] = None,
    iterations: Annotated[int | None, typer.Option(help="Number of optimiser steps.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Photos per step, over all devices.")
    ] = None,
    crop: Annotated[int | None, typer.Option(help="Side of the random crop, pixels.")] = None,
    short_side: Annotated[
        int | None, typer.Option(help="Short side to which photos are resized first, pixels.")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate of the decoder.")] = None,
    confidence: Annotated[
        bool | None,
        typer.Option("--confidence", help="Weight each pixel by the confidence of its label."),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            help="Weights to keep: last, ema, or best-on-ground-truth, which uses the labels of "
            "--ground-truth."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed.")] = None,
    rounds: Annotated[
        int,
        typer.Option(
            min=1,
            help="Rounds of self-training. Each round after the first trains on labels made by the "
            "model of the round before.",
        ),
    ] = 1,
    ground_truth: Annotated[
        Path | None,
        typer.Option(
            help="Folder with images/, masks/ and classes.txt, to report scores on during training."
        ),
    ] = None,
    report_every: Annotated[
        int, typer.Option(min=1, help="Steps between scores on --ground-truth.")
    ] = 1000,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 500,
    preview_every: Annotated[
        int, typer.Option(min=1, help="Steps between preview pictures.")
    ] = 500,
    resume: Resume = False,
    overwrite: Overwrite = False,
    device: Annotated[
        str, typer.Option(help="Accelerator of Lightning: auto, cpu, gpu, mps, ...")
    ] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="Number of devices per machine.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Number of machines.")] = 1,
    strategy: Annotated[str, typer.Option(help="Strategy of Lightning: auto, ddp, ...")] = "auto",
    precision: Annotated[
        str, typer.Option(help="Precision: fp32, or bf16 or fp16 for mixed precision.")
    ] = "fp32",
    accumulate: Annotated[
        int,
        typer.Option(
            min=1,
            help="Number of parts that a batch is split into, to save memory; their gradients are "
            "accumulated.",
        ),
    ] = 1,
    workers: Annotated[int, typer.Option(min=0, help="Processes per device that read photos.")] = 2,
) -> None:
    """Train DeepLabv3+ on masks, such as pseudo-labels."""
    from recoseg.pipeline.train import train as run

    report = run(
        out,
        masks=masks,
        images=images,
        dataset=dataset,
        root=root,
        split=split,
        exclude=exclude or (),
        recipe=recipe,
        rounds=rounds,
        ground_truth=ground_truth,
        report_every=report_every,
        checkpoint_every=checkpoint_every,
        preview_every=preview_every,
        resume=resume,
        overwrite=overwrite,
        accelerator=device,
        devices=devices,
        nodes=nodes,
        strategy=strategy,
        precision=precision,
        accumulate=accumulate,
        workers=workers,
        progress=None,
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
    for name, reason in report.left_out.items():
        say(f"Left out: {name}: {reason}", err=True)
    info = report.model.info
    beside = 0 if info.background is None else 1
    classes = count_of(len(info.names) - beside, "classes") + " and background" * beside
    say(f"Model of {classes} from {count_of(report.photos, 'photos')}: {out}")
