"""The prompt of a class from several words and photos with the regions that show it.

Each word is scored by how well its maps fit the regions. The tokens of the good ones are averaged,
the better the heavier, and the probability from which a pixel counts is the one that fits best.
All functions are pure. Source of the constants: concept banks for SAM 3, calibrated on masks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

MARGIN = 0.3
"""Words whose score is further below the best one are left out, as published."""

TEMPERATURE = 0.05
"""Scores are divided by this before the softmax that weighs the words, as published."""

QUANTILES = 64
"""Number of thresholds that are tried, as published."""

_LEAST = 1e-6


def soft_dice(probs: Float[Tensor, "*n h w"], region: Bool[Tensor, "h w"]) -> Float[Tensor, "*n"]:
    """How well maps of probabilities fit a region: 2 sum(p m) / (sum(p) + sum(m)).

    Args:
        probs: Maps, 0 to 1.
        region: The region m, 1 within it.

    Returns:
        0 to 1 for each map; 1 where map and region are equal, and where both are empty.

    Example:
        >>> soft_dice(torch.tensor([[0.5, 0.5]]), torch.tensor([[True, False]]))
        tensor(0.5000)
    """
    inside = (probs * region).sum((-2, -1))
    both = probs.sum((-2, -1)) + region.sum()
    return torch.where(both > 0, 2 * inside / both.clamp(min=_LEAST), torch.ones_like(both))


def word_weights(
    scores: Float[Tensor, " w"], margin: float = MARGIN, temperature: float = TEMPERATURE
) -> Float[Tensor, " w"]:
    """The share of each word in the prompt: a softmax over the words that are near the best one.

    Args:
        scores: The score of each word.
        margin: Words whose score is further below the best one get 0.
        temperature: Scores are divided by this.

    Returns:
        Weights that sum to 1.

    Example:
        >>> word_weights(torch.tensor([0.6, 0.6, 0.2]))
        tensor([0.5000, 0.5000, 0.0000])
    """
    is_kept = scores >= scores.max() - margin
    return (scores / temperature).masked_fill(~is_kept, -torch.inf).softmax(0)


def mean_tokens(
    tokens: Float[Tensor, "w t d"], are_words: Bool[Tensor, "w t"], weights: Float[Tensor, " w"]
) -> tuple[Float[Tensor, "t d"], Bool[Tensor, " t"]]:
    """The weighted mean of the tokens of several words, place by place.

    At each place the mean is over the words that have a token there, so that what only fills the
    row of a short word does not count.

    Args:
        tokens: What stands for each token of each word.
        are_words: Which tokens are part of the word.
        weights: Weight of each word, 0 or more.

    Returns:
        The tokens of the prompt, 0 where it has none, and which places have one: those of any word
        with a weight.

    Example:
        >>> tokens = torch.tensor([[[1.0], [4.0]], [[3.0], [9.0]]])
        >>> are_words = torch.tensor([[True, True], [True, False]])
        >>> mean_tokens(tokens, are_words, torch.tensor([0.5, 0.5]))
        (tensor([[2.],
                [4.]]), tensor([True, True]))
    """
    shares = weights[:, None] * are_words
    total = shares.sum(0)
    mean = (shares[..., None] * tokens).sum(0) / total.clamp(min=_LEAST)[:, None]
    is_there = total > _LEAST
    return mean * is_there[:, None], is_there


def best_threshold(
    probs: Sequence[Float[Tensor, "h w"]],
    regions: Sequence[Bool[Tensor, "h w"]],
    quantiles: int = QUANTILES,
) -> tuple[float, float]:
    """The probability from which pixels fit the regions best.

    The quantiles of all probabilities are tried, and the one with the best mean Dice is taken, of
    equal ones the lowest. It is then moved halfway down to the next lower probability. The masks
    of these photos stay the same, and rounding does not decide in others.

    Args:
        probs: The map of each photo, 0 to 1.
        regions: The region of each photo, of the same shape as its map.
        quantiles: Number of thresholds, evenly spaced from the lowest probability to the highest.

    Returns:
        The threshold, and the mean over photos of the Dice of the pixels p >= threshold.

    Example:
        >>> probs = torch.tensor([[0.125, 0.25, 0.75, 0.875]])
        >>> best_threshold([probs], [torch.tensor([[False, False, True, True]])], 4)
        (0.5, 1.0)
    """
    values = torch.cat([one.flatten() for one in probs]).double().cpu().numpy()
    values.sort()
    tried = np.quantile(values, np.linspace(0, 1, quantiles), method="higher")
    scores = [
        float(np.mean([_dice(one >= level, own) for one, own in zip(probs, regions, strict=True)]))
        for level in tried
    ]
    best = int(np.argmax(scores))
    below = values[: np.searchsorted(values, tried[best])]
    level = tried[best] if not len(below) else (tried[best] + below[-1]) / 2
    return float(level), scores[best]


def dice_of_all(regions: Sequence[Bool[Tensor, "h w"]]) -> float:
    """Mean Dice of masks of all pixels with the regions: what needs no decoder.

    Example:
        >>> dice_of_all([torch.tensor([[True, False, False]])])
        0.5
    """
    return float(np.mean([_dice(torch.ones_like(one), one) for one in regions]))


def _dice(mask: Bool[Tensor, "h w"], region: Bool[Tensor, "h w"]) -> float:
    both = int(mask.sum() + region.sum())
    return 2 * int((mask & region).sum()) / both if both else 1.0


def levelled(probs: Float[Tensor, "*n"], threshold: float) -> Float[Tensor, "*n"]:
    """Probabilities bent so that those of different classes have one threshold, 0.5.

    Below the threshold they rise evenly from 0 to 0.5, above it from 0.5 to 1. Their order stays.

    Args:
        probs: Probabilities, 0 to 1.
        threshold: The probability that becomes 0.5.

    Example:
        >>> levelled(torch.tensor([0.0, 0.1, 0.2, 0.6, 1.0]), 0.2)
        tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
    """
    low = probs / (2 * max(threshold, _LEAST))
    high = 1 - (1 - probs) / (2 * max(1 - threshold, _LEAST))
    return torch.where(probs < threshold, low, high)
