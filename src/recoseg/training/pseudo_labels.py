"""Pseudo-labels: the label maps of a segmenter as a training set (paper, section 3.4).

The folder of a run:

| file | what |
|---|---|
| `labels/NAME.png` | the masks to train on: palette PNG, 255 is ignored |
| `teacher/labels/NAME.png` | the label maps of the segmenter, before ignoring |
| `teacher/confidence/NAME.png` | 8 bits; value / 255 is the confidence in the pixel's label |
| `teacher/segmentations.jsonl`, `teacher/settings.json` | as written by `recoseg segment` |
| `pseudo_labels.json` | classes, palette, settings, balance, photos and their masks, failures |
| `balance.txt`, `classes.txt` | the balance as a table; the classes, one per line |

The expensive step writes the folder `teacher`, and can be resumed. Which pixels are ignored is
decided afterwards from its files, so other limits on the same folder take seconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recoseg.datasets.masks import decode_values
from recoseg.errors import RecosegError
from recoseg.labels import IGNORE_INDEX, Colour, Segmentation
from recoseg.photos.refs import Photo
from recoseg.progress import track
from recoseg.segmentation.segmenter import Segmenter
from recoseg.segmentation.to_folder import segment_to_folder
from recoseg.storage.atomic import write_bytes
from recoseg.storage.fields import to_json
from recoseg.training.balance import ClassBalance, balance_table, class_balance
from recoseg.training.confidence import (
    LEVELS,
    Ignoring,
    confidence_maps,
    ignore_below,
    level_histogram,
)
from recoseg.writers.folder import OutputFolder
from recoseg.writers.formats import encode_label_map
from recoseg.writers.protocol import Writer

FORMAT = "recoseg-pseudo-labels-1"
MANIFEST = "pseudo_labels.json"


@dataclass(frozen=True)
class PseudoLabelled:
    """A photo with its mask.

    Attributes:
        path: Path of the photo.
        labels: Path of the mask to train on, relative to the folder.
        confidence: Path of the confidence map, relative to the folder; None if there is none.
    """

    path: str
    labels: str
    confidence: str | None = None


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
    """

    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    photos: tuple[PseudoLabelled, ...]
    balance: tuple[ClassBalance, ...]
    background: int
    failures: Mapping[str, str]
    provenance: Mapping[str, Any]

    @classmethod
    def read(cls, folder: str | Path) -> PseudoLabels:
        """Read the manifest of a folder.

        Raises:
            RecosegError: The manifest is missing or damaged.
        """
        path = Path(folder) / MANIFEST
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            if fields["format"] != FORMAT:
                raise ValueError(f"expected the format {FORMAT}, got {fields['format']}")
            return cls(
                tuple(fields["names"]),
                tuple((r, g, b) for r, g, b in fields["palette"]),
                tuple(PseudoLabelled(**photo) for photo in fields["photos"]),
                tuple(ClassBalance(**item) for item in fields["balance"]),
                fields["background"],
                fields["failures"],
                fields["provenance"],
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RecosegError(
                f"{path} is missing or damaged ({error}). Make pseudo-labels with "
                "`recoseg pseudo-label`."
            ) from error

    def write(self, folder: Path) -> None:
        """Write the manifest, the table and the list of classes."""
        table = balance_table(self.balance, self.background) + "\n"
        lines = "".join(f"{name}\n" for name in self.names)
        write_bytes(folder / "balance.txt", table.encode())
        write_bytes(folder / "classes.txt", lines.encode())
        write_bytes(folder / MANIFEST, to_json({"format": FORMAT} | asdict(self)))


def pseudo_label(
    segmenter: Segmenter,
    photos: Sequence[Photo],
    folder: str | Path,
    *,
    ignoring: Ignoring | None = None,
    confidence: bool = False,
    overlays: bool = False,
    resume: bool = False,
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
        overlays: Whether to write overlays of the segmenter's label maps.
        resume: Keep what an earlier run with equal settings has finished.
        progress: See `StageProgress`.

    Raises:
        RecosegError: There are more than 255 classes, or, with `resume`, the folder's label maps
            were made with other settings.
    """
    ignoring, folder = ignoring or Ignoring(), Path(folder)
    if len(segmenter.names) > IGNORE_INDEX:
        raise RecosegError(
            f"Pseudo-labels have at most {IGNORE_INDEX} classes; got {len(segmenter.names)}."
        )
    settings: dict[str, Any] = {**segmenter.settings, "teacher": segmenter.fingerprint}
    writers: list[str | Writer] = ["labels"]
    if overlays:
        writers.append("overlays")
    if confidence or not ignoring.idle:
        writers.append(confidence_maps(segmenter.temperature))
        settings["confidence_temperature"] = segmenter.temperature
    output = OutputFolder(
        folder / "teacher",
        segmenter.names,
        segmenter.palette,
        writers=writers,
        settings=settings,
        resume=resume,
    )
    with output:
        segment_to_folder(segmenter, photos, output, progress=progress)
    lines = [json.loads(line) for line in output.lines_path.read_text("utf-8").splitlines()]
    wanted = {photo.path for photo in photos}
    lines = [line for line in lines if line["path"] in wanted]
    found = _finish(folder, segmenter, lines, ignoring, settings, progress)
    found.write(folder)
    return found


def _finish(
    folder: Path,
    segmenter: Segmenter,
    lines: Sequence[Mapping[str, Any]],
    ignoring: Ignoring,
    settings: Mapping[str, Any],
    progress: bool | None,
) -> PseudoLabels:
    """Count the pixels of the teacher's label maps, then write the masks to train on."""
    names, palette = segmenter.names, segmenter.palette
    done = [line["files"] for line in lines if "files" in line]
    histogram = np.zeros((len(names), LEVELS), np.int64)
    seen, background = np.zeros(len(names), np.int64), 0

    def count(files: Mapping[str, str]) -> tuple[np.ndarray, int]:
        labels, levels = _read(folder / "teacher", files)
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

    def write(files: Mapping[str, str]) -> None:
        labels, levels = _read(folder / "teacher", files)
        mask = ignore_below(labels, levels, least)
        write_bytes(folder / files["labels"], encode_label_map(Segmentation(mask, names, palette)))

    with ThreadPoolExecutor() as pool:
        for _ in track(pool.map(write, done), "Ignoring", total=len(done), enabled=progress):
            pass
    return PseudoLabels(
        names,
        palette,
        tuple(
            PseudoLabelled(
                line["path"],
                line["files"]["labels"],
                f"teacher/{line['files']['confidence']}" if "confidence" in line["files"] else None,
            )
            for line in lines
            if "files" in line
        ),
        class_balance(names, seen, histogram.sum(1), kept, least),
        background,
        {line["path"]: line["error"] for line in lines if "error" in line},
        json.loads(json.dumps({**settings, "ignoring": asdict(ignoring)})),
    )


def _read(folder: Path, files: Mapping[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and confidence levels of a photo; full confidence if there is no map."""
    labels = decode_values((folder / files["labels"]).read_bytes()).astype(np.uint8)
    if "confidence" not in files:
        return labels, np.full(labels.shape, LEVELS - 1, np.uint8)
    return labels, decode_values((folder / files["confidence"]).read_bytes()).astype(np.uint8)
