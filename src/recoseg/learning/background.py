"""Photos of anything in the archive, beside which the photos of a class are seen."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from recoseg.archive.index import ArchiveIndex
from recoseg.cosegmentation import commonness
from recoseg.encoders.protocols import DenseImageEncoder
from recoseg.learning.feature_store import FeatureStore
from recoseg.regions.clusters import ClusterRegions

PHOTOS = 200
"""Photos of the archive that tell what is common in it."""

_REGIONS = ClusterRegions()
_BATCH = 32


def everyday_positions(photos: int, count: int = PHOTOS) -> list[int]:
    """Positions of photos spread evenly over an archive, the same every time.

    Example:
        >>> everyday_positions(10, 4)
        [0, 3, 6, 9]
    """
    if photos <= count:
        return list(range(photos))
    return torch.linspace(0, photos - 1, count).round().long().tolist()


@dataclass(frozen=True)
class Background:
    """Regions of photos of anything, by phi.

    Attributes:
        ids: Id of each photo.
        regions: By the key of a phi, unit features of regions, and the place in `ids` of the photo
            of each.
    """

    ids: tuple[str, ...]
    regions: dict[str, tuple[Float[Tensor, "r C"], Int64[Tensor, " r"]]]

    @classmethod
    def of(
        cls,
        index: ArchiveIndex,
        positions: Sequence[int],
        store: FeatureStore,
        phis: Sequence[DenseImageEncoder],
    ) -> Background:
        """Divide photos into regions of alike patches, for each phi by its own features.

        Args:
            index: The archive.
            positions: Positions of the photos, whose features are in the store. Photos that could
                not be read are left out.
            store: The features.
            phis: The phi encoders.
        """
        names = dict.fromkeys(index.photo_id(position) for position in positions)
        ids = tuple(name for name in names if name in store)
        return cls(ids, {phi.info.key: _regions_of(store, phi, ids) for phi in phis})

    def commonness(
        self, phi: str, features: Float[Tensor, "k C h w"], without: Collection[str]
    ) -> Float[Tensor, "k h w"] | None:
        """How common each patch is in these photos; see `recoseg.cosegmentation.commonness`.

        Args:
            phi: Key of the phi.
            features: Its features for the photos of a class.
            without: Ids of photos that do not count, such as those of the class themselves.

        Returns:
            None if no photo is left.
        """
        regions, photos = self.regions[phi]
        counted = torch.tensor([name not in without for name in self.ids], dtype=torch.bool)
        kept = counted[photos]
        if not kept.any():
            return None
        return commonness(features, regions[kept], photos[kept])


def _regions_of(
    store: FeatureStore, phi: DenseImageEncoder, ids: Sequence[str]
) -> tuple[Float[Tensor, "r C"], Int64[Tensor, " r"]]:
    rows: list[Tensor] = []
    photos: list[Tensor] = []
    for start in range(0, len(ids), _BATCH):
        features = store.features(phi, ids[start : start + _BATCH]).float()
        for number, labels in enumerate(_REGIONS.regions_of([features])):
            unit = F.normalize(features[number].flatten(1), dim=0)
            members = F.one_hot(labels.flatten().long())[:, 1:].float()  # 0 is none
            means = F.normalize(unit @ members, dim=0).T
            rows.append(means)
            photos.append(torch.full((len(means),), start + number))
    if not rows:
        return torch.empty(0, phi.info.dim), torch.empty(0, dtype=torch.int64)
    return torch.cat(rows), torch.cat(photos)
