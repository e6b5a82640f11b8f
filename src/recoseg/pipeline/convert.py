"""Writing label maps in the formats of other tools (`recoseg convert`)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from recoseg.errors import BadImageError, OutputError, RecosegError, UnknownNameError
from recoseg.formats.format_table import FORMATS, formats_of
from recoseg.formats.outlines import TOLERANCE
from recoseg.formats.photo_files import PhotoFile, name_only, photo_file
from recoseg.formats.place import Place
from recoseg.formats.protocol import Format, FormatSettings, Labelled, PhotosForm
from recoseg.pipeline.checks import check_output_folder
from recoseg.pipeline.mask_results import MaskResult, open_results
from recoseg.progress import telling_what_is_kept, track
from recoseg.storage.run_record import RunRecord

FORMAT = "recoseg-formats-1"
FILES = "files.jsonl"
FOLDER = "formats"
"""The folder within that of `recoseg segment` into which the latter writes formats."""

_SHOWN = 3  # photos in a note


@dataclass(frozen=True)
class ConvertReport:
    """Results of a run.

    Attributes:
        photos: Number of photos.
        failures: Reason for each photo that was left out, by path.
        folders: The folder of each format, by its name.
        notes: What to know about the files, in sentences.
    """

    photos: int
    failures: dict[str, str]
    folders: dict[str, Path]
    notes: tuple[str, ...] = ()


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
    things: Sequence[str] = (),
    overwrite: bool = False,
    progress: bool | None = False,
) -> ConvertReport:
    """Write label maps in the formats of other tools, each into the folder of its name in `out`.

    One photo after the other is read, so that the number of photos does not matter for memory.
    Photos are numbered in the order of their names, so that equal masks give equal files. Regions
    are the connected parts of a class: pixels that touch by a side or a corner.

    Args:
        masks: Folder of masks; see `open_results`.
        to: One or more of `coco`, `coco-stuff`, `panoptic`, `yolo`, `labelme`, `voc`, `cvat`,
            `label-studio` and `huggingface`.
        out: Folder to write to.
        images: Where the photos are now, if they have been moved, or, for masks of other programs,
            the folder of the photos.
        photos: Whether the photos are put beside the masks: `copy`, `link` (symbolic links), `none`,
            or `auto`, which copies them for the tools that look for them there. `huggingface` holds
            them in any case.
        polygons: Whether formats that have both get polygons instead of exact masks.
        tolerance: How far the outline of a polygon may move when it is simplified, pixels; 0 keeps
            it exact. Thin parts move less.
        min_area: Regions with fewer pixels are left out of formats of regions.
        things: Classes of which each region is an object of its own in `panoptic`; the others are
            one segment per photo.
        overwrite: Whether to replace the formats of an earlier run in `out`.
        progress: See `StageProgress`.

    Returns:
        How many photos there were, and which were left out and why.

    Raises:
        MissingExtraError: A package that a format needs is not installed.
        MissingFileError: There is no such folder of masks.
        OutputError: `out` holds an earlier run that is not replaced, or files of others.
        RecosegError: An option is out of range, or a format does not hold as many classes.
    """
    names = [to] if isinstance(to, str) else list(to)
    folder = check_output_folder(out)
    if photos not in get_args(PhotosForm):
        raise UnknownNameError("choice for photos", photos, list(get_args(PhotosForm)))
    if tolerance < 0 or min_area < 0:
        raise RecosegError(
            f"Expected a tolerance and a minimum area of 0 or more; got {tolerance} and {min_area}."
        )
    found = open_results(Path(masks), None if images is None else Path(images))
    chosen = formats_of(names, len(found.names))
    unknown = [name for name in things if name not in found.names]
    if unknown:
        raise UnknownNameError("class", unknown[0], list(found.names))
    settings = FormatSettings(
        found.names, found.palette, polygons, tolerance, min_area, tuple(things)
    )
    forms = {name: _photos_form(form, photos) for name, form in chosen.items()}
    record = RunRecord(
        folder,
        FILES,
        FORMAT,
        {"formats": list(chosen)},
        what="formats",
        entries=FORMATS,
        overwrite=overwrite,
        owned=[f"{name}/**/*" for name in FORMATS],
    )
    failures = dict(found.failures)
    renamed: list[str] = []
    again = f"{folder} is not complete; write it again with --overwrite."
    with telling_what_is_kept(lambda: again), record, _writing(folder), ExitStack() as stack:
        places = {
            name: Place(folder, name, lambda file: record.add({"files": [file]})) for name in chosen
        }
        writers = {
            name: stack.enter_context(form(places[name], settings)) for name, form in chosen.items()
        }
        numbered = list(enumerate(found.photos, start=1))
        for number, result in track(numbered, "Converting", enabled=progress):
            try:
                labels = result.read(len(found.names))
                prepared = _prepared(result, labels.shape, chosen, forms)
            except BadImageError as error:
                failures[result.photo] = str(error)
                continue
            item = Labelled(number, result.name, labels, settings)
            for name, writer in writers.items():
                file = f"{writer.photos_in}{prepared[name].named(item.name)}"
                _write_photo(places[name], file, prepared[name], forms[name])
                writer.add(item, prepared[name])
            if "none" in forms.values() and not _is_below(result.photo, result.name):
                renamed.append(result.photo)
        for writer in writers.values():
            writer.finish()
    folders = {name: folder / name for name in chosen}
    total = len(found.photos) + len(found.failures)
    return ConvertReport(total, failures, folders, _notes(renamed))


def _photos_form(form: type[Format], asked: PhotosForm) -> str:
    """What becomes of the photos in a format."""
    return form.photos if asked == "auto" or form.photos == "embed" else asked


def _prepared(
    result: MaskResult,
    size: tuple[int, ...],
    chosen: Mapping[str, type[Format]],
    forms: Mapping[str, str],
) -> dict[str, PhotoFile]:
    """The file of a photo for each format; it is read once for all that want it alike."""
    height, width = size
    read: dict[bool, PhotoFile] = {}
    prepared = {}
    for name, form in chosen.items():
        if forms[name] == "none":
            prepared[name] = name_only(result.photo)
            continue
        if form.only_jpeg not in read:
            read[form.only_jpeg] = photo_file(
                result.photo, (height, width), only_jpeg=form.only_jpeg
            )
        prepared[name] = read[form.only_jpeg]
    return prepared


def _write_photo(place: Place, name: str, photo: PhotoFile, photos: str) -> None:
    if photos == "link" and photo.source is not None:
        place.link(name, photo.source)
    elif photos in ("copy", "link") and photo.data is not None:
        place.write(name, photo.data)


def _is_below(path: str, name: str) -> bool:
    """Whether a photo is found by its name below the folder of all photos."""
    own = path.replace(os.sep, "/").replace("::", "/")
    return f"/{own}".endswith(f"/{name}{Path(path).suffix}")


def _notes(renamed: Sequence[str]) -> tuple[str, ...]:
    if not renamed:
        return ()
    shown = ", ".join(renamed[:_SHOWN]) + (", ..." if len(renamed) > _SHOWN else "")
    return (
        f"{len(renamed):,} photos have other names in the files than on the disk: {shown}. With "
        "--photos copy the formats hold photos of these names.",
    )


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn what the system says while files are written into one line for the user."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"Cannot write to {folder}: {error.strerror or error}. Mend the cause and write the "
            "formats again with --overwrite."
        ) from error
