"""Scores on a labelled data set (`recoseg evaluate`)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from recoseg.concepts import ConceptBank
from recoseg.datasets.dataset_table import as_published, open_dataset
from recoseg.datasets.sample import SegmentationDataset
from recoseg.datasets.spaces import community_of, has_aliases
from recoseg.device import resolve_compute
from recoseg.drawing.report import claim_report
from recoseg.errors import OptionError, RecosegError
from recoseg.evaluation.counts_file import FORMAT, LINES, CountsFile
from recoseg.evaluation.evaluate import evaluate as count
from recoseg.evaluation.evaluate import settings_of
from recoseg.evaluation.evaluation import Evaluation
from recoseg.evaluation.pages import write_pages
from recoseg.evaluation.prediction_folder import PredictionFolder
from recoseg.evaluation.protocols import Protocol, protocol_of
from recoseg.evaluation.report_folder import FILES, write_evaluation
from recoseg.evaluation.rows import Row
from recoseg.hub.address import HubAddress, is_hub
from recoseg.hub.fetch import pinned
from recoseg.pipeline.checks import check_output_folder
from recoseg.pipeline.segment import Segmentable, open_segmenter
from recoseg.progress import resumable, telling_what_is_kept
from recoseg.segmentation.segmenter import Segmenter
from recoseg.storage.claim import claim
from recoseg.storage.counts import count_of
from recoseg.storage.locks import lock_folder
from recoseg.training.model import is_model

WHAT = "evaluation"
ENTRIES = ("settings.json", LINES, *FILES)


@dataclass(frozen=True)
class EvaluateReport:
    """Results of a run.

    Attributes:
        evaluation: The scores.
        notes: Notes on how to read the scores, in sentences.
        not_written: Files that could not be written to the output folder, each with the reason.
        page: The first page of the report; None if none was asked for.
    """

    evaluation: Evaluation
    notes: tuple[str, ...] = ()
    not_written: tuple[str, ...] = ()
    page: Path | None = None


def evaluate(
    source: Segmentable | None,
    dataset: str,
    *,
    root: str | Path | None = None,
    split: str | None = None,
    ids: str | Path | None = None,
    exclude: str | Sequence[str] = (),
    protocol: str = "native",
    published_quirks: bool = False,
    predictions: str | Path | None = None,
    allow_missing: bool = False,
    resize: int | None = None,
    boundary: float | None = None,
    out: str | Path | None = None,
    report: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    precision: str = "auto",
    progress: bool | None = False,
    **options: Any,
) -> EvaluateReport:
    """Score a concept bank, a trained model or a folder of label maps on a labelled data set.

    Args:
        source: The bank or model, its file, or its address on the Hub; None if `predictions` is
            given.
        dataset: Name of the data set; see `open_dataset`.
        root: Folder that holds the data set.
        split: Dataset split. By default that of the data set, most often `val`.
        ids: File with the names of the photos to use, one per line.
        exclude: Patterns of photos of `folder` and `mmseg` to leave out; see `Exclusion`.
        protocol: How photos are prepared and scored: `paper`, `tcl` (common in later papers),
            `proxyclip` (with larger windows) or `native`.
        published_quirks: Whether to repeat the errors of the published evaluation.
        predictions: Folder of label maps `NAME.png`, or masks in the format of another tool (see
            `open_format`), to score instead of a bank or model.
        allow_missing: Whether photos without a label map are left out; otherwise they are an error.
        resize: Short side of the encoders' input, pixels. By default that of the protocol.
        boundary: Tolerance of the boundary F-score, in pixels, or as a fraction of the diagonal if
            below 1; None does not measure it.
        out: Folder for JSON, report, confusion matrix and contact sheet; None writes no files.
        report: Folder for pages to look at: scores, confusion matrix, and for each class the photos
            in which it was segmented best and worst, which are segmented once more; see
            `recoseg.evaluation.pages.write_pages`.
        resume: Whether to continue an interrupted run in `out`, and to replace a report.
        overwrite: Whether to remove what an earlier run has written to `out` and `report`.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        progress: See `StageProgress`.
        **options: Further options of `open_segmenter`, such as `threshold` or `refine`. By default
            `min_area` is 0, as published.

    Raises:
        DatasetError: The data set is not found, its files are not as expected, or photos have no
            label map among the predictions.
        LabelError: The classes differ from those of the data set.
        OutputError: `out` holds an earlier run, which is neither continued nor replaced.
        RecosegError: Options do not fit together, or no photo could be evaluated.
    """
    if (source is None) == (predictions is None):
        raise OptionError(
            "Expected a bank (or trained model), or --predictions; got "
            + ("neither." if source is None else "both.")
        )
    unused = [name for name in options if name != "batch_size"]
    unused += ["resize"] if resize is not None else []
    if predictions is not None and unused:
        given = ", ".join(f"--{name.replace('_', '-')}" for name in unused)
        raise OptionError(
            f"--predictions takes label maps as they are; {given} would have no effect. Leave it "
            "out."
        )
    if predictions is None and allow_missing:
        raise OptionError("--allow-missing would have no effect without --predictions.")
    if out is None and (resume or (overwrite and report is None)):
        option = "--resume" if resume else "--overwrite"
        raise OptionError(f"{option} needs the folder of the earlier run: --out.")
    folder = None if out is None else check_output_folder(out)
    pages = None if report is None else check_output_folder(report)
    with ExitStack() as stack:
        if folder is not None:
            stack.enter_context(lock_folder(folder))
            stack.enter_context(telling_what_is_kept(partial(resumable, folder)))
            claim(folder, FORMAT, ENTRIES, what=WHAT, resume=resume, overwrite=overwrite)
        if pages is not None:
            claim_report(pages, replace=resume or overwrite)
        data = open_dataset(dataset, root, split, ids=ids, exclude=exclude)
        data = as_published(data) if published_quirks else data
        chosen = protocol_of(protocol, data.name, published_quirks=published_quirks, resize=resize)
        compute = resolve_compute(device, precision)
        row: Row
        if predictions is not None:
            row = PredictionFolder(Path(predictions), data.space, chosen)
            name, notes = row.name, []
            samples = [sample.name for sample in data.samples]
            row.refuse_missing(samples, allowed=allow_missing)
        else:
            assert source is not None
            source = pinned(source)
            options.setdefault("min_area", 0)
            options.setdefault("instances", "parts")
            row = open_segmenter(
                source, device=device, precision=precision, **options, **chosen.segmenter_options
            )
            if data.space.background is None and options.get("threshold") is None:
                row = _without_threshold(row)
            name, notes = _name_of(source, row), _notes(source, data, chosen, dataset)
        rows: dict[str, Row] = {name: row}
        [settings] = settings_of(data, chosen, rows, boundary, compute.precision)
        counts = None
        if folder is not None:
            counts = CountsFile(
                folder,
                settings,
                len(data.space.scored),
                what=WHAT,
                entries=ENTRIES,
                resume=resume,
                overwrite=overwrite,
            )
            stack.enter_context(counts)
        [found] = count(
            data,
            chosen,
            rows,
            boundary=boundary,
            counts=counts,
            precision=compute.precision,
            device=compute.device,
            progress=progress,
        )
        if found.failures and len(found.failures) == len(found.images):
            first = found.failures[0]
            raise RecosegError(
                f"None of {count_of(len(found.images), 'photos')} could be evaluated. The first, "
                f"{first.name}: {first.error}."
            )
        not_written: list[str] = []
        if folder is not None and counts is not None:
            with counts.writing(FILES):
                not_written = list(write_evaluation(folder, found, data, chosen, row))
        page = None
        if pages is not None:
            page = write_pages(pages, found, data, chosen, rows, progress=progress)
        return EvaluateReport(found, tuple(notes), tuple(not_written), page)


def _without_threshold(segmenter: Segmenter) -> Segmenter:
    """The segmenter without the threshold of learnt prompts: all pixels of the data set count."""
    rule = replace(segmenter.labeller.background, threshold=None)
    labeller = replace(segmenter.labeller, background=rule)
    settings = {**segmenter.settings, "background_threshold": None}
    return replace(segmenter, labeller=labeller, settings=settings)


def _name_of(source: Segmentable, segmenter: Segmenter) -> str:
    if isinstance(source, str | Path) and is_hub(source):
        return HubAddress.parse(source).name
    return Path(source).stem if isinstance(source, str | Path) else segmenter.kind


def _notes(
    source: Segmentable, data: SegmentationDataset, protocol: Protocol, dataset: str
) -> list[str]:
    """A note if the protocol expects the words of later papers, but the bank's have others."""
    if not protocol.aliases:
        return []
    if isinstance(source, str | Path):
        if is_model(source):
            return []
        source = ConceptBank.load(source)
    if not isinstance(source, ConceptBank) or has_aliases(
        [item.words for item in source.classes], data.space
    ):
        return []
    named = community_of(data.space.name) or f"{dataset} --aliases"
    return [
        f"The protocol {protocol.name} expects classes that are learnt with the words of later "
        f"papers (`recoseg learn INDEX --classes {named}`). The classes of this bank have others."
    ]
