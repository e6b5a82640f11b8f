"""Visual and text scores: the cosine of every patch with every class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from recoseg.classes import combine_names
from recoseg.errors import ConceptError


def visual_scores(
    features: Float[Tensor, "n C gh gw"], references: Sequence[Float[Tensor, "_ C"]]
) -> Float[Tensor, "n c gh gw"]:
    """Cosine of each patch with each class's reference embedding (paper, section 3.2).

    Args:
        features: Features of phi; they need not be normalised.
        references: One or more reference embeddings for each of the c classes; the highest cosine
            counts.

    Returns:
        Cosines in [-1, 1], fp32.

    Raises:
        ConceptError: A class has no reference, or one of another length than the features.
    """
    for index, rows in enumerate(references):
        if rows.ndim != 2 or rows.shape[1] != features.shape[1] or len(rows) == 0:
            raise ConceptError(
                f"Expected references of shape (r, {features.shape[1]}) with r >= 1 for class "
                f"{index}; got {tuple(rows.shape)}."
            )
    sizes = [len(rows) for rows in references]
    cosines = cosines_of(features, torch.cat(list(references)))
    if max(sizes) == 1:
        return cosines
    parts = torch.split_with_sizes(cosines, sizes, dim=1)
    return torch.stack([part.amax(1) for part in parts], dim=1)


def text_scores(
    features: Float[Tensor, "n d gh gw"],
    words: Sequence[tuple[Float[Tensor, "_ d"], Float[Tensor, "_ d"] | None]],
) -> Float[Tensor, "n c gh gw"]:
    """Cosine of each patch with the words of each class (paper, section 3.3).

    Args:
        features: Features of the saliency encoder.
        words: For each of the c classes the text embeddings of its positive words and of its
            negative words; see `recoseg.classes.combine_names`.

    Returns:
        Scores in [-2, 1] (a negative word can lower them below -1), fp32.

    Raises:
        ConceptError: A class has no positive word, or embeddings of another length.
    """
    rows: list[Tensor] = []
    sizes: list[int] = []
    for index, (positive, negative) in enumerate(words):
        if len(positive) == 0:
            raise ConceptError(f"Class {index} has no positive word. Give it at least one.")
        for part in (positive, negative if negative is not None else positive[:0]):
            if part.ndim != 2 or (len(part) and part.shape[1] != features.shape[1]):
                raise ConceptError(
                    f"Expected text embeddings of shape (a, {features.shape[1]}) for class "
                    f"{index}; got {tuple(part.shape)}."
                )
            sizes.append(len(part))
            if len(part):
                rows.append(part)
    cosines = cosines_of(features, torch.cat(rows))
    parts = torch.split_with_sizes(cosines.movedim(1, -1), sizes, dim=-1)
    scores = [
        combine_names(positive, negative)
        for positive, negative in zip(parts[::2], parts[1::2], strict=True)
    ]
    return torch.stack(scores, dim=1)


def cosines_of(
    features: Float[Tensor, "n C gh gw"], rows: Float[Tensor, "m C"]
) -> Float[Tensor, "n m gh gw"]:
    """Cosine of each patch with each of some embeddings, fp32.

    Args:
        features: Features of patches; they need not be normalised.
        rows: The embeddings; they need not be normalised.
    """
    unit = F.normalize(features.float(), dim=1)
    rows = F.normalize(rows.to(features.device, torch.float32), dim=1)
    return torch.einsum("nchw,mc->nmhw", unit, rows)
