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
            help="Folder of masks: of `recoseg segment` or `pseudo-label`, in one of the formats, "
            "or of NAME.png with classes.txt."
        ),
    ],
    to: Annotated[list[str], typer.Option(help=f"Format to write: {FORMAT_HELP}")],
    out: Annotated[
        Path, typer.Option(help="Folder to write to; each format gets a folder of its name.")
    ],
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the photos if they have been moved, or if the masks do not tell it."
        ),
    ] = None,
    photos: Annotated[
        str,
        typer.Option(
            help="Put the photos beside the masks: copy, link (symbolic links), none, or auto, "
            "which copies them for the tools that look for them there."
        ),
    ] = "auto",
    polygons: Annotated[
        bool,
        typer.Option("--polygons", help="Write polygons where a format also has exact masks."),
    ] = False,
    tolerance: Annotated[
        float,
        typer.Option(
            help="How far the outline of a polygon may move, pixels; 0 keeps it exact. Thin parts "
            "move less."
        ),
    ] = 1.0,
    min_area: Annotated[
        int, typer.Option(help="Leave out regions with fewer pixels, in formats of regions.")
    ] = 0,
    things: Annotated[
        str,
        typer.Option(
            help="Classes of which each region is an object of its own in panoptic, separated by "
            "commas; the others are stuff. By default all, but those that a data set with the same "
            "classes calls stuff."
        ),
    ] = "",
    stuff: Stuff = "",
    instances: Annotated[
        str,
        typer.Option(
            help="Take the instances that were kept with the masks as regions (kept), or connected "
            "parts alone (parts)."
        ),
    ] = "kept",
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Write masks in the formats of other tools.

    One photo after the other is read, so that the number of photos does not matter for memory.
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
