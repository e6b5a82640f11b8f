"""Two runs on the same photos without labels: how far their masks agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recoseg.comparison.agreement import (
    PhotoAgreement,
    agreement_counts,
    agreement_of,
    common_labels,
    common_names,
)
from recoseg.comparison.comparison import Comparison
from recoseg.comparison.settings import Change, changes
from recoseg.drawing.gallery import Gallery, GalleryPhoto, legend_of
from recoseg.drawing.palette import palette_of
from recoseg.drawing.photo_pair import shares_of, shrunk, with_masks
from recoseg.drawing.report import LONG_SIDE, Report
from recoseg.errors import BadImageError, DatasetError
from recoseg.labels import Segmentation, ignore_index, label_dtype
from recoseg.photos.refs import composed
from recoseg.pipeline.mask_results import MaskResult, MaskResults, open_maps, small_photo
from recoseg.progress import track
from recoseg.storage.run_record import SETTINGS
from recoseg.storage.settings import stored_settings

_ORDER = "most changed first"


@dataclass(frozen=True)
class _Pair:
    """The label maps of a photo in both runs."""

    name: str
    one: MaskResult
    other: MaskResult


@dataclass(frozen=True)
class _Both:
    """Both runs, their photos, and the classes that they have together."""

    runs: tuple[MaskResults, MaskResults]
    pairs: Sequence[_Pair]
    names: tuple[str, ...]

    def maps(self, pair: _Pair) -> tuple[np.ndarray, np.ndarray]:
        """The label maps of a photo, as places among the classes of both; see `common_labels`."""
        found = []
        for run, item in zip(self.runs, (pair.one, pair.other), strict=True):
            table = common_labels(run.names, self.names)
            found.append(table[item.read(len(run.names))])
        return found[0], found[1]


def compare_masks(
    names: tuple[str, str],
    one: Path,
    other: Path,
    *,
    images: Path | None,
    report: Report | None,
    shown: int,
    progress: bool | None,
) -> tuple[Comparison, Gallery | None]:
    """Compare the masks of two runs with each other, where there is no truth.

    Args:
        names: What the two are called.
        one: Folder or file of masks; see `open_maps`.
        other: Another one.
        images: Folder of the photos, if the masks do not tell it.
        report: Gets the pictures of the photos that agree least; None for none.
        shown: Largest number of these.
        progress: See `StageProgress`.

    Returns:
        The comparison, and the photos that agree least.

    Raises:
        DatasetError: The two have no photo in common, or none that can be compared.
    """
    both = _opened(one, other, images)
    counts = np.zeros((len(both.names),) * 2, np.int64)
    photos: list[PhotoAgreement] = []
    failures: dict[str, str] = {}
    for pair in track(both.pairs, "Comparing", unit="photos", enabled=progress):
        try:
            found = agreement_counts(*both.maps(pair), len(both.names))
        except BadImageError as error:
            failures[pair.name] = str(error)
            continue
        counts += found
        photos.append(PhotoAgreement(pair.name, float(np.trace(found) / found.sum())))
    if not photos:
        first, reason = next(iter(failures.items()))
        raise DatasetError(
            f"None of the photos of {one} and {other} could be compared. The first, {first}: "
            f"{reason}."
        )
    agreement = agreement_of(counts, both.names, photos, failures)
    gallery = None
    if report is not None:
        least = [photo.name for photo in agreement.photos[:shown]]
        gallery = _gallery(report, names, both, least, {p.name: p.share for p in photos})
    return Comparison(names, settings=settings_of_runs(one, other), agreement=agreement), gallery


def settings_of_runs(one: Path, other: Path) -> tuple[Change, ...]:
    """What differs in `settings.json` of two runs; nothing unless both have one."""
    paths = [folder / SETTINGS for folder in (one, other)]
    if not all(path.is_file() for path in paths):
        return ()
    stored = [stored_settings(path) for path in paths]
    return changes(stored[0], stored[1])


def _opened(one: Path, other: Path, images: Path | None) -> _Both:
    runs = open_maps(one, images), open_maps(other, images)
    by_name = {composed(item.name): item for item in runs[1].photos}
    pairs = [
        _Pair(item.name, item, by_name[composed(item.name)])
        for item in runs[0].photos
        if composed(item.name) in by_name
    ]
    if not pairs:
        first = [run.photos[0].name for run in runs]
        raise DatasetError(
            f"{one} and {other} have no photo in common; the first are {first[0]} and {first[1]}. "
            "Expected masks of the same photos, with the same names."
        )
    return _Both(runs, pairs, common_names(runs[0].names, runs[1].names))


def _gallery(
    report: Report,
    names: tuple[str, str],
    both: _Both,
    chosen: Sequence[str],
    shares: dict[str, float],
) -> Gallery:
    pairs = {pair.name: pair for pair in both.pairs}
    photos = [_drawn(report, both, pairs[name], shares[name]) for name in chosen]
    classes = both.names[:-1]
    legend = legend_of(classes, palette_of(classes), photos)
    return Gallery("photos", ("photo", *names), False, legend, photos, "agreement", _ORDER)


def _drawn(report: Report, both: _Both, pair: _Pair, share: float) -> GalleryPhoto:
    classes = both.names[:-1]
    ignored = ignore_index(len(classes))
    kind = label_dtype(ignored)
    found = [
        Segmentation(
            np.where(m == len(classes), ignored, m).astype(kind), classes, palette_of(classes)
        )
        for m in both.maps(pair)
    ]
    photo = small_photo([pair.one, pair.other], found[0])
    small = [shrunk(photo, item, LONG_SIDE) for item in found]
    pictures = [small[0][0], *(with_masks(*item) for item in small)]
    return GalleryPhoto(
        pair.name, tuple(map(report.keep, pictures)), photo.size, shares_of(found[0]), share
    )
