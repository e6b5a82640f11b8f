"""A demonstration of the whole method: index, learn, segment, and write an HTML report."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from recoseg.archive.index import ArchiveIndex
from recoseg.classes import ClassNames
from recoseg.concepts import ConceptBank
from recoseg.config import NO_REGIONS
from recoseg.drawing.pages import thumbnail_uri, write_page
from recoseg.drawing.retrieval_sheet import sheet_cells
from recoseg.encoders.bundle import Encoders, load_encoders
from recoseg.errors import ArchiveError, MissingExtraError, OutputError
from recoseg.learning.figure_folder import FigureWriter
from recoseg.learning.one_class import LearnedClass
from recoseg.pipeline.classes import as_classes
from recoseg.pipeline.index import build_index
from recoseg.pipeline.learn import learn
from recoseg.pipeline.segment import open_segmenter, segment
from recoseg.retrieval.duplicates import Hit
from recoseg.segmentation.result import Result
from recoseg.storage.claim import format_in

# Photos among the example data of these packages; drawings, scans and textures are left out.
# docs/index.md states their terms.
_PHOTOS = (
    ("scikit-image", "skimage/data", "astronaut.png"),
    ("scikit-image", "skimage/data", "camera.png"),
    ("scikit-image", "skimage/data", "chelsea.png"),
    ("scikit-image", "skimage/data", "coffee.png"),
    ("scikit-image", "skimage/data", "motorcycle_*.png"),
    ("scikit-image", "skimage/data", "rocket.jpg"),
    ("scikit-learn", "sklearn/datasets/images", "*.jpg"),
    ("foolbox", "foolbox/data", "imagenet_*.jpg"),
    ("matplotlib", "matplotlib/mpl-data/sample_data", "grace_hopper.jpg"),
)
_CLASSES = (
    "dog: bull mastiff; dalmatian; boxer; bloodhound",
    "bird: goose; bald eagle; spoonbill",
    "car: car; jeep",
    "motorcycle: motorcycle; moped",
    "building: building; cottage; palace",
    "insect: insect; beetle",
    # The models of `lite` know clothes, not people.
    "person: suit; uniform; woman",
)
# The earlier maps of `lite`'s network and references from regions need dozens of photos per class:
# what two photos have in common may be the lawn. The last map, and seeds alone, do with two.
_PHI = "lite"
# Cells of 16 px in a photo of this short side are small beside the objects.
_SHORT_SIDE = 448
# On the scale of `lite`, whose scores are a sum of cosines. Well-recognised objects reach 0.5 to
# 1.2 in their best pixel. What looks a little like a class reaches 0.45: such a class is left out
# of the photo, so that photos without any of the classes stay clean.
_THRESHOLD = 0.4
_PRESENCE = 0.5
# In smaller archives, the photos retrieved for sky or road are likely to show the classes too.
_LEAST_FOR_CONTEXT = 500
_SHOWN = 24
_HEIGHT = 420


@dataclass(frozen=True)
class _Part:
    """A class in the report."""

    name: str
    note: str
    figure: str
    cells: Sequence[object]


@dataclass(frozen=True)
class _Shown:
    """A segmented photo in the report; `share` is the fraction of it that has a class."""

    path: str
    name: str
    overlay: str
    share: float


def package_photos() -> list[Path]:
    """The photos that are included in the packages of the extra `demo`.

    Raises:
        MissingExtraError: One of the packages is not installed.
    """
    found: list[Path] = []
    for package, folder, pattern in _PHOTOS:
        try:
            distribution = importlib.metadata.distribution(package)
        except importlib.metadata.PackageNotFoundError as error:
            raise MissingExtraError(package, "demo", "The demo without --photos") from error
        found += sorted(Path(str(distribution.locate_file(folder))).glob(pattern))
    return found


def run_demo(
    out: Path,
    *,
    photos: Sequence[str] = (),
    classes: Sequence[str] = (),
    device: str = "auto",
    precision: str = "auto",
) -> Path:
    """Index photos, learn a few classes with `lite`, segment the photos, and write a report.

    Args:
        out: Folder for all outputs; an index that exists in it is continued, and what an earlier
            demonstration has written is replaced.
        photos: Sources of photos. By default those of `package_photos`.
        classes: Classes, as `parse_class` reads them. By default, seven that fit the photos.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `auto`, `fp32`, `bf16` or `fp16`.

    Returns:
        The path of the report, a self-contained HTML file.

    Raises:
        MissingExtraError: No photos are given and the extra `demo` is not installed.
        ArchiveError: The sources contain no usable photo.
        OutputError: `out` holds the output of another command.
    """
    other = format_in(out)
    if other is not None:
        raise OutputError(
            f"{out} holds the output of another command of recoseg ({other!r}). Nothing was "
            "changed; write to another folder."
        )
    wanted = as_classes(classes or _CLASSES)
    sources = list(photos) or [str(path) for path in package_photos()]
    encoders = load_encoders("lite", phi=_PHI, device=device, precision=precision)
    index = build_index(
        sources,
        out / "index",
        retrieval=encoders.retrieval,
        device=device,
        precision=precision,
        progress=None,
    )
    if not len(index):
        raise ArchiveError(f"None of the photos in {', '.join(sources)} can be used.")
    bank, parts = _learn(index, wanted, encoders, out)
    results = _segment(sources, bank, encoders, out)
    summary = (
        f"{len(index):,} photos indexed without labels; {len(bank.classes)} classes learnt from "
        "their names alone, from the patches that the retrieved photos have in common; superpixels "
        f"vote. Photos at a short side of {_SHORT_SIDE} px, phi {_PHI}, threshold {_THRESHOLD}, "
        f"presence {_PRESENCE}. With thousands of photos, learn with the defaults instead: they "
        "take regions in place of patches, and earlier maps of the network as phi. The models of "
        "the preset lite are meant for trying out the method; the presets paper and paper-light "
        "have the published models."
    )
    return write_page(
        out / "report.html",
        "report.html.jinja",
        title="recoseg",
        summary=summary,
        classes=parts,
        results=results,
        failures=index.failures(),
        height=160,
    )


def photos_per_class(photos: int) -> int:
    """Number of photos to retrieve per class from an archive of this size: 2 to 50.

    Example:
        >>> photos_per_class(30), photos_per_class(500), photos_per_class(100_000)
        (2, 10, 50)
    """
    return min(50, max(2, photos // 50), photos)


def _learn(
    index: ArchiveIndex, wanted: Sequence[ClassNames], encoders: Encoders, out: Path
) -> tuple[ConceptBank, list[_Part]]:
    learned: list[LearnedClass] = []
    figures = FigureWriter(index, out / "figures", overwrite=True)

    def keep(item: LearnedClass) -> None:
        figures(item)
        learned.append(item)

    with figures:
        bank = learn(
            index,
            wanted,
            out=out / "bank.safetensors",
            overwrite=True,
            encoders=encoders,
            k=photos_per_class(len(index)),
            regions=NO_REGIONS,
            context=None if len(index) >= _LEAST_FOR_CONTEXT else (),
            callback=keep,
            progress=None,
        )
    parts = []
    for item in sorted(learned, key=lambda item: item.concept.role):
        concept = item.concept
        hits = [
            Hit(position, photo.score)
            for position, photo in zip(item.positions, concept.retrieved, strict=True)
        ]
        with Image.open(figures.path(concept)) as figure:
            uri = thumbnail_uri(figure, figure.height)
        note = f"{concept.role}, {len(hits)} photos retrieved, best first"
        parts.append(_Part(concept.name, note, uri, sheet_cells(hits, index, 160)))
    return bank, parts


def _segment(
    sources: Sequence[str], bank: ConceptBank, encoders: Encoders, out: Path
) -> list[_Shown]:
    segmenter = open_segmenter(
        bank,
        encoders=encoders,
        resize=_SHORT_SIDE,
        threshold=_THRESHOLD,
        presence=_PRESENCE,
        background=["context"] if bank.context else [],
    )
    shown: list[_Shown] = []

    def keep(name: str, result: Result) -> None:
        if result.failure:
            return
        share = sum(result.areas().values())
        if len(shown) == _SHOWN and share <= shown[-1].share:
            return
        overlay = thumbnail_uri(result.overlay(), _HEIGHT)
        shown.append(_Shown(result.photo.path, name, overlay, share))
        shown.sort(key=lambda one: -one.share)
        del shown[_SHOWN:]

    segment(segmenter, sources, out / "masks", overwrite=True, callback=keep, progress=None)
    return shown
