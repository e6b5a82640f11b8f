"""Regions of alike patches: clusters of the features of a photo."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int32, Int64, UInt8
from torch import Tensor

from recoseg.errors import OptionError, RecosegError
from recoseg.photos.refs import Photo
from recoseg.regions.masks import drop_small

MOST_CLUSTERS = 1024
"""Most clusters per photo that a spec may ask for; it may be that of anyone's bank."""

MOST_STEPS = 1000
"""Most steps of k-means that a spec may ask for."""

_FEW_POINTS = 900  # up to which the products of all pairs of points take less time
_MOST_LEAST = 1_000_000  # patches: more than any photo has


def on_first_grid(features: Sequence[Float[Tensor, "n _ _ _"]]) -> list[Float[Tensor, "n _ _ _"]]:
    """The features of several encoders, normalised, on the grid of the first one (bilinear)."""
    size = features[0].shape[2:]
    parts = [F.normalize(part.float(), dim=1) for part in features]
    return [
        part
        if part.shape[2:] == size
        else F.interpolate(part, size=size, mode="bilinear", align_corners=False)
        for part in parts
    ]


def unit_together(
    features: Sequence[Float[Tensor, "n _ _ _"]],
) -> Float[Tensor, "n C _ _"]:
    """The features of several encoders as one vector per cell of the first encoder's grid.

    Each encoder's features are normalised and brought to the first grid bilinearly; together they
    are normalised again.
    """
    parts = on_first_grid(features)
    return F.normalize(torch.cat(parts, 1), dim=1) if len(parts) > 1 else parts[0]


def cluster(points: Float[Tensor, "n p C"], clusters: int, steps: int) -> Int64[Tensor, "n p"]:
    """Clusters of the points of each photo by k-means, with the same result every time.

    The first centre is the point nearest to the mean, and each further one the point farthest from
    all centres before it. A cluster that loses all points keeps its centre.

    Args:
        points: Points of n photos.
        clusters: Number of clusters; with fewer points, as many as there are points.
        steps: Steps of the algorithm; each assigns the points and moves the centres to their
            means.

    Returns:
        The cluster of each point after the last step, from 0.
    """
    photos, count, _ = points.shape
    clusters = min(clusters, count)
    # Centres are means of points, so all distances follow from the products of points with each
    # other. Of few points these are computed once, which replaces many narrow products.
    pairs = points @ points.mT if count <= _FEW_POINTS else None

    def products(shares: Tensor) -> Tensor:
        """Products (n, k, p) of the means, given as shares (n, k, p) of points, with points."""
        return (shares @ points) @ points.mT if pairs is None else shares @ pairs

    squares = points.square().sum(2)
    row = torch.arange(photos, device=points.device)
    whole = points.new_full((photos, 1, count), 1 / count)
    chosen = (squares - 2 * products(whole)[:, 0]).argmin(1)
    shares = points.new_zeros(photos, clusters, count)
    nearest = torch.full_like(squares, torch.inf)
    for number in range(clusters):
        shares[row, number, chosen] = 1
        away = squares - 2 * products(shares[:, number : number + 1])[:, 0]
        nearest = torch.minimum(nearest, away + squares[row, chosen][:, None])
        chosen = nearest.argmax(1)
    assigned = _nearest(shares, products(shares))
    for _ in range(steps):
        members = F.one_hot(assigned, clusters).mT.to(points.dtype)
        sizes = members.sum(2, keepdim=True)
        shares = torch.where(sizes > 0, members / sizes.clamp(min=1), shares)
        assigned = _nearest(shares, products(shares))
    return assigned


def _nearest(
    shares: Float[Tensor, "n k p"], products: Float[Tensor, "n k p"]
) -> Int64[Tensor, "n p"]:
    """The nearest centre of each point: |x - c|^2 without |x|^2, the same for all centres c."""
    norms = (products * shares).sum(2, keepdim=True)
    return (norms - 2 * products).argmin(1)


class ClusterRegions:
    """Divides photos by k-means of the features of all phi (a `RegionProvider`).

    Args:
        clusters: Number of clusters per photo, 1 to `MOST_CLUSTERS`.
        steps: Steps of k-means, 1 to `MOST_STEPS`.
        least: Clusters of fewer patches are none; 1 or more.

    Raises:
        RecosegError: A number is out of range.
    """

    needs_features = True
    is_cacheable = False

    def __init__(self, clusters: int = 8, steps: int = 8, least: int = 4) -> None:
        for name, value, most in (
            ("clusters", clusters, MOST_CLUSTERS),
            ("steps", steps, MOST_STEPS),
            ("least", least, _MOST_LEAST),
        ):
            if not 1 <= value <= most:
                raise OptionError(f"{name} is {value}; expected 1 to {most:,}.")
        self._clusters, self._steps, self._least = clusters, steps, least

    @property
    def key(self) -> str:
        """See `RegionProvider`."""
        return f"clusters(clusters={self._clusters},steps={self._steps},least={self._least})"

    def regions(
        self,
        photo: Photo,
        pixels: UInt8[Tensor, "3 h w"],
        features: Sequence[Float[Tensor, "_ _ _"]] = (),
    ) -> Int32[Tensor, "gh gw"]:
        """See `RegionProvider`."""
        return self.regions_of([part[None] for part in features])[0]

    def regions_of(
        self, features: Sequence[Float[Tensor, "n _ _ _"]]
    ) -> list[Int32[Tensor, "gh gw"]]:
        """The regions of several photos of equal size, from the features of each phi.

        Raises:
            RecosegError: There are no features.
        """
        if not features:
            raise RecosegError(
                "Expected features of phi, whose clusters are the regions; got none."
            )
        joined = unit_together(features)
        assigned = cluster(joined.flatten(2).mT, self._clusters, self._steps)
        labels = assigned.view(len(joined), *joined.shape[2:]).int() + 1
        return [drop_small(one, self._least) for one in labels]
