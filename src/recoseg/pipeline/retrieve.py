"""Retrieving photos of an archive by class names (`recoseg retrieve`)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from recoseg.archive.index import ArchiveIndex
from recoseg.archive.selection import Selection
from recoseg.device import resolve_compute
from recoseg.drawing.retrieval_sheet import write_contact_sheet
from recoseg.encoders.defaults import default_prompts
from recoseg.encoders.encoder_table import build_retrieval
from recoseg.encoders.protocols import EncoderInfo, ImageTextEncoder
from recoseg.errors import ArchiveError
from recoseg.executors import Executor, LocalExecutor
from recoseg.pipeline.checks import check_encoder, check_output_file
from recoseg.pipeline.classes import Classes, as_classes
from recoseg.pipeline.index import open_index
from recoseg.retrieval.approximate import ApproximateIndex, check_kind
from recoseg.retrieval.class_texts import ClassTexts, check_index
from recoseg.retrieval.distributed import PartWorker, search_parts
from recoseg.retrieval.duplicates import Hit
from recoseg.retrieval.retriever import Search
from recoseg.retrieval.retriever import retrieve as find
from recoseg.storage.paths import inside


@dataclass(frozen=True)
class Retrieved:
    """The photos that were found.

    Attributes:
        index: The archive; `index.photo(hit.position)` is the photo of a hit.
        hits: Photos by class name, best first.
        recall: Fraction of the photos of exact search that approximate search found; None if it
            was not measured.
    """

    index: ArchiveIndex
    hits: dict[str, list[Hit]]
    recall: float | None = None


def retrieve(
    index: ArchiveIndex | str | Path,
    classes: Classes,
    *,
    k: int = 50,
    retrieval: str | ImageTextEncoder | None = None,
    prompts: str | None = None,
    skip_duplicates: float | None = None,
    sheet: str | Path | None = None,
    approximate: str | None = None,
    effort: int = 64,
    recall: bool = False,
    executor: Executor | None = None,
    device: str = "auto",
    precision: str = "auto",
) -> Retrieved:
    """Find the photos that show each class best, by the cosine of their embeddings.

    Args:
        index: The index, or its path or URL.
        classes: Lines such as `sofa; couch; -bed`, or a file of such lines.
        k: Photos per class.
        retrieval: The encoder that made the index. By default the one recorded in the index.
        prompts: Prompt set. By default that of the encoder; see `prompt_set`.
        skip_duplicates: Photos whose cosine with a better one is above this threshold are left
            out; None keeps all.
        sheet: HTML contact sheet to write; None writes no sheet.
        approximate: `ivf` or `hnsw` for approximate search (needs the extra `faiss`); None for
            exact search.
        effort: Number of lists (`ivf`) or candidates (`hnsw`) that approximate search visits.
        recall: Whether to also search exactly and measure the recall of approximate search.
        executor: Executor that runs the search. By default it runs in this process.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `auto`, `fp32`, `bf16` or `fp16`.

    Raises:
        ArchiveError: The index was not found, or it does not record which encoder made it.
        ConceptError: A class cannot be read.
        EncoderMismatchError: The encoder did not make the index.
    """
    parsed = as_classes(classes)
    if approximate is not None:
        check_kind(approximate)
    if sheet is not None:
        check_output_file(sheet)
    archive = index if isinstance(index, ArchiveIndex) else open_index(index)
    encoder = retrieval_encoder(archive, retrieval, device, precision)
    queries = ClassTexts.of(parsed).queries(encoder, prompts or default_prompts(encoder.info))
    runner = executor or LocalExecutor()
    search, share = None, None
    if executor is not None:
        search = search_in(runner, archive)
    if approximate is not None:
        folder = inside(archive.root, "approximate")
        proposals = ApproximateIndex.open(archive, folder, approximate, effort=effort)
        search = proposals.search
        share = proposals.recall(queries, k) if recall else None
    with runner.connection():
        found = find(archive, queries, k, skip_duplicates=skip_duplicates or False, search=search)
    hits = {item.name: one for item, one in zip(parsed, found, strict=True)}
    if sheet is not None:
        write_contact_sheet(sheet, list(hits.items()), archive)
    return Retrieved(archive, hits, share)


def retrieval_encoder(
    index: ArchiveIndex, retrieval: str | ImageTextEncoder | None, device: str, precision: str
) -> ImageTextEncoder:
    """The given encoder, or the one recorded in the index; it is checked against the index.

    Raises:
        ArchiveError: None is given, and the index does not record which encoder made it.
        EncoderMismatchError: The encoder did not make the index.
    """
    if retrieval is None:
        if index.info is None:
            raise ArchiveError(
                f"{index.location} does not say which encoder made it. Name the encoder, for "
                "example by --retrieval ViT-L/14."
            )
        made_by: str | EncoderInfo | ImageTextEncoder = index.info
    else:
        made_by = retrieval
    check_encoder(made_by, "retrieval")
    if isinstance(made_by, str | EncoderInfo):
        made_by = build_retrieval(made_by, resolve_compute(device, precision))
    check_index(index, made_by)
    return made_by


def search_in(executor: Executor, index: ArchiveIndex) -> Search:
    """A search that runs on the workers of an executor, each of which opens the index."""
    build = partial(_part_worker, index.location, index.selection)
    return partial(search_parts, executor, build, len(index))


def _part_worker(location: str, selection: Selection) -> PartWorker:
    return PartWorker(ArchiveIndex.open(location, selection))
