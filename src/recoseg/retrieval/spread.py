"""How the scores of classes are spread over all photos of an archive."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from recoseg.classes import parse_class
from recoseg.encoders.protocols import ImageTextEncoder, KnowsItsWords
from recoseg.evidence import LEAST_ARCHIVE, YARDSTICK, evidence_ends
from recoseg.retrieval.class_texts import ClassTexts
from recoseg.retrieval.duplicates import EmbeddedArchive, Hit
from recoseg.retrieval.queries import Query, QueryWords

_log = logging.getLogger(__name__)

_MEASURED = 16_384
"""Photos whose scores are measured; of larger archives evenly spaced runs are taken."""
_RUN = 256
"""Photos of a run."""
_BELOW = 0.1587
"""The share of a normal distribution that lies more than one standard deviation below its mean."""


@dataclass(frozen=True)
class Spread:
    """The scores of the photos of an archive.

    Attributes:
        photos: Number of photos that were measured.
        medians: Median of the scores of each class.
        step: The spread of the archive; 0 if all photos score alike.
    """

    photos: int
    medians: tuple[float, ...]
    step: float


def measure(
    index: EmbeddedArchive, queries: Sequence[Query], encoder: ImageTextEncoder, prompts: str
) -> Spread | None:
    """Measure the scores of classes over an archive, or over an even sample of a large one.

    Args:
        index: The archive.
        queries: The classes.
        encoder: The retrieval encoder, which embeds the yardstick.
        prompts: Name of the prompt set; see `prompt_set`.

    Returns:
        The spread; None if the archive has no photo, or the encoder does not know the words of the
        yardstick.
    """
    yardstick = _yardstick(encoder, prompts)
    if yardstick is None:
        return None
    rows = _sample(index)
    if not len(rows):
        return None
    words = QueryWords([*queries, *yardstick])
    exact = words.products[-1]
    scores = torch.cat([words.scores(part, exact).clone() for part in torch.split(rows, 2048)])
    medians = scores.median(0).values
    own = scores[:, len(queries) :]
    below = own.quantile(0.5, dim=0) - own.quantile(_BELOW, dim=0)
    return Spread(len(rows), tuple(medians[: len(queries)].tolist()), float(below.mean()))


def until_evidence_ends(
    hits: list[list[Hit]], spread: Spread | None, least: int
) -> list[list[Hit]]:
    """The photos of each class up to where the evidence for it ends; see `evidence_ends`.

    Args:
        hits: The photos of each class, best first.
        spread: The scores of the archive, measured for the same classes; None if they were not.
        least: The fewest photos of a class; 0 to keep all.

    Returns:
        The first photos of each class; all of them if nothing was measured, or if the archive is
        too small to tell.
    """
    if not least or spread is None or not spread.step > 0 or spread.photos < LEAST_ARCHIVE:
        return hits
    return [
        found[: evidence_ends([hit.score for hit in found], median, spread.step, least)]
        for found, median in zip(hits, spread.medians, strict=False)
    ]


def _yardstick(encoder: ImageTextEncoder, prompts: str) -> list[Query] | None:
    """The everyday words as queries; None if the encoder does not know them."""
    if isinstance(encoder, KnowsItsWords) and encoder.unknown_words(list(YARDSTICK)):
        return None
    texts = ClassTexts.of([parse_class(word) for word in YARDSTICK])
    try:
        return texts.queries(encoder, prompts)
    except Exception as error:
        # An encoder of the user's own may know no words but those of the classes, and raise
        # anything at others. A verdict is not worth a bank.
        _log.warning(
            "Nothing is said about how well the archive shows the classes: the text encoder cannot "
            "embed the everyday words that they are compared with (%s).",
            ", ".join(YARDSTICK),
        )
        _log.debug("the text encoder raised %r", error)
        return None


def _sample(index: EmbeddedArchive) -> Float[Tensor, "n d"]:
    """The embeddings of all photos, or of evenly spaced runs; without those that are left out."""
    total = len(index)
    if total <= _MEASURED:
        runs = [(0, total)]
    else:
        starts = np.linspace(0, total - _RUN, _MEASURED // _RUN).astype(int).tolist()
        runs = [(start, start + _RUN) for start in starts]
    parts = [rows for first, stop in runs for _, rows in index.blocks(first=first, stop=stop)]
    if not parts:
        return torch.empty(0, 0)
    found = torch.from_numpy(np.concatenate(parts)).float()
    return found[found.isfinite().all(1)]
