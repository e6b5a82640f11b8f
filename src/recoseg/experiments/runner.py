"""Run studies: learn each bank once, then evaluate all rows in one pass over the photos."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import takewhile
from typing import Any

import torch

from recoseg.concepts import Concept, ConceptBank
from recoseg.datasets.sample import SegmentationDataset
from recoseg.evaluation.counts_file import CountsFile
from recoseg.evaluation.evaluate import evaluate, settings_of
from recoseg.evaluation.evaluation import Evaluation
from recoseg.evaluation.protocols import Protocol
from recoseg.experiments.study import BankKey, Study, StudyRow
from recoseg.learning.feature_cache import FeatureCache
from recoseg.learning.feature_store import FeatureStore
from recoseg.learning.learner import in_common, learn_together
from recoseg.progress import StageProgress
from recoseg.segmentation.bank_segmenter import bank_segmenter

Key = tuple[object, ...]


def run_studies(
    studies: Sequence[Study],
    dataset: SegmentationDataset,
    protocol: Protocol,
    *,
    counts: Callable[[dict[str, Any]], CountsFile] | None = None,
    cache: FeatureCache | None = None,
    options: Mapping[str, Any] | None = None,
    precision: str | None = None,
    device: torch.device | str = "cpu",
    progress: bool | None = False,
) -> dict[Key, Evaluation]:
    """Evaluate the rows of studies; rows that differ only in their label are evaluated once.

    Features of archive photos are computed once for all banks, and features of the data set's
    photos once for all rows.

    Args:
        studies: The studies.
        dataset: Photos with ground-truth masks.
        protocol: How photos are prepared and scored.
        counts: From the settings of all rows to the file, entered, in which the pixel counts of
            each photo are kept; None keeps no counts.
        cache: Cache that keeps features of archive photos for later runs.
        options: Further arguments of `bank_segmenter` for all rows, such as a background.
        precision: Precision of the encoders' forward passes, for the record.
        device: Device on which pixels are counted.
        progress: See `StageProgress`.

    Returns:
        The evaluation of each row by `StudyRow.key`.
    """
    rows: dict[Key, StudyRow] = {}
    for study in studies:
        for row in study.rows:
            rows.setdefault(row.key, row)
    banks = learn_banks(list(rows.values()), cache=cache, progress=progress)
    segmenters = {
        str(number): bank_segmenter(
            banks[row.bank_key],
            encoders=row.setup.encoders,
            fusion=row.fusion,
            refine=row.refine,
            voting=row.voting,
            memory=row.memory,
            **{**(options or {}), **protocol.segmenter_options},
        )
        for number, row in enumerate(rows.values())
    }
    settings = {"rows": settings_of(dataset, protocol, segmenters, precision=precision)}
    found = evaluate(
        dataset,
        protocol,
        segmenters,
        counts=None if counts is None else counts(settings),
        precision=precision,
        device=device,
        progress=progress,
    )
    return dict(zip(rows, found, strict=True))


def learn_banks(
    rows: Sequence[StudyRow], *, cache: FeatureCache | None = None, progress: bool | None = False
) -> dict[BankKey, ConceptBank]:
    """The bank of each row by `StudyRow.bank_key`.

    The features of each photo are computed once, and so is each class that several banks learn in
    the same way. Banks that differ only in how seeds are chosen are learnt together.
    """
    row_of = {row.bank_key: row for row in rows}
    used = {id(e): e for row in rows for e in row.setup.encoders.phi}
    used |= {
        id(row.setup.encoders.saliency): row.setup.encoders.saliency
        for row in rows
        if row.learn.guidance
    }
    banks: dict[BankKey, ConceptBank] = {}
    with ExitStack() as stack:
        stores: dict[int, FeatureStore] = {}
        shown = stack.enter_context(
            StageProgress("Learning", len(row_of), unit="banks", enabled=progress)
        )
        while len(banks) < len(row_of):
            starts = _starts_together(row_of, banks)
            row = row_of[next(iter(starts))]
            size = row.learn.image_size
            if size not in stores:
                stores[size] = stack.enter_context(FeatureStore(list(used.values()), size, cache))
            present = [concept.name for concept in next(iter(starts.values())).classes]
            learnt = learn_together(
                row.setup.index,
                [item for item in row.classes if item.name not in present],
                row.setup.encoders,
                list(starts.values()),
                store=stores[size],
            )
            for key, bank in zip(starts, learnt, strict=True):
                banks[key] = _ordered(bank, row_of[key])
            shown.advance(len(starts))
    return {key: banks[key] for key in row_of}


def _starts_together(
    row_of: Mapping[BankKey, StudyRow], banks: Mapping[BankKey, ConceptBank]
) -> dict[BankKey, ConceptBank]:
    """What the next banks start from: the first that is not learnt, and those learnt with it."""
    earlier = [(row_of[key], bank) for key, bank in banks.items()]
    starts = {
        key: _shared_concepts(row, earlier) for key, row in row_of.items() if key not in banks
    }
    alike = {
        key: (row_of[key].setup, row_of[key].classes, in_common(starts[key])) for key in starts
    }
    first = next(iter(alike.values()))
    return {key: start for key, start in starts.items() if alike[key] == first}


def _shared_concepts(row: StudyRow, earlier: Sequence[tuple[StudyRow, ConceptBank]]) -> ConceptBank:
    """A bank of those concepts of earlier banks that this row would learn in the same way.

    A context class depends on those before it, so banks share the context up to the first
    difference. A class depends on the whole context.
    """
    context: tuple[Concept, ...] = ()
    classes: dict[str, Concept] = {}
    for other, bank in earlier:
        alike = replace(other.learn, context=row.learn.context) == row.learn
        if other.setup is not row.setup or not alike:
            continue
        pairs = zip(other.learn.context, row.learn.context, strict=False)
        equal = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
        context = max(context, bank.context[:equal], key=len)
        if other.learn == row.learn:
            classes |= {c.name: c for c in bank.classes if c.words in row.classes}
    return ConceptBank((*context, *classes.values()), row.setup.encoders.info, row.settings)


def _ordered(bank: ConceptBank, row: StudyRow) -> ConceptBank:
    """The bank with its classes in the row's order."""
    classes = {concept.name: concept for concept in bank.classes}
    ordered = (classes[item.name] for item in row.classes)
    return replace(bank, concepts=(*bank.context, *ordered))
