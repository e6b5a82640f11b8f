"""Two banks, recipes, evaluations or folders of masks side by side (`recoseg compare`)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

from recoseg.comparison.banks import compare_banks
from recoseg.comparison.bootstrap import RESAMPLES
from recoseg.comparison.comparison import Comparison
from recoseg.comparison.settings import Change, changes
from recoseg.concepts import ConceptBank
from recoseg.config import LearnSettings, SegmentSettings
from recoseg.datasets.dataset_table import open_dataset
from recoseg.drawing.gallery import Gallery
from recoseg.drawing.report import PAGE, Report, claim_report
from recoseg.encoders.recipes import RECIPES, recipe_of
from recoseg.errors import MissingFileError, OptionError, RecosegError, did_you_mean
from recoseg.evaluation.protocols import protocol_of
from recoseg.pipeline.checks import check_output_folder
from recoseg.pipeline.compare_labelled import compare_evaluations, compare_labelled
from recoseg.pipeline.compare_masks import compare_masks
from recoseg.pipeline.kinds import describe_kind, kind_of

_RECIPES_ONLY = (
    "Each preset adds settings that suit its encoders, such as weights, to both recipes. Compare "
    "two banks to see those, too."
)
SHOWN = 60
"""Photos on the page: those that changed most."""

_BANK, _EVALUATION = "recoseg-bank", "recoseg-evaluation"
_EXPECTED = (
    "Expected two concept banks, two folders of `recoseg evaluate --out`, two recipes, or two "
    "folders or files of masks."
)


def compare(
    one: str | Path,
    other: str | Path,
    *,
    dataset: str | None = None,
    root: str | Path | None = None,
    split: str | None = None,
    ids: str | Path | None = None,
    exclude: str | Sequence[str] = (),
    protocol: str = "native",
    allow_missing: bool = False,
    images: str | Path | None = None,
    report: str | Path | None = None,
    overwrite: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: bool | None = False,
) -> Comparison:
    """Compare two concept banks, recipes, evaluations or runs that have segmented photos.

    Banks are compared class by class: words, references, verdicts, and the settings. Masks are
    scored if a labelled data set is named, and otherwise compared with each other; so are those of
    other programs (see `recoseg.pipeline.mask_results.open_results`). For scores the difference has
    an interval and a p-value; see `recoseg.comparison.bootstrap`.

    Args:
        one: Concept bank, name of a recipe, folder of `recoseg evaluate --out`, or folder or file
            of masks.
        other: Another one of the same kind.
        dataset: Name of the labelled data set that both have segmented; see `open_dataset`.
        root: Folder that holds the data set.
        split: Dataset split. By default that of the data set, most often `val`.
        ids: File with the names of the photos to use, one per line.
        exclude: Patterns of photos of `folder` and `mmseg` to leave out; see `Exclusion`.
        protocol: How truth and label maps are prepared; see `recoseg.evaluate`.
        allow_missing: Whether photos without a label map are left out; otherwise they are an error.
        images: Folder of the photos of masks, if these do not tell it. Only the page needs it.
        report: Folder for a page with the photos that changed most; None writes none.
        overwrite: Whether to replace an earlier report there.
        resamples: How often photos are drawn for the intervals.
        seed: Of the random numbers.
        progress: See `StageProgress`.

    Raises:
        RecosegError: The two are not of one kind, or cannot be read.
        LabelError: The two were scored in different classes, or have no photo in common.
        OutputError: `report` holds an earlier report that is not replaced, or files of others.
    """
    if resamples < 1:
        raise OptionError(f"resamples is {resamples}; expected 1 or more.")
    if dataset is None and (root is not None or split is not None or ids is not None):
        raise OptionError("--root, --split and --ids would have no effect without --dataset.")
    names = _names_of(one, other)
    folder = None if report is None else check_output_folder(report)
    if folder is not None:
        claim_report(folder, replace=overwrite)
    kinds = {_kind(one), _kind(other)}
    if len(kinds) > 1:
        raise RecosegError(f"{_described(one)} {_described(other)} {_EXPECTED}")
    [kind] = kinds
    if kind and (dataset is not None or images is not None):
        raise OptionError("--dataset and --images would have no effect without masks.")
    with ExitStack() as stack:
        page = None if folder is None else stack.enter_context(Report(folder))
        gallery: Gallery | None = None
        if kind == "recipe":
            found = Comparison(names, settings=_recipes(str(one), str(other)), note=_RECIPES_ONLY)
        elif kind == _BANK:
            banks = compare_banks(*(ConceptBank.load(Path(path)) for path in (one, other)))
            found = Comparison(names, banks)
        elif kind == _EVALUATION:
            found = compare_evaluations(names, Path(one), Path(other), resamples, seed)
        elif dataset is None:
            found, gallery = compare_masks(
                names,
                Path(one),
                Path(other),
                images=None if images is None else Path(images),
                report=page,
                shown=SHOWN,
                progress=progress,
            )
        else:
            data = open_dataset(dataset, root, split, ids=ids, exclude=exclude)
            found, gallery = compare_labelled(
                names,
                Path(one),
                Path(other),
                data,
                protocol_of(protocol, data.name),
                allow_missing=allow_missing,
                report=page,
                shown=SHOWN,
                resamples=resamples,
                seed=seed,
                progress=progress,
            )
        return found if page is None else replace(found, page=_write(page, found, gallery))


def _write(report: Report, found: Comparison, gallery: Gallery | None) -> Path:
    if gallery is not None:
        report.gallery(gallery)
    return report.page(
        PAGE,
        "comparison.html.jinja",
        title=f"{found.names[0]} and {found.names[1]}",
        found=found,
        gallery=gallery,
    )


def _kind(path: str | Path) -> str:
    """What is compared: `recipe`, the beginning of a format, or empty for masks."""
    if not Path(path).exists():
        names = [recipe.name for recipe in RECIPES]
        if str(path) in names:
            return "recipe"
        raise MissingFileError(
            f"Nothing was found at {path}.{did_you_mean(str(path), names)} {_EXPECTED} The recipes "
            f"are {' and '.join(names)}."
        )
    kind = kind_of(path)
    if kind in (_BANK, _EVALUATION):
        return kind
    if kind not in ("", "recoseg-masks", "recoseg-pseudo-labels"):
        raise RecosegError(f"{describe_kind(path)} {_EXPECTED}")
    return ""


def _described(path: str | Path) -> str:
    return describe_kind(path) if Path(path).exists() else f"{path} is a recipe."


def _names_of(one: str | Path, other: str | Path) -> tuple[str, str]:
    """What the two are called: the ends of their paths that differ.

    Example:
        >>> _names_of("a/masks", "b/masks"), _names_of("a/old.safetensors", "a/new.safetensors")
        (('a/masks', 'b/masks'), ('old', 'new'))
    """
    left, right = Path(one).absolute(), Path(other).absolute()
    for parts in range(1, max(len(left.parts), len(right.parts)) + 1):
        ends = ["/".join(path.with_suffix("").parts[-parts:]) for path in (left, right)]
        if ends[0] != ends[1]:
            return ends[0], ends[1]
    return f"{left.name} (1)", f"{right.name} (2)"


def _recipes(one: str, other: str) -> tuple[Change, ...]:
    """What differs between two recipes, without what suits an encoder."""
    settings = [
        {
            "learn": asdict(LearnSettings(**recipe.learn)),
            "segment": asdict(SegmentSettings(**recipe.segment)),
        }
        for recipe in map(recipe_of, (one, other))
    ]
    return changes(settings[0], settings[1])
