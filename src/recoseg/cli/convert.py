"""`recoseg convert`: write masks in the formats of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from recoseg.cli.options import Overwrite, Resume, Stuff, names_in, separated
from recoseg.cli.output import refuse_nothing, say

FORMAT_HELP = (
    "coco, coco-stuff, panoptic, yolo, labelme, voc, cvat, label-studio, huggingface, geotiff or "
    "gpkg; several with commas between them."
)
"""The formats in the help of options. The table is not imported for it, so that help is quick."""


def convert(
    masks: Annotated[
        Path,
        typer.Argument(
            help="Masks: a folder of `recoseg segment` or `pseudo-label`, a file or folder in one "
            "of the formats, or a folder of NAME.png with classes.txt."
        ),
    ],
    to: Annotated[list[str], typer.Option(help=f"Format to write: {FORMAT_HELP}")],
    out: Annotated[
        Path, typer.Option(help="Folder to write to; each format gets a folder of its name.")
    ],
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the photos, if they have been moved or the masks do not record it."
        ),
    ] = None,
    photos: Annotated[
        str,
        typer.Option(
            help="Put the photos beside the masks: copy, link (symbolic links), none, or auto, "
            "which copies them if the tool looks for them there."
        ),
    ] = "auto",
    polygons: Annotated[
        bool,
        typer.Option(
            "--polygons", help="Write polygons in formats that could also hold exact masks."
        ),
    ] = False,
    tolerance: Annotated[
        float,
        typer.Option(
            help="How far outlines of polygons may move, pixels; those of thin parts move less. 0 "
            "keeps them exact."
        ),
    ] = 1.0,
    min_area: Annotated[
        int,
        typer.Option(help="Leave out regions with fewer pixels, in formats that have regions."),
    ] = 0,
    things: Annotated[
        str,
        typer.Option(
            help="Classes that can be counted, with commas between them: each of their regions is "
            "a segment in panoptic; the other classes are stuff. By default all, except the stuff "
            "of a data set with the same classes."
        ),
    ] = "",
    stuff: Stuff = "",
    instances: Annotated[
        str,
        typer.Option(
            help="What regions are: kept (instances that were kept with the masks, where there "
            "are any) or parts (connected parts of classes)."
        ),
    ] = "kept",
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Write masks in the formats of other tools.

    Photos are read one after the other, so memory does not grow with their number.
    """
    from recoseg.pipeline.convert import convert as run

    options: dict[str, Any] = {"photos": photos, "polygons": polygons, "tolerance": tolerance}
    options["instances"] = instances
    report = run(
        masks,
        separated(to),
        out,
        images=images,
        **options,
        min_area=min_area,
        things=names_in(things) if things else None,
        stuff=names_in(stuff) if stuff else None,
        resume=resume,
        overwrite=overwrite,
        progress=None,
    )
    for path, reason in report.failures.items():
        say(f"Left out: {path}: {reason}", err=True)
    for note in report.notes:
        say(f"Note: {note}", err=True)
    done = report.photos - len(report.failures)
    refuse_nothing(done, report.photos, "converted")
    for name, folder in report.folders.items():
        say(f"{name} of {done:,} photos: {folder}")
