"""Writing label maps in the formats of other tools (`recoseg convert`)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from recoseg.datasets.pairs import stamp_of
from recoseg.errors import OptionError, RecosegError, UnknownNameError
from recoseg.formats.format_table import FORMATS, formats_of
from recoseg.formats.outlines import TOLERANCE
from recoseg.formats.protocol import Format, FormatSettings, PhotosForm
from recoseg.formats.reading.open_format import RUN
from recoseg.pipeline.checks import check_output_folder
from recoseg.pipeline.convert_report import ConvertReport
from recoseg.pipeline.format_run import FormatRun
from recoseg.pipeline.mask_results import MaskResults, open_results
from recoseg.pipeline.things import things_of
from recoseg.progress import resumable, telling_what_is_kept
from recoseg.storage.checksums import checksum
from recoseg.storage.claim import format_in
from recoseg.storage.counts import count_of
from recoseg.storage.run_record import SETTINGS, RunRecord

KeptInstances = Literal["kept", "parts"]
"""What the regions of masks are: instances that were kept with them, or connected parts alone."""

FILES = "files.jsonl"

_SHOWN = 3  # photos in a note
_FRAME = re.compile(r"#\d+$")
"""The end of what is recorded of a frame of a film in the place of a path."""


def convert(
    masks: str | Path,
    to: str | Sequence[str],
    out: str | Path,
    *,
    images: str | Path | None = None,
    photos: PhotosForm = "auto",
    polygons: bool = False,
    tolerance: float = TOLERANCE,
    min_area: int = 0,
    things: Sequence[str] | None = None,
    stuff: Sequence[str] | None = None,
    instances: KeptInstances = "kept",
    resume: bool = False,
    overwrite: bool = False,
    progress: bool | None = False,
) -> ConvertReport:
    """Write label maps in the formats of other tools, each into the folder of its name in `out`.

    One photo after the other is read, so that the number of photos does not matter for memory.
    Photos are numbered in the order of their names, so that equal masks give equal files. Regions
    are instances that were kept with the masks, and other connected parts of a class: pixels that
    touch by a side or a corner.

    Args:
        masks: Folder of masks; see `open_results`.
        to: One or more of `coco`, `coco-stuff`, `panoptic`, `yolo`, `labelme`, `voc`, `cvat`,
            `label-studio`, `huggingface`, `geotiff` and `gpkg`.
        out: Folder to write to.
        images: Where the photos are now, if they have been moved, or, for masks of other programs,
            the folder of the photos.
        photos: Whether the photos are put beside the masks: `copy`, `link` (symbolic links),
            `none`, or `auto`, which copies them for the tools that look for them there.
            `huggingface` holds them in any case.
        polygons: Whether formats that have both get polygons instead of exact masks.
        tolerance: How far the outline of a polygon may move when it is simplified, pixels; 0 keeps
            it exact. Thin parts move less.
        min_area: Regions with fewer pixels are left out of formats of regions.
        things: Classes of which each region is an object of its own in `panoptic`; the others are
            stuff, one segment per photo.
        stuff: The classes that are stuff, instead of `things`; or the name of a label space, such
            as `cocostuff171`, that says which are. By default all are things, unless the classes
            are those of a known label space; see `things_of`.
        instances: Whether instances that were `kept` with the masks are regions, or all regions are
            connected `parts`.
        resume: Whether to go on with an interrupted run in `out` of the same masks and options. The
            photos that it had written or left out are not looked at again.
        overwrite: Whether to replace the formats of an earlier run in `out`.
        progress: See `StageProgress`.

    Returns:
        How many photos there were, and which were left out and why.

    Raises:
        MissingExtraError: A package that a format needs is not installed.
        MissingFileError: There is no such folder of masks.
        OutputError: `out` holds an earlier run that is neither continued nor replaced, or files of
            others.
        RecosegError: An option is out of range, or a format does not hold as many classes.
    """
    names = [to] if isinstance(to, str) else list(to)
    folder = check_output_folder(out)
    formats_of(names, polygons=polygons)
    _check_options(photos, tolerance, min_area, instances)
    found = open_results(Path(masks), None if images is None else Path(images))
    chosen = formats_of(names, len(found.names), polygons=polygons)
    if instances == "parts":
        found = found.without_instances()
    things = things_of(found.names, things, stuff)
    settings = FormatSettings(found.names, found.palette, polygons, tolerance, min_area, things)
    forms = {name: _photos_form(form, photos) for name, form in chosen.items()}
    _check_films(found, forms)
    fields = {"formats": forms, **asdict(settings), "masks": _content(found)}
    record = _record(folder, fields, resume=resume, overwrite=overwrite)
    with (
        telling_what_is_kept(partial(resumable, folder)),
        record,
        record.writing(),
        FormatRun(folder, record, chosen, forms, settings) as run,
    ):
        failures = {**found.failures, **run.write(found.photos, progress)}
    folders = {name: folder / name for name in chosen}
    return ConvertReport(
        len(found.photos) + len(found.failures), failures, folders, _notes(found, forms)
    )


def remove_formats(folder: Path) -> None:
    """Remove the formats that an earlier run of `convert` has written into a folder, if any.

    Raises:
        OutputError: Another process is writing to the folder, or files cannot be removed.
    """
    if format_in(folder) != RUN:
        return
    with _record(folder, {}, overwrite=True):
        pass
    with suppress(OSError):  # the folder holds files of others
        for name in (SETTINGS, FILES, ".lock"):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def _record(
    folder: Path, settings: Mapping[str, Any], *, resume: bool = False, overwrite: bool
) -> RunRecord:
    return RunRecord(
        folder,
        FILES,
        RUN,
        settings,
        what="formats",
        entries=FORMATS,
        resume=resume,
        overwrite=overwrite,
        owned=[f"{name}/**/*" for name in FORMATS],
    )


def _check_films(found: MaskResults, forms: Mapping[str, str]) -> None:
    """Refuse formats that hold photos where these are frames of films, which are no files.

    Raises:
        OptionError: There are such formats and frames.
    """
    needing = [name for name, form in forms.items() if form != "none"]
    film = next((item.photo for item in found.photos if _FRAME.search(item.photo)), None)
    if needing and film is not None:
        raise OptionError(
            f"{' and '.join(needing)} would hold the photos themselves, but {film} is a frame of a "
            "film. Leave them out, or segment a folder with the film's frames as photos."
        )


def _check_options(photos: str, tolerance: float, min_area: int, instances: str) -> None:
    if instances not in get_args(KeptInstances):
        raise UnknownNameError("choice of instances", instances, list(get_args(KeptInstances)))
    if photos not in get_args(PhotosForm):
        raise UnknownNameError("choice for photos", photos, list(get_args(PhotosForm)))
    if tolerance < 0 or min_area < 0:
        raise RecosegError(
            f"Expected a tolerance and a minimum area of 0 or more; got {tolerance} and {min_area}."
        )


def _content(found: MaskResults) -> str:
    """A checksum of what is converted: names, photos, and checksums or stamps of the masks."""
    parts = (
        (item.name, item.photo, item.checksum or (stamp_of(item.mask) if item.mask else ""))
        + ((item.instances_checksum,) if item.instances else ())
        for item in found.photos
    )
    return checksum(repr(list(parts)).encode("utf-8", "surrogateescape"))


def _photos_form(form: type[Format], asked: PhotosForm) -> str:
    """What becomes of the photos in a format."""
    return form.photos if asked == "auto" or form.photos == "embed" else asked


def _is_below(path: str, name: str) -> bool:
    """Whether a photo is found by its name below the folder of all photos."""
    own = path.replace(os.sep, "/").replace("::", "/")
    return f"/{own}".endswith(f"/{name}{Path(path).suffix}")


def _notes(found: MaskResults, forms: Mapping[str, str]) -> tuple[str, ...]:
    renamed = [
        item.photo
        for item in found.photos
        if not _is_below(item.photo, item.name) and not _FRAME.search(item.photo)
    ]
    if not renamed or "none" not in forms.values():
        return ()
    shown = ", ".join(renamed[:_SHOWN]) + (", ..." if len(renamed) > _SHOWN else "")
    return (
        f"{count_of(len(renamed), 'photos', 'have')} another name in the files than on the disk: "
        f"{shown}. With --photos copy, formats that hold photos get them under these names.",
    )
