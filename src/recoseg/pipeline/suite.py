"""Scores on all data sets that later papers report (`recoseg evaluate --dataset community`)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recoseg.archive.index import ArchiveIndex
from recoseg.datasets.dataset_table import open_dataset
from recoseg.datasets.spaces import community_of, label_space
from recoseg.decoders.sam3 import load_decoder
from recoseg.device import resolve_compute
from recoseg.encoders.decoder_sources import NO_DECODER
from recoseg.errors import DatasetError, OptionError, RecosegError
from recoseg.evaluation.evaluation import Evaluation
from recoseg.evaluation.suite import FOLDERS, SUITE, place_of, suite_json, suite_markdown
from recoseg.memory.region_memory import open_memory
from recoseg.pipeline.checks import check_output_folder
from recoseg.pipeline.evaluate import evaluate
from recoseg.pipeline.learn import learn
from recoseg.storage.atomic import write_bytes
from recoseg.storage.fields import to_json
from recoseg.storage.run_record import RunRecord

FORMAT = "recoseg-suite-1"
LINES = "tables.jsonl"
FILES = ("suite.md", "suite.json")
"""What is written to the output folder, beside a folder for each data set."""


@dataclass(frozen=True)
class SuiteReport:
    """Results of a run.

    Attributes:
        evaluations: The scores on each data set that could be evaluated, by name.
        left_out: Why data sets were not tried, by name.
        failed: Why data sets that were tried have no scores, by name.
        table: The table in Markdown.
        notes: Notes on how to read the scores, in sentences.
        not_written: Files that could not be written to the output folder, each with the reason.
    """

    evaluations: dict[str, Evaluation]
    left_out: dict[str, str]
    failed: dict[str, str]
    table: str
    notes: tuple[str, ...] = ()
    not_written: tuple[str, ...] = ()


def evaluate_suite(
    banks: str | Path,
    root: str | Path,
    *,
    index: ArchiveIndex | str | Path | None = None,
    out: str | Path | None = None,
    protocol: str = "tcl",
    resume: bool = False,
    overwrite: bool = False,
    threshold: float | None = None,
    background: Sequence[str] = (),
    device: str = "auto",
    precision: str = "auto",
    progress: bool | None = False,
    **options: Any,
) -> SuiteReport:
    """Score banks on the eight data sets that later papers report, as far as they are there.

    A data set that fails does not end the run; the report says why it failed.

    Args:
        banks: Folder with a bank (or trained model) `NAME.safetensors` for each data set.
        root: Folder of the data sets; see `recoseg.evaluation.suite.place_of`.
        index: Index, or its path or URL, from which banks that are not there are learnt, in the
            names of later papers and with the defaults of their encoders. By default data sets
            without a bank are left out.
        out: Folder for the table, and for the report on each data set; None writes no files.
        protocol: How photos are prepared and scored: `tcl`, or another one of `evaluate`.
        resume: Whether to continue an interrupted run in `out`.
        overwrite: Whether to replace an earlier run in `out`.
        threshold: As in `open_segmenter`, for the data sets with background.
        background: As in `open_segmenter`, for the data sets with background.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        progress: See `StageProgress`.
        **options: Further options of `evaluate`, such as `refine`. Banks are also learnt
            with `phi`, `saliency` and `recipe`.

    Raises:
        RecosegError: No data set could be evaluated.
        OutputError: `out` holds an earlier run, which is neither continued nor replaced.
    """
    if out is None and (resume or overwrite):
        option = "--resume" if resume else "--overwrite"
        raise OptionError(f"{option} needs the folder of the earlier run: --out.")
    if Path(banks).is_file():
        raise RecosegError(
            f"{banks} is a single file. Expected a folder with a bank NAME.safetensors for each "
            f"data set: {', '.join(FOLDERS)}."
        )
    folder = None if out is None else check_output_folder(out)
    if isinstance(options.get("memory"), str | Path):
        options["memory"] = open_memory(options["memory"])
    if isinstance(options.get("decoder"), str) and options["decoder"] != NO_DECODER:
        options["decoder"] = load_decoder(options["decoder"], resolve_compute(device, precision))
    run: dict[str, Any] = {"device": device, "precision": precision, "progress": progress}
    chosen: dict[str, Any] = {name: options.get(name) for name in ("phi", "saliency", "recipe")}
    found: dict[str, Evaluation] = {}
    left_out: dict[str, str] = {}
    failed: dict[str, str] = {}
    notes: dict[str, None] = {}
    not_written: list[str] = []
    with ExitStack() as stack:
        record = None
        if folder is not None:
            record = RunRecord(
                folder,
                LINES,
                FORMAT,
                {"suite": SUITE, "protocol": protocol},
                what="suite of evaluations",
                entries=FILES,
                resume=resume,
                overwrite=overwrite,
            )
            stack.enter_context(record)
        for name in FOLDERS:
            bank = Path(banks) / f"{name}.safetensors"
            place = place_of(name, Path(root))
            try:
                open_dataset(name, place)
            except DatasetError as error:
                left_out[name] = str(error)
                continue
            named = community_of(name)
            if index is None and not bank.is_file():
                left_out[name] = (
                    f"No bank was found at {bank}. Learn it by `recoseg learn INDEX --classes "
                    f"{named} --out {bank}`, or give the index by --index."
                )
                continue
            own: dict[str, Any] = {}
            if label_space(name).background is not None:
                own = {"threshold": threshold, "background": background or None}
            try:
                if index is not None and not bank.is_file():
                    assert named is not None
                    bank.parent.mkdir(parents=True, exist_ok=True)
                    learn(index, named, out=bank, **chosen, **run)
                report = evaluate(
                    bank,
                    name,
                    root=place,
                    out=None if folder is None else folder / name,
                    protocol=protocol,
                    resume=resume,
                    overwrite=overwrite,
                    **run,
                    **options,
                    **{option: value for option, value in own.items() if value is not None},
                )
            except (RecosegError, OSError) as error:
                failed[name] = str(error)
                continue
            found[name] = report.evaluation
            notes |= dict.fromkeys(report.notes)
            not_written += [f"{name}/{problem}" for problem in report.not_written]
        if not found:
            why = {**left_out, **failed}
            reasons = "\n".join(f"{name}: {why[name]}" for name in FOLDERS)
            raise RecosegError(f"None of the {len(FOLDERS)} data sets could be scored.\n{reasons}")
        table = suite_markdown(found, left_out, failed)
        if folder is not None and record is not None:
            with record.writing():
                record.add({"files": list(FILES)})
                write_bytes(folder / FILES[0], table.encode("utf-8", "replace"))
                write_bytes(folder / FILES[1], to_json(suite_json(found, left_out, failed)))
    return SuiteReport(found, left_out, failed, table, tuple(notes), tuple(not_written))
