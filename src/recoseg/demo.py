"""The main job from end to end, with one HTML report: index, learn, segment."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from recoseg.archive.build import build_index
from recoseg.archive.index import ArchiveIndex
from recoseg.classes import ClassNames, parse_classes
from recoseg.concepts import ConceptBank
from recoseg.device import Compute
from recoseg.drawing.overlay import draw_overlay
from recoseg.drawing.pages import thumbnail_uri, write_page
from recoseg.drawing.retrieval_sheet import sheet_cells
from recoseg.encoders.bundle import Encoders
from recoseg.encoders.encoder_table import build_phi, build_retrieval, build_saliency
from recoseg.encoders.presets import pair_settings, preset
from recoseg.errors import ArchiveError, MissingExtraError
from recoseg.learning.figure_folder import FigureWriter
from recoseg.learning.learner import Learnt, learn
from recoseg.photos.sources import list_sources
from recoseg.retrieval.duplicates import Hit
from recoseg.segmentation.bank_segmenter import Segmenter
from recoseg.segmentation.batches import Outcome
from recoseg.segmentation.to_folder import segment_photos
from recoseg.writers.folder import OutputFolder

# Photos among the example data of these packages; their drawings, scans and textures are not.
_PHOTOS = (
    ("scikit-image", "skimage/data", "astronaut.png"),
    ("scikit-image", "skimage/data", "chelsea.png"),
    ("scikit-image", "skimage/data", "coffee.png"),
    ("scikit-image", "skimage/data", "motorcycle_*.png"),
    ("scikit-image", "skimage/data", "rocket.jpg"),
    ("scikit-learn", "sklearn/datasets/images", "*.jpg"),
    ("foolbox", "foolbox/data", "imagenet_*.jpg"),
)
_CLASSES = (
    "dog: dog; mastiff; dalmatian",
    "bird: bird; goose; eagle",
    "car: car; jeep",
    "motorcycle: motorcycle; moped",
    "building: building; cottage; palace",
    "insect: insect; beetle",
)
# With the sum of cosines of `lite`: photos without any of the classes stay below 0.25 for nine
# pixels in ten; well-known objects reach 0.5 to 0.8, others fall short of it and are left out.
_THRESHOLD = 0.35
# In a smaller archive the best photos for sky or road are likely to show the classes themselves.
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
class _Result:
    """A segmented photo in the report; `share` is the part of it that some class takes."""

    path: str
    name: str
    overlay: str
    share: float


def package_photos() -> list[Path]:
    """The real photos that ship inside the packages of the extra `demo`.

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


def run_demo(out: Path, compute: Compute, *, photos: Sequence[str] = (), classes: str = "") -> Path:
    """Index photos, learn a handful of classes with `lite`, segment, and write a report.

    Args:
        out: Folder for all that is made; the index in it is continued where it exists.
        compute: Device and precision.
        photos: Sources of photos; none takes `package_photos`.
        classes: Comma-separated class names; none takes the demo's own.

    Returns:
        The report, one self-contained HTML file.

    Raises:
        MissingExtraError: No photos are given and the extra `demo` is missing.
        ArchiveError: The sources hold no usable photo.
    """
    sources = [str(source) for source in photos] or [str(path) for path in package_photos()]
    wanted = parse_classes([name for name in classes.split(",") if name.strip()] or _CLASSES)
    chosen = preset("lite")
    encoders = Encoders(
        build_retrieval(chosen.retrieval, compute),
        build_saliency(chosen.saliency, compute),
        build_phi(chosen.phi, compute),
    )
    build_index(
        sources,
        out / "index",
        encoders.retrieval,
        precision=compute.precision,
        preset="lite",
        progress=None,
    )
    index = ArchiveIndex.open(out / "index")
    if not len(index):
        raise ArchiveError(f"None of the photos in {', '.join(sources)} can be used.")
    bank, parts = _learn(index, wanted, encoders, out)
    results = _segment(sources, bank, encoders, out)
    report = out / "report.html"
    summary = (
        f"{len(index):,} photos indexed without labels; {len(bank.classes)} classes learnt from "
        "their names alone. The offline models (lite) are for trial; the presets paper and "
        "paper-light are the published ones."
    )
    return write_page(
        report,
        "report.html.jinja",
        title="recoseg",
        summary=summary,
        classes=parts,
        results=results,
        failures=index.failures(),
        height=160,
    )


def photos_per_class(photos: int) -> int:
    """How many photos to retrieve per class from an archive of this size: 2 to 50.

    Example:
        >>> photos_per_class(28), photos_per_class(500), photos_per_class(100_000)
        (2, 10, 50)
    """
    return min(50, max(2, photos // 50), photos)


def _learn(
    index: ArchiveIndex, wanted: Sequence[ClassNames], encoders: Encoders, out: Path
) -> tuple[ConceptBank, list[_Part]]:
    settings = pair_settings(encoders.saliency.info.name, encoders.phi.info.name)
    context = settings.learn.context if len(index) >= _LEAST_FOR_CONTEXT else ()
    learnt_from = replace(settings.learn, k=photos_per_class(len(index)), context=context)
    figures = FigureWriter(index, out / "figures", learnt_from.image_size)
    seen: list[Learnt] = []

    def observe(learnt: Learnt) -> None:
        figures(learnt)
        seen.append(learnt)

    bank = learn(
        index,
        wanted,
        encoders,
        replace(settings, learn=learnt_from),
        observe=observe,
        progress=None,
    )
    bank.save(out / "bank.safetensors")
    parts = []
    for learnt in sorted(seen, key=lambda item: item.concept.role):
        concept = learnt.concept
        hits = [
            Hit(position, photo.score)
            for position, photo in zip(learnt.positions, concept.retrieved, strict=True)
        ]
        with Image.open(figures.path(concept)) as figure:
            uri = thumbnail_uri(figure, figure.height)
        note = f"{concept.role}, {len(hits)} photos retrieved, best first"
        parts.append(_Part(concept.name, note, uri, sheet_cells(hits, index, 160)))
    return bank, parts


def _segment(
    sources: Sequence[str], bank: ConceptBank, encoders: Encoders, out: Path
) -> list[_Result]:
    paths = [photo.path for source in list_sources(sources) for photo in source.photos]
    segmenter = Segmenter(
        bank,
        phi=encoders.phi,
        saliency=encoders.saliency,
        background_threshold=_THRESHOLD,
        background=["context"] if bank.context else [],
    )
    results: list[_Result] = []

    def observe(name: str, outcome: Outcome) -> None:
        if outcome.segmentation is None or outcome.image is None:
            return
        share = sum(outcome.segmentation.areas().values())
        if len(results) == _SHOWN and share <= results[-1].share:
            return
        overlay = thumbnail_uri(draw_overlay(outcome.image, outcome.segmentation), _HEIGHT)
        results.append(_Result(str(outcome.photo), name, overlay, share))
        results.sort(key=lambda result: -result.share)
        del results[_SHOWN:]

    with OutputFolder(
        out / "masks", settings=segmenter.settings, names=segmenter.labeller.names
    ) as folder:
        segment_photos(segmenter, paths, folder, observe=observe, progress=None)
    return results
