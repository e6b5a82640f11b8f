"""Finding the photos of an archive that are unfit to learn from (`recoseg curate`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from recoseg.archive.index import ArchiveIndex
from recoseg.archive.selection import Selection
from recoseg.curation.archive_verdicts import copy_verdicts, text_margins, text_verdicts
from recoseg.curation.checks import UNWANTED, chosen_checks, limits_of
from recoseg.curation.conditions import parse_conditions
from recoseg.curation.detectors import FACES, check_detectors
from recoseg.curation.measuring import measure_photos
from recoseg.curation.metadata_verdicts import metadata_of, metadata_verdicts, value_counts
from recoseg.curation.pixel_measures import PIXEL_CHECKS, PIXELS, pixel_verdicts
from recoseg.curation.results import FILES, Decision, write_results
from recoseg.curation.text_margins import PEOPLE
from recoseg.curation.verdicts import first_reasons
from recoseg.encoders.defaults import curation_limits, default_prompts
from recoseg.encoders.protocols import ImageTextEncoder
from recoseg.errors import ArchiveError, OptionError
from recoseg.photos.exclusion import Exclusion, relative_path
from recoseg.photos.refs import Photo
from recoseg.pipeline.checks import check_output_folder
from recoseg.pipeline.classes import Classes, as_classes
from recoseg.pipeline.index import open_index
from recoseg.pipeline.retrieve import retrieval_encoder
from recoseg.progress import telling_what_is_kept
from recoseg.storage.atomic import write_bytes
from recoseg.storage.claim import claim
from recoseg.storage.locks import lock_folder
from recoseg.storage.sealed import sealed

FORMAT = "recoseg-curation-1"
SETTINGS = "settings.json"


@dataclass(frozen=True)
class Curation:
    """What a curation has found.

    Attributes:
        selection: The selection, which is also in the folder.
        folder: The folder with the selection, the sheets and the list of findings.
        photos: Number of photos that were judged.
        reasons: Number of photos that are left out by this run, by reason.
        limits: The limit of each check that was made.
        values: The most frequent values of each column that a condition names, with the number of
            photos that have them.
        failures: Photos whose pixels could not be measured, with the reason. They stay.
    """

    selection: Selection
    folder: Path
    photos: int
    reasons: Mapping[str, int]
    limits: Mapping[str, float]
    values: Mapping[str, Sequence[tuple[str, int]]] = field(default_factory=dict)
    failures: tuple[Photo, ...] = ()


def curate(
    index: ArchiveIndex | str | Path,
    out: str | Path,
    *,
    checks: Sequence[str] | None = None,
    unwanted: Classes | None = None,
    limits: Mapping[str, float] | None = None,
    only: str | Sequence[str] = (),
    without: str | Sequence[str] = (),
    table: str | Path | None = None,
    keep: str | Sequence[str] = (),
    detector: bool = False,
    retrieval: str | ImageTextEncoder | None = None,
    prompts: str | None = None,
    shown: int = 100,
    threads: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    progress: bool | None = False,
) -> Curation:
    """Find photos that are unfit to learn from, and write a selection that leaves them out.

    Nothing is deleted, and the index is not changed: the selection is given to `open_index`. The
    folder can be written to again with other limits; pixels are measured once only.

    Args:
        index: The index, or its path or URL. Photos that its selection leaves out are not judged,
            and the new selection leaves them out, too.
        out: Local folder for the selection, the sheets and the measures.
        checks: Names of `CHECKS`, or `all` or `none`. By default all but `people`.
        unwanted: Classes whose photos are left out: lines such as `weapon: gun; rifle; -tool`, or a
            file of such lines.
        limits: Other limits than the default ones, by name of the check or `unwanted`.
        only: Conditions on metadata, such as `licence=CC0, CC BY*`: photos that do not meet all of
            them are left out, also where the value is absent.
        without: Conditions on metadata, such as `punsafe>0.5`: photos that meet one are left out.
        table: A table of metadata, parquet or CSV, with a row per photo. By default the index's
            own tables, which have such columns if another program wrote them.
        keep: Patterns of the paths of photos that stay, whatever was found; see `Exclusion`.
        detector: Whether OpenCV's detector of frontal faces also judges photos for the check
            `people` (needs the extra `people`).
        retrieval: The encoder that made the index. By default the one recorded in the index.
        prompts: Prompt set. By default that of the encoder; see `prompt_set`.
        shown: Maximum number of photos per section of a contact sheet.
        threads: Threads that read and measure photos. By default one per processor, at most 16.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        progress: See `StageProgress`.

    Raises:
        ArchiveError: The index was not found, holds no photo, or has a damaged table.
        OptionError: There is no such check, limit or column, or a condition cannot be read.
        EncoderMismatchError: The encoder did not make the index.
        OutputError: The folder holds something else, or cannot be written to.
    """
    names = chosen_checks(checks)
    words = [] if unwanted is None else as_classes(unwanted)
    asked = dict(limits or {})
    limits_of(asked, {})  # wrong ones are refused before anything is done
    unused = [name for name in asked if name not in (*names, *([UNWANTED] if words else []))]
    if unused:
        way = "--unwanted WORDS" if unused[0] == UNWANTED else f"--checks with {unused[0]}"
        raise OptionError(
            f"The limit of {unused[0]} has no effect, because {unused[0]} is not checked. Leave "
            f"out the limit, or add the check by {way}."
        )
    needed, refused, spare = parse_conditions(only), parse_conditions(without), Exclusion.of(keep)
    if detector and "people" not in names:
        raise OptionError("The detector only looks for people: add people to --checks.")
    if detector:
        check_detectors()
    folder = check_output_folder(out)
    archive = index if isinstance(index, ArchiveIndex) else open_index(index)
    with lock_folder(folder), telling_what_is_kept(partial(_kept, folder)):
        entries = [SETTINGS, PIXELS.name, FACES.name, *FILES]
        claim(folder, FORMAT, entries, what="curation", resume=True)
        photos = dict(archive.entries())
        if not photos:
            raise ArchiveError(
                f"{archive.location} has no photo to check: it is empty, or --selection leaves out "
                "all. Index photos with `recoseg index`."
            )
        encoder = None
        if words or "people" in names:
            encoder = retrieval_encoder(archive, retrieval, device, precision)
        info = archive.info if encoder is None else encoder.info
        used = limits_of(asked, curation_limits(info) if info else {})
        values = metadata_of(archive, [*needed, *refused], None if table is None else Path(table))
        settings = {
            "format": FORMAT,
            "index": archive.location,
            "content": archive.content,
            "encoder": info.to_json() if info else None,
            "checks": names,
            "detector": detector,
            "limits": used,
            "unwanted": [str(item) for item in words],
            "only": [str(condition) for condition in needed],
            "without": [str(condition) for condition in refused],
            "keep": list(spare.patterns),
        }
        write_bytes(folder / SETTINGS, sealed(settings))
        # What takes long is kept in the folder.
        measure = partial(
            measure_photos, photos.items(), len(archive), folder, threads=threads, progress=progress
        )
        pixels = measure(PIXELS) if {*names} & {*PIXEL_CHECKS, "duplicates"} else None
        detected = measure(FACES) if detector else None
        verdicts = metadata_verdicts(values, needed, refused)
        verdicts += [] if pixels is None else pixel_verdicts(pixels, names, used)
        if encoder is not None:
            classes = [*([PEOPLE] if "people" in names else []), *words]
            used_prompts = prompts or default_prompts(encoder.info)
            margins = text_margins(archive, encoder, classes, used_prompts)
            verdicts += text_verdicts(classes, margins, used, detected)
        spared = _spared(photos, len(archive), spare)
        verdicts = [verdict.sparing(spared) for verdict in verdicts]
        if "duplicates" in names:
            stays = first_reasons(verdicts, len(archive)) < 0
            verdicts += copy_verdicts(
                archive, photos, stays, spared, pixels, used["duplicates"], progress
            )
        decision = Decision.of(verdicts, photos, len(archive))
        selection = archive.selection.left_out_with(decision.left_out())
        write_results(folder, archive, selection, decision, shown)
    unread = {photo.path: photo for one in (pixels, detected) if one for photo in one.failures}
    return Curation(
        selection=selection,
        folder=folder,
        photos=len(photos),
        reasons=decision.reasons(),
        limits={name: used[name] for name in (*names, *([UNWANTED] if words else []))},
        values={name: value_counts([values[name][at] for at in photos]) for name in values},
        failures=tuple(unread.values()),
    )


def _kept(folder: Path) -> str:
    return f"{folder} keeps what was measured; run the same command again to go on."


def _spared(photos: Mapping[int, Photo], count: int, keep: Exclusion) -> np.ndarray:
    """The photos that stay whatever was found, (n,) bool."""
    spared = np.zeros(count, bool)
    spared[
        [at for at, photo in photos.items() if keep.leaves_out(relative_path(photo.path, ""))]
    ] = True
    return spared
