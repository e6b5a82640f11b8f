"""Pseudo-labels: the label maps of a segmenter as a training set (paper, section 3.4).

The folder of a run:

| file | what |
|---|---|
| `labels/NAME.png` | the masks to train on: palette PNG, 255 is ignored; background is a class |
| `teacher/labels/NAME.png` | the label maps of the segmenter, before ignoring |
| `teacher/confidence/NAME.png` | 8 bits; value / 255 is the confidence in the pixel's label |
| `teacher/segmentations.jsonl`, `teacher/settings.json` | as written by `recoseg segment` |
| `pseudo_labels.json` | classes, palette, settings, balance, photos and their masks, failures |
| `balance.txt`, `classes.txt` | the balance as a table; the classes, one per line |
| `settings.json`, `files.jsonl` | what marks the folder, and the files that a later run replaces |

The expensive step writes the folder `teacher`, and can be resumed. Which pixels are ignored is
decided afterwards from its files, so other limits on the same folder take seconds. The masks to
train on and `pseudo_labels.json` are removed before the teacher's files change, and written last:
where `pseudo_labels.json` is, all belongs together.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recoseg.classes import class_list
from recoseg.errors import FileError, RecosegError
from recoseg.labels import IGNORE_INDEX, Colour, Segmentation
from recoseg.photos.filesystems import is_url
from recoseg.photos.refs import Photo
from recoseg.progress import track
from recoseg.segmentation.segmenter import Segmenter
from recoseg.segmentation.to_folder import segment_to_folder
from recoseg.segmentation.verify import check_labels, read_map
from recoseg.storage.atomic import write_bytes
from recoseg.storage.checksums import checksum
from recoseg.storage.claim import claim
from recoseg.storage.fields import read_fields
from recoseg.storage.locks import lock_folder
from recoseg.storage.paths import inside
from recoseg.storage.reading import MAX_TEXT
from recoseg.storage.run_record import RunRecord
from recoseg.storage.sealed import read_sealed, sealed
from recoseg.training.background_class import with_background_class
from recoseg.training.balance import ClassBalance, balance_table, class_balance
from recoseg.training.confidence import (
    LEVELS,
    Ignoring,
    confidence_maps,
    ignore_below,
    level_histogram,
)
from recoseg.writers.folder import FORMAT as MASKS
from recoseg.writers.folder import LINES, OutputFolder, read_segmentations
from recoseg.writers.formats import encode_label_map
from recoseg.writers.formats import overlays as overlays_of
from recoseg.writers.protocol import Writer

FORMAT = "recoseg-pseudo-labels-1"
MANIFEST = "pseudo_labels.json"
FILES = "files.jsonl"
TEACHER = "teacher"
WHAT = "pseudo-labels"


@dataclass(frozen=True)
class PseudoLabelled:
    """A photo with its mask.

    Attributes:
        path: Path of the photo.
        labels: Path of the mask to train on, relative to the folder.
        confidence: Path of the confidence map, relative to the folder; None if there is none.
        checksums: The checksum of each of these files, by kind; empty where none was recorded.
        relative: Path of a local photo relative to the folder, by which it is found where both
            have moved; empty if there is none.
    """

    path: str
    labels: str
    confidence: str | None = None
    checksums: Mapping[str, str] = field(default_factory=dict)
    relative: str = ""


@dataclass(frozen=True)
class PseudoLabels:
    """The contents of a finished folder.

    Attributes:
        names: The class of each label.
        palette: RGB of each class.
        photos: Photos and masks.
        balance: Pixels per class.
        background: Number of pixels without a class, before ignoring.
        failures: The reason for each photo that is left out.
        provenance: What the label maps were made with: bank or model, settings, and which pixels
            are ignored; as JSON fields.
        background_label: The label of the class that stands for background; None if there is none.
    """

    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    photos: tuple[PseudoLabelled, ...]
    balance: tuple[ClassBalance, ...]
    background: int
    failures: Mapping[str, str]
    provenance: Mapping[str, Any]
    background_label: int | None = None

    @classmethod
    def read(cls, folder: str | Path) -> PseudoLabels:
        """Read the manifest of a folder.

        Raises:
            RecosegError: The manifest is missing or damaged.
        """
        path = Path(folder) / MANIFEST
        try:
            fields, _ = read_sealed(path, MAX_TEXT)
            if fields.get("format") != FORMAT:
                raise RecosegError(f"expected the format {FORMAT}, got {fields.get('format')!r}")
            found = read_fields(cls, {key: fields[key] for key in fields if key != "format"})
            label = found.background_label
            if label is not None and not 0 <= label < len(found.names):
                raise RecosegError(f"expected a label of its classes for background, got {label}")
            for photo in found.photos:
                inside(Path(folder), photo.labels)
                if photo.confidence is not None:
                    inside(Path(folder), photo.confidence)
        except RecosegError as error:
            raise RecosegError(
                f"{path} is missing or damaged ({error}). Make pseudo-labels with "
                "`recoseg pseudo-label`."
            ) from error
        return found

    def write(self, folder: Path) -> None:
        """Write the manifest, the table and the list of classes."""
        for name, text in self.texts().items():
            write_bytes(folder / name, text.encode())
        write_bytes(folder / MANIFEST, sealed({"format": FORMAT} | asdict(self)))

    def texts(self) -> dict[str, str]:
        """The table and the list of classes, by the names of their files."""
        rest = "(background)" if self.background_label is None else "(undecided)"
        table = balance_table(self.balance, self.background, rest) + "\n"
        return {"balance.txt": table, "classes.txt": class_list(self.names)}


def pseudo_label(
    segmenter: Segmenter,
    photos: Sequence[Photo],
    folder: str | Path,
    *,
    ignoring: Ignoring | None = None,
    confidence: bool = False,
    ignore_background: bool = False,
    overlays: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool | None = False,
) -> PseudoLabels:
    """Make pseudo-labels of photos.

    Args:
        segmenter: Makes the label maps. It must keep its scores if there are confidence maps or
            pixels to ignore.
        photos: The photos, as they were listed; see `list_sources`.
        folder: Where to write; it is created if it does not exist.
        ignoring: Which pixels are ignored; by default none.
        confidence: Whether to keep confidence maps although no pixel is ignored.
        ignore_background: Whether background is ignored; otherwise it is a class of its own where
            the segmenter has a threshold or classes that become background.
        overlays: Whether to write overlays of the segmenter's label maps.
        resume: Keep what an earlier run with equal settings has finished.
        overwrite: Remove what an earlier run has written.
        progress: See `StageProgress`.

    Raises:
        RecosegError: There are more than 255 classes, a class is called `background` and is none,
            or there is no background to ignore.
        OutputError: The folder holds pseudo-labels that are neither continued nor replaced, or,
            with `resume`, label maps that were made with other settings.
    """
    ignoring, folder = ignoring or Ignoring(), Path(folder)
    segmenter = with_background_class(segmenter, ignore=ignore_background)
    if len(segmenter.names) > IGNORE_INDEX:
        raise RecosegError(
            f"Pseudo-labels have at most {IGNORE_INDEX} classes; got {len(segmenter.names)}."
        )
    settings: dict[str, Any] = {**segmenter.settings, "teacher": segmenter.fingerprint}
    writers: list[str | Writer] = ["labels"]
    if overlays:
        writers.append(overlays_of(segmenter.labeller.background_label))
    if confidence or not ignoring.idle:
        temperature = segmenter.labeller.temperature
        writers.append(confidence_maps(temperature))
        settings["confidence_temperature"] = temperature
    with ExitStack() as stack:
        stack.enter_context(lock_folder(folder))
        existing = check_free(folder, resume=resume, overwrite=overwrite)
        output = OutputFolder(
            folder / TEACHER,
            segmenter.names,
            segmenter.palette,
            writers=writers,
            settings=settings,
            resume=existing and resume,
            overwrite=existing and overwrite,
        )
        # The masks to train on are always written anew.
        owned = [MANIFEST, "balance.txt", "classes.txt", "labels/**/*.png"]
        masks = RunRecord(folder, FILES, FORMAT, {}, what=WHAT, overwrite=existing, owned=owned)
        # A run that is continued is checked first, which needs the teacher's settings.
        order = (output, masks) if existing and resume else (masks, output)
        teaching = stack.enter_context(ExitStack())
        for part in order:
            (teaching if part is output else stack).enter_context(part)
        segment_to_folder(segmenter, photos, output, progress=progress)
        teaching.close()
        place = {photo.path: number for number, photo in enumerate(photos)}
        lines = [line for line in read_segmentations(folder / TEACHER) if line is not None]
        lines = [line for line in lines if line["path"] in place]
        lines.sort(key=lambda line: place[line["path"]])  # whatever was finished earlier
        with masks.writing():
            found = _finish(folder, masks, segmenter, lines, ignoring, settings, progress)
            found.write(folder)
    return found


def check_free(folder: Path, *, resume: bool = False, overwrite: bool = False) -> bool:
    """Whether a folder holds earlier pseudo-labels, which may be continued or replaced.

    Raises:
        OutputError: It holds pseudo-labels and neither is asked for, or files of others.
    """
    names = ["labels", FILES, "balance.txt", "classes.txt", "settings.json", MANIFEST, TEACHER]
    existing = claim(folder, FORMAT, names, what=WHAT, resume=resume, overwrite=overwrite)
    if existing:
        claim(
            folder / TEACHER,
            MASKS,
            ["labels", "settings.json", LINES],
            what=WHAT,
            resume=resume,
            overwrite=overwrite,
        )
    return existing


def _finish(
    folder: Path,
    masks: RunRecord,
    segmenter: Segmenter,
    lines: Sequence[Mapping[str, Any]],
    ignoring: Ignoring,
    settings: Mapping[str, Any],
    progress: bool | None,
) -> PseudoLabels:
    """Count the pixels of the teacher's label maps, then write the masks to train on."""
    names, palette, labeller = segmenter.names, segmenter.palette, segmenter.labeller
    done = [line for line in lines if "files" in line]
    masks.add({"files": [MANIFEST, "balance.txt", "classes.txt"]})
    for line in done:
        masks.add({"files": [line["files"]["labels"]]})
    histogram = np.zeros((len(names), LEVELS), np.int64)
    seen, background = np.zeros(len(names), np.int64), 0

    def count(line: Mapping[str, Any]) -> tuple[np.ndarray, int]:
        labels, levels = _read(folder / TEACHER, line, len(names))
        counts = level_histogram(labels, levels, len(names))
        return counts, labels.size - int(counts.sum())

    with ThreadPoolExecutor() as pool:  # (un)packing PNGs frees the interpreter's lock
        counted = pool.map(count, done)
        for counts, without in track(counted, "Counting", total=len(done), enabled=progress):
            histogram += counts
            seen += counts.any(1)
            background += without
    least = ignoring.levels(histogram)
    kept = np.where(np.arange(LEVELS) >= least[:, None], histogram, 0).sum(1)

    def write(line: Mapping[str, Any]) -> PseudoLabelled:
        labels, levels = _read(folder / TEACHER, line, len(names))
        mask = ignore_below(labels, levels, least)
        data = encode_label_map(Segmentation(mask, names, palette))
        write_bytes(inside(folder, line["files"]["labels"]), data)
        sums = {"labels": checksum(data)}
        confidence = None
        if "confidence" in line["files"]:
            confidence = f"{TEACHER}/{line['files']['confidence']}"
            sums["confidence"] = line["checksums"]["confidence"]
        relative = _relative(line["path"], folder)
        return PseudoLabelled(line["path"], line["files"]["labels"], confidence, sums, relative)

    with ThreadPoolExecutor() as pool:
        written = track(pool.map(write, done), "Ignoring", total=len(done), enabled=progress)
        photos = tuple(written)
    return PseudoLabels(
        names,
        palette,
        photos,
        class_balance(names, seen, histogram.sum(1), kept, least),
        background,
        {line["path"]: line["error"] for line in lines if "error" in line},
        json.loads(json.dumps({**settings, "ignoring": asdict(ignoring)})),
        labeller.background_label if labeller.background_class else None,
    )


def _relative(path: str, folder: Path) -> str:
    """The path of a local photo relative to a folder; empty if there is none."""
    if is_url(path):
        return ""
    try:
        return Path(os.path.relpath(path, folder.resolve())).as_posix()
    except ValueError:  # another drive
        return ""


def _read(folder: Path, line: Mapping[str, Any], classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and confidence levels of a photo; full confidence if there is no map.

    Raises:
        FileError: A file is damaged.
    """
    labels = read_map(folder, line["files"]["labels"], line["checksums"]["labels"])
    check_labels(labels, classes, folder / line["files"]["labels"])
    if "confidence" not in line["files"]:
        return labels, np.full(labels.shape, LEVELS - 1, np.uint8)
    levels = read_map(folder, line["files"]["confidence"], line["checksums"]["confidence"])
    if levels.shape != labels.shape:
        raise FileError(
            f"{folder / line['files']['confidence']} is damaged: it has the shape {levels.shape}, "
            f"its label map {labels.shape}."
        )
    return labels, levels
