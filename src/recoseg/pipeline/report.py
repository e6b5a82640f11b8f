"""A page of all masks in a folder (`recoseg segment --report`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from recoseg.classes import read_classes
from recoseg.drawing.gallery import Gallery, GalleryPhoto, legend_of
from recoseg.drawing.palette import palette_of
from recoseg.drawing.photo_pair import shares_of, shrunk, with_masks
from recoseg.drawing.report import LONG_SIDE, PAGE, Report
from recoseg.errors import BadImageError
from recoseg.evaluation.markdown import settings_rows
from recoseg.labels import Segmentation
from recoseg.photos.refs import natural_key
from recoseg.pipeline.mask_folder import REPORT
from recoseg.pipeline.mask_results import MaskResult, small_photo
from recoseg.progress import StageProgress
from recoseg.storage.counts import count_of
from recoseg.storage.paths import inside
from recoseg.storage.run_record import SETTINGS
from recoseg.storage.settings import stored_settings
from recoseg.writers.folder import CLASSES, read_segmentations


def report_masks(masks: Path, *, progress: bool | None = False) -> Path:
    """Write a report of the masks that `recoseg segment` has written into a folder.

    Photos are read again. Of an earlier report, pictures that still hold are kept.

    Args:
        masks: The folder.
        progress: See `StageProgress`.

    Returns:
        The page, `report/index.html` in the folder.

    Raises:
        OutputError: The folder `report` holds files of others, or cannot be written to.
    """
    with Report(masks / REPORT) as report:
        gallery, failures = mask_gallery(report, masks, progress=progress)
        report.gallery(gallery)
        return report.page(
            PAGE,
            "masks.html.jinja",
            title=f"Masks of {count_of(len(gallery.photos), 'photos')}",
            gallery=gallery,
            failures=failures,
            settings=_settings(masks),
        )


def mask_gallery(
    report: Report, masks: Path, *, progress: bool | None = False
) -> tuple[Gallery, dict[str, str]]:
    """All photos of a folder of masks with their masks.

    Args:
        report: Gets their pictures; it must have been entered.
        masks: A folder that `recoseg segment` has written.
        progress: See `StageProgress`.

    Returns:
        The gallery, whose rows are not written yet, and why photos are missing, by their paths.
    """
    lines, failures = _lines(masks)
    names = tuple(words.name for words in read_classes(masks / CLASSES))
    photos = []
    with StageProgress("Drawing the report", len(lines), enabled=progress) as bar:
        for line in lines:
            try:
                photos.append(_photo(report, masks, line, names))
            except BadImageError as error:
                failures[str(line["path"])] = str(error)
            bar.advance()
    legend = legend_of(names, palette_of(names), photos)
    return Gallery("photos", ("photo", "masks"), True, legend, photos, "confidence"), failures


def _lines(masks: Path) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The lines of segmented photos in the order of their names, and the reasons of the others."""
    found, failures = [], {}
    for line in read_segmentations(masks):
        if line is None:
            failures[str(masks)] = "a line of segmentations.jsonl is damaged"
        elif "error" in line:
            failures[str(line.get("path"))] = str(line["error"])
        else:
            found.append(line)
    return sorted(found, key=lambda line: natural_key(line["name"])), failures


def _photo(
    report: Report, masks: Path, line: Mapping[str, Any], names: tuple[str, ...]
) -> GalleryPhoto:
    files, sums = line["files"], line.get("checksums", {})
    item = MaskResult(
        line["name"], line["path"], inside(masks, files["labels"]), sums.get("labels")
    )
    found = Segmentation(item.read(len(names)), names, palette_of(names))
    drawn: list[tuple[Image.Image, Segmentation]] = []

    def small() -> tuple[Image.Image, Segmentation]:
        if not drawn:
            drawn.append(shrunk(small_photo([item], found), found, LONG_SIDE))
        return drawn[0]

    content = [line["path"], line["stamp"], sums.get("labels")]
    pictures = (
        report.picture(["photo", *content], lambda: small()[0]),
        report.picture(["masks", *content, names], lambda: with_masks(*small())),
    )
    height, width = found.labels.shape
    return GalleryPhoto(
        line["name"],
        pictures,
        (width, height),
        shares_of(found),
        _certainty(line),
        f"../{files['overlays']}" if "overlays" in files else "",
    )


def _certainty(line: Mapping[str, Any]) -> float | None:
    """The mean confidence of the classes of a photo, weighted by their areas; None if unknown."""
    confidence, areas = line.get("confidence", {}), line["areas"]
    total = sum(areas[name] for name in confidence)
    if not total:
        return None
    return float(sum(confidence[name] * areas[name] for name in confidence) / total)


def _settings(masks: Path) -> list[tuple[str, str]]:
    """What decided the masks, as `settings.json` has it, in rows of names and values."""
    return settings_rows(stored_settings(masks / SETTINGS))
