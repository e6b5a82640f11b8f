"""From scores of names to labels of classes, by probability; which classes a photo holds at all.

A class may have several names, and background may be described by many. The rules here are those
of published evaluations of open-vocabulary segmentation, each a function by itself.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from recoseg.errors import RecosegError

PUBLISHED_AMBIGUITY = 0.4**1.25
"""The threshold of `is_ambiguous` as published."""


def name_probabilities(
    cosines: Float[Tensor, "m h w"], temperature: float
) -> Float[Tensor, "m h w"]:
    """Softmax over all names of their cosines times a temperature, in fp32.

    Args:
        cosines: Cosine of each place with each name.
        temperature: What cosines are multiplied by; 40 in most published evaluations.
    """
    return (cosines.float() * temperature).softmax(0)


def class_probabilities(
    names: Float[Tensor, "m h w"], class_of_name: Int64[Tensor, " m"]
) -> Float[Tensor, "c h w"]:
    """The best probability of each class's names; those of a place need not add up to 1.

    Args:
        names: Probability of each name.
        class_of_name: The class of each name, from 0; each class has a name.

    Raises:
        RecosegError: A class has no name.
    """
    classes = int(class_of_name.max()) + 1
    missing = set(range(classes)) - set(class_of_name.tolist())
    if missing:
        raise RecosegError(f"Expected a name of each class; class {min(missing)} has none.")
    own = [class_of_name.to(names.device) == index for index in range(classes)]
    return torch.stack([names[one].amax(0) for one in own])


def without_small_classes(
    probabilities: Float[Tensor, "c h w"], area_thd: float
) -> Float[Tensor, "c h w"]:
    """Set classes that win few places to 0; class 0, the background, stays.

    Args:
        probabilities: Probability of each class, background first.
        area_thd: A class goes if it wins at most this share of the places that any class but
            background wins.
    """
    winners = probabilities.argmax(0)
    areas = torch.bincount(winners.flatten(), minlength=len(probabilities))
    foreground = areas[1:].sum()
    is_kept = areas > area_thd * foreground
    is_kept[0] = True
    return torch.where(is_kept[:, None, None], probabilities, 0.0)


def labels_of(probabilities: Float[Tensor, "c h w"], prob_thd: float = 0.0) -> Int64[Tensor, "h w"]:
    """The most probable class; 0, the background, where its probability is below `prob_thd`."""
    best, labels = probabilities.max(0)
    return torch.where(best < prob_thd, 0, labels)


def is_ambiguous(
    scores: Float[Tensor, "c h w"], threshold: float = PUBLISHED_AMBIGUITY
) -> Bool[Tensor, "h w"]:
    """Where the two best classes are too weak or too close to each other: background.

    That is where s1 sqrt(s1 - s2) is below the threshold, with s1 and s2 the best two scores. With
    one class s2 is 0.

    Args:
        scores: Scores of each class in 0 to 1, such as probabilities.
        threshold: The smallest value of a place that belongs to a class.
    """
    if len(scores) == 1:
        best, second = scores[0], torch.zeros_like(scores[0])
    else:
        best, second = scores.topk(2, dim=0).values
    return best * (best - second).sqrt() < threshold


def present_by_best(best: Float[Tensor, " c"], threshold: float = 0.5) -> Bool[Tensor, " c"]:
    """Which classes a photo holds: those whose best probability in it reaches a threshold.

    Args:
        best: The best probability of each class in the photo, over regions or places.
        threshold: The smallest best probability of a class that is there.
    """
    return best >= threshold


def zero_absent(
    scores: Float[Tensor, "c h w"], is_present: Bool[Tensor, " c"]
) -> Float[Tensor, "c h w"]:
    """Set the scores of classes that the photo does not hold to 0."""
    return torch.where(is_present[:, None, None], scores, 0.0)


def blend_photo(
    scores: Float[Tensor, "c h w"], photo: Float[Tensor, " c"], weight: float
) -> Float[Tensor, "c h w"]:
    """Scores of places blended with those of the whole photo.

    Args:
        scores: Score of each class at each place.
        photo: Score of each class for the photo's own embedding, on the same scale.
        weight: Share of the photo's score; 0.1 to 0.3 as published.

    Raises:
        RecosegError: The weight is not within 0 to 1.
    """
    if not 0 <= weight <= 1:
        raise RecosegError(f"The photo's weight is {weight}; expected 0 to 1.")
    return (1 - weight) * scores + weight * photo[:, None, None]
