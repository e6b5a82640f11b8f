"""Scores of a photo's regions by the values of similar regions of an archive."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from recoseg.classes import WordSpans
from recoseg.errors import ConceptError

Words = Sequence[tuple[Float[Tensor, "_ _"], Float[Tensor, "_ _"] | None]]
"""For each class the text embeddings of its positive and of its negative words."""


def memory_scores(
    values: Sequence[Float[Tensor, "r k _"]],
    words: Sequence[Words],
    found: Bool[Tensor, "r k"] | None = None,
) -> Float[Tensor, "r c"]:
    """Score the regions of a photo by the values of the k most similar regions of an archive.

    The score of a class is the mean over the regions found of the score of their value, which is
    its highest cosine with the words of the class.

    Args:
        values: For each text encoder the values that were found for the r regions.
        words: For each text encoder the embeddings of the words of the c classes; see
            `recoseg.classes.combine_names`.
        found: Which of the k were found; None for all.

    Returns:
        The mean over the text encoders, fp32, in [-1, 1], or in [-3, 1] with negative words; 0
        where nothing was found.

    Raises:
        ConceptError: There is no text encoder, not one list of words for each, a class without a
            positive word, or embeddings of another length than the values.
    """
    if not values or len(values) != len(words):
        raise ConceptError(
            f"Expected words for each of the text encoders, one at least; got {len(values)} "
            f"encoders and words of {len(words)}."
        )
    if found is None:
        found = torch.ones(values[0].shape[:2], dtype=torch.bool)
    parts = [_scores(*pair, found.to(pair[0].device)) for pair in zip(values, words, strict=True)]
    return torch.stack([part.to(parts[0].device) for part in parts]).mean(0)


def class_scores(rows: Float[Tensor, "*n d"], words: Words) -> Float[Tensor, "*n c"]:
    """The highest cosine of each row with the words of each class; see `combine_names`.

    Args:
        rows: Features of a text encoder; they need not be unit.
        words: For each class the embeddings of its positive and of its negative words.

    Raises:
        ConceptError: A class has no positive word, or embeddings of another length than the rows.
    """
    texts, counts = [], []
    for index, (positive, negative) in enumerate(words):
        others = positive[:0] if negative is None or not len(negative) else negative
        if not len(positive):
            raise ConceptError(f"Class {index} has no positive word. Give it at least one.")
        for part in (positive, others):
            if part.ndim != 2 or part.shape[1] != rows.shape[-1]:
                raise ConceptError(
                    f"Expected text embeddings of shape (a, {rows.shape[-1]}) for class {index}; "
                    f"got {tuple(part.shape)}."
                )
        texts += [positive, others]
        counts.append((len(positive), len(others)))
    matrix = F.normalize(torch.cat(texts).to(rows.device, torch.float32), dim=1)
    cosines = F.normalize(rows.float(), dim=-1) @ matrix.T
    spans = WordSpans.of(counts)
    return cosines if spans.is_plain else spans.combine(cosines)


def _scores(
    values: Float[Tensor, "r k d"], words: Words, found: Bool[Tensor, "r k"]
) -> Float[Tensor, "r c"]:
    weights = found.float() / found.sum(1, keepdim=True).clamp(min=1)
    return torch.einsum("rk,rkc->rc", weights, class_scores(values, words))
