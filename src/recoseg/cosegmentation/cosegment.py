"""Co-segmentation of retrieved images: support scores, seed pixels, reference embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int32, Int64
from torch import Tensor

from recoseg.cosegmentation.affinity import block_maxima
from recoseg.cosegmentation.checks import check_features, check_same_grid, check_weights
from recoseg.cosegmentation.reference import ReferenceForm, reference_embedding
from recoseg.cosegmentation.seeds import (
    Block,
    gather_regions,
    gather_seeds,
    select_seeds,
    support_scores,
)


@dataclass(frozen=True)
class Cosegmentation:
    """What k images of one class have in common.

    Attributes:
        support: How well each patch is matched in all images, in [-1, 1].
        seeds: The cells of highest support in each image as (y, x), best first; -1 for seeds that
            an image does not have, which only corrections by hand take away.
        seed_features: The features at the seeds, not normalised; with regions, those of the seeds'
            regions, L2-normalised.
        reference: The reference embedding, L2-normalised.
    """

    support: Float[Tensor, "k h w"]
    seeds: Int64[Tensor, "k s 2"]
    seed_features: Float[Tensor, "k s C"]
    reference: Float[Tensor, " C"]

    @property
    def seeds_alike(self) -> float:
        """Mean cosine between the seeds of different images, in [-1, 1]; 1 for a single image."""
        counts = (self.seeds[..., 0] >= 0).sum(1)
        number = int(counts.sum() ** 2 - counts.square().sum())
        if not number:
            return 1.0
        of_images = F.normalize(self.seed_features.double(), dim=-1).sum(1)
        # All pairs, less those within an image.
        pairs = of_images.sum(0).square().sum() - of_images.square().sum()
        return float(pairs) / number

    def cpu(self) -> Cosegmentation:
        """A copy on the CPU."""
        return Cosegmentation(
            self.support.cpu(), self.seeds.cpu(), self.seed_features.cpu(), self.reference.cpu()
        )


@dataclass(frozen=True, eq=False)
class SeedChoice:
    """How matches count and how seeds are chosen; see the arguments of `cosegment`.

    Attributes:
        weights: How much each patch may count as a match, (k, h, w), in [0, 1]; None for 1.
        seeds_per_image: Number of seed pixels per image.
        block: `image` or `paper`.
        reference: How seeds become a reference embedding.
        border: Number of outer rings of cells that cannot be seeds.
        weigh_seeds: Whether the weight of a patch counts when it is itself to be a seed.
    """

    weights: Float[Tensor, "k h w"] | None = None
    seeds_per_image: int = 1
    block: Block = "image"
    reference: ReferenceForm = "mean"
    border: int = 0
    weigh_seeds: bool = False


def cosegment(
    features: Float[Tensor, "k C h w"],
    weights: Float[Tensor, "k h w"] | None = None,
    *,
    seeds_per_image: int = 1,
    block: Block = "image",
    reference: ReferenceForm = "mean",
    border: int = 0,
    weigh_seeds: bool = False,
    compared: Float[Tensor, "k c h w"] | None = None,
    regions: Int32[Tensor, "k h w"] | None = None,
) -> Cosegmentation:
    """Find the patches that recur in all images (paper, section 3.2; supplement, Algorithm 1).

    Every patch has one vote per image, its best weighted cosine with the patches of that image.
    The mean of the votes is its support, and the patches of highest support in each image are the
    seeds. All arithmetic is fp32 (fp64 for fp64 features), even under autocast, except for
    half-precision features on a CUDA device; see `block_maxima`. Memory beyond the features is one
    fp32 copy of them, k numbers per patch and one tile; the whole adjacency matrix is never
    stored.

    Args:
        features: Features of phi for k retrieved images, best match first; any scale, any
            floating-point dtype.
        weights: How much each patch may count as a match, in [0, 1]: the product of
            `language_guidance` and `context_elimination`. None means that all weights are 1.
        seeds_per_image: Number of seed pixels per image.
        block: `image`, or `paper` for the published slice; see `support_scores`.
        reference: How seeds become a reference embedding; see `reference_embedding`.
        border: Number of outer rings of cells that cannot be seeds; see `select_seeds`.
        weigh_seeds: Also multiply the support of each patch by its own weight. In the published
            method, the weight of a patch counts only when other patches are matched to it, so a
            patch of low weight can still be a seed.
        compared: Features whose cosines are the votes, such as those of `distinctive`; by default
            `features`.
        regions: Regions of each image on the grid of the features, from 1, and 0 for none. If
            given, the mean of a seed's region takes the place of the seed's features; see
            `gather_regions`.

    Returns:
        Support, seeds, their features and the reference embedding, on the features' device.

    Raises:
        CosegmentationError: The features contain NaN or infinity, or shapes or settings do not
            fit.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> features = torch.randn(3, 8, 4, 5)
        >>> features[0, :, 1, 2] = features[1, :, 3, 0] = features[2, :, 0, 4]
        >>> cosegment(features).seeds[:, 0].tolist()
        [[1, 2], [3, 0], [0, 4]]
    """
    choice = SeedChoice(weights, seeds_per_image, block, reference, border, weigh_seeds)
    [found] = cosegment_several(features, [choice], compared=compared, regions=regions)
    return found


@torch.no_grad()
def cosegment_several(
    features: Float[Tensor, "k C h w"],
    choices: Sequence[SeedChoice],
    *,
    compared: Float[Tensor, "k c h w"] | None = None,
    regions: Int32[Tensor, "k h w"] | None = None,
) -> list[Cosegmentation]:
    """Co-segment the same images with several choices of seeds, comparing their patches once.

    Each result equals that of `cosegment` within the rounding of fp32, and costs little more time
    than one on a CPU. On a CUDA device the patches are compared once per choice.

    Args:
        features: As for `cosegment`.
        choices: The choices, at least one.
        compared: As for `cosegment`.
        regions: As for `cosegment`.

    Returns:
        One result per choice.

    Raises:
        CosegmentationError: As by `cosegment`.
    """
    check_features(features)
    for choice in choices:
        if choice.weights is not None:
            check_weights(choice.weights, features)
    votes = features
    if compared is not None:
        check_features(compared)
        check_same_grid(compared, features)
        votes = compared
    moved = [
        replace(one, weights=None if one.weights is None else one.weights.to(features.device))
        for one in choices
    ]
    found = block_maxima(votes, [choice.weights for choice in moved])
    return [
        _choose(features, maxima, choice, regions)
        for choice, maxima in zip(moved, found, strict=True)
    ]


def _choose(
    features: Float[Tensor, "k C h w"],
    maxima: Float[Tensor, "n k"],
    choice: SeedChoice,
    regions: Int32[Tensor, "k h w"] | None,
) -> Cosegmentation:
    """The seeds and the reference by the block maxima; the weights are on the features' device."""
    k, _, height, width = features.shape
    support = support_scores(maxima, choice.block).view(k, height, width)
    if choice.weigh_seeds and choice.weights is not None:
        support = support * choice.weights
    seeds = select_seeds(support, choice.seeds_per_image, choice.border)
    if regions is None:
        seed_features = gather_seeds(features, seeds)
    else:
        seed_features = gather_regions(features, seeds, regions)
    return Cosegmentation(
        support, seeds, seed_features, reference_embedding(seed_features, choice.reference)
    )
