"""A demonstration of the whole method: index, learn, segment, and write an HTML report."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from recoseg.archive.index import ArchiveIndex
from recoseg.classes import ClassNames
from recoseg.concepts import ConceptBank
from recoseg.config import NO_REGIONS
from recoseg.demo.segmented import Segmented
from recoseg.demo.standing import standing
from recoseg.demo.watch import Watch, describe_machine
from recoseg.device import resolve_compute
from recoseg.drawing.cosegmentation_figure import support_panels
from recoseg.drawing.demo_page import Common, DemoPage, LearntClass, write_demo_page
from recoseg.drawing.pages import thumbnail
from recoseg.drawing.palette import hex_colour
from recoseg.drawing.report import Report, claim_report
from recoseg.drawing.retrieval_sheet import sheet_cells
from recoseg.encoders.bundle import Encoders, load_encoders
from recoseg.errors import ArchiveError, MissingExtraError, OutputError
from recoseg.learning.figure_folder import FigureWriter, framed
from recoseg.learning.one_class import LearnedClass
from recoseg.pipeline.classes import Classes, as_classes
from recoseg.pipeline.index import build_index
from recoseg.pipeline.learn import learn
from recoseg.pipeline.mask_folder import REPORT
from recoseg.pipeline.report import mask_gallery
from recoseg.pipeline.segment import open_segmenter, segment
from recoseg.retrieval.duplicates import Hit
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
_CELL = 150  # height of retrieved photos


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
    classes: Classes | None = None,
    device: str = "auto",
    precision: str = "auto",
) -> Path:
    """Index photos, learn a few classes with `lite`, segment the photos, and write a report.

    Args:
        out: Folder for all outputs; an index that exists in it is continued, and what an earlier
            demonstration has written is replaced.
        photos: Sources of photos. By default those of `package_photos`.
        classes: A list of classes, a file of classes, or `"dog, cat"`; see `Classes`. By default
            seven that fit the photos.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `auto`, `fp32`, `bf16` or `fp16`.

    Returns:
        The page of the report, `report/index.html` in `out`.

    Raises:
        MissingExtraError: No photos are given and the extra `demo` is not installed.
        ConceptError: The classes cannot be read.
        ArchiveError: The sources contain no usable photo.
        OutputError: `out` holds the output of another command.
    """
    other = format_in(out)
    if other is not None:
        raise OutputError(
            f"{out} holds the output of another command of recoseg ({other!r}). Nothing was "
            "changed; write to another folder."
        )
    claim_report(out / REPORT, replace=True)
    wanted = as_classes(classes or _CLASSES)
    sources = list(photos) or [str(path) for path in package_photos()]
    watch = Watch()
    encoders = load_encoders("lite", phi=_PHI, device=device, precision=precision)
    watch.lap("Load the models")
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
    report = index.report
    watch.lap("Index the photos", report.new + report.changed if report else 0, "photos")
    bank, learned = _learn(index, wanted, encoders, out)
    watch.lap("Learn the classes", len(learned), "classes")
    segmented = _segment(sources, bank, encoders, out)
    watch.lap("Segment the photos", segmented.photos, "photos")
    with Report(out / REPORT) as pages:
        gallery, _ = mask_gallery(pages, out / "masks", progress=None)
        watch.lap("Draw the report", len(gallery.photos), "photos")
        best = segmented.best(bank)
        page = DemoPage(
            photos=len(index),
            hero=None if best is None else best.draw(pages),
            gallery=replace(gallery, sort="most"),
            classes=[_class_of(item, index, segmented, pages) for item in learned],
            timings=watch.laps,
            machine=describe_machine(resolve_compute(device, precision)),
            settings=(
                f"Photos at a short side of {_SHORT_SIDE} px, {photos_per_class(len(index))} "
                f"photos per class, phi {_PHI}, threshold {_THRESHOLD}, presence {_PRESENCE}; "
                "superpixels vote."
            ),
            commands=_commands(bank, len(index)),
            class_lines=[str(item) for item in wanted],
            failures=index.failures(),
        )
        return write_demo_page(pages, page)


def photos_per_class(photos: int) -> int:
    """Number of photos to retrieve per class from an archive of this size: 2 to 50.

    Example:
        >>> photos_per_class(30), photos_per_class(500), photos_per_class(100_000)
        (2, 10, 50)
    """
    return min(50, max(2, photos // 50), photos)


def _learn(
    index: ArchiveIndex, wanted: Sequence[ClassNames], encoders: Encoders, out: Path
) -> tuple[ConceptBank, list[LearnedClass]]:
    """The bank, and what was learnt in its order: classes, then context classes."""
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
    return bank, sorted(learned, key=lambda item: item.concept.role == "context")


def _class_of(
    item: LearnedClass, index: ArchiveIndex, segmented: Segmented, pages: Report
) -> LearntClass:
    """A class as the page shows it; its pictures are kept in the report."""
    concept, found = item.concept, item.cosegmentation
    hits = [
        Hit(position, photo.score)
        for position, photo in zip(item.positions, concept.retrieved, strict=True)
    ]
    cells = sheet_cells(hits, index, lambda photo: pages.keep(thumbnail(photo, _CELL)))
    panels = support_panels(framed(index, item), found.support, found.seeds, height=_CELL)
    common = [
        Common(pages.keep(panel), cell.name) for panel, cell in zip(panels, cells, strict=False)
    ]
    name, words = concept.name, str(concept.words)
    if concept.role == "context":
        return LearntClass(name, words, "", "context", "unknown", (), cells, common)
    times = segmented.found[name]
    judged = standing(concept, times, segmented.photos)
    return LearntClass(
        name,
        words,
        segmented.colours[name],
        f"found in {times:,} of {segmented.photos:,} photos",
        judged.judgement,
        judged.reasons,
        cells,
        common,
    )


def _segment(sources: Sequence[str], bank: ConceptBank, encoders: Encoders, out: Path) -> Segmented:
    segmenter = open_segmenter(
        bank,
        encoders=encoders,
        resize=_SHORT_SIDE,
        threshold=_THRESHOLD,
        presence=_PRESENCE,
        background=["context"] if bank.context else [],
    )
    colours = dict(zip(segmenter.names, map(hex_colour, segmenter.palette), strict=True))
    segmented = Segmented(colours)
    segment(
        segmenter,
        sources,
        out / "masks",
        overwrite=True,
        callback=segmented.add,
        progress=None,
    )
    return segmented


def _commands(bank: ConceptBank, photos: int) -> list[str]:
    """The commands that do the same with photos and classes of one's own."""
    small = "" if bank.context else " --context none"
    background = " --background context" if bank.context else ""
    return [
        "recoseg index PHOTOS --out index",
        "recoseg learn index --classes classes.txt --out bank.safetensors "
        f"--phi {_PHI} --regions {NO_REGIONS} -k {photos_per_class(photos)}{small}",
        f"recoseg segment bank.safetensors PHOTOS --out masks --resize {_SHORT_SIDE} "
        f"--threshold {_THRESHOLD} --presence {_PRESENCE}{background}",
    ]
