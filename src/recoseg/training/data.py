"""From a training set to batches, as a pure function of random seed and position."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from recoseg.errors import BadImageError, DatasetError
from recoseg.photos.images import to_tensor
from recoseg.training.augment import augment, build_transform, mixed_seed
from recoseg.training.recipe import Augmentation
from recoseg.training.training_set import TrainingPhoto

Batch = dict[str, Tensor]
"""`images` (n, 3, s, s) uint8, `labels` (n, s, s) int64, `confidence` (n, s, s) in [0, 1], and
`positions` (n,) int64."""


@functools.lru_cache(maxsize=4)
def _order(seed: int, photos: int, round_: int) -> np.ndarray:
    return np.random.default_rng((seed, round_)).permutation(photos)


def photo_at(position: int, photos: int, seed: int) -> int:
    """The index of the photo at a position of the endless stream of photos.

    Every photo comes once, in a random order, before any comes again.

    Example:
        >>> sorted(photo_at(position, 3, seed=0) for position in range(3, 6))
        [0, 1, 2]
    """
    return int(_order(seed, photos, position // photos)[position % photos])


class TrainingStream(Dataset[Batch]):
    """The endless stream: an augmented photo, its labels and confidence at each position.

    Args:
        photos: Photos to train on.
        augmentation: How they are augmented.
        seed: Random seed of order and augmentation.
    """

    def __init__(
        self, photos: Sequence[TrainingPhoto], augmentation: Augmentation, seed: int
    ) -> None:
        self._photos = photos
        self._transform = build_transform(augmentation)
        self._seed = seed

    def __getitem__(self, position: int) -> Batch:
        """The photo at a position; it does not depend on what was read before.

        Raises:
            DatasetError: The photo or its mask has changed since it was checked.
        """
        photo = self._photos[photo_at(position, len(self._photos), self._seed)]
        try:
            image, labels, levels = photo.read()
        except BadImageError as error:
            raise DatasetError(f"{photo.name} can no longer be trained on: {error}.") from error
        masks = torch.from_numpy(np.stack([labels, levels]))
        pixels, found = augment(
            self._transform, to_tensor(image), masks, mixed_seed(self._seed, position)
        )
        return {
            "images": pixels,
            "labels": found[0].long(),
            "confidence": found[1].float() / 255,
            "positions": torch.tensor(position),
        }


class StreamPositions(Sampler[list[int]]):
    """The positions in the stream of each batch of one process.

    The positions of a step are consecutive. Its accumulated parts, and within them the processes,
    take one piece after the other, so a step trains on the same photos however it is divided.

    Args:
        steps: Number of steps of the whole run.
        batch_size: Photos per step, over all processes and accumulated parts.
        parts: Number of accumulated parts of a step.
        rank: Rank of this process.
        processes: Number of processes.
        start: First step; the length stays that of the whole run.
    """

    def __init__(
        self,
        steps: int,
        batch_size: int,
        parts: int = 1,
        rank: int = 0,
        processes: int = 1,
        start: int = 0,
    ) -> None:
        self._steps, self._batch_size, self._parts = steps, batch_size, parts
        self._rank, self._processes, self._start = rank, processes, start
        self._piece = batch_size // (parts * processes)

    def __iter__(self) -> Iterator[list[int]]:
        """One list of positions per batch."""
        for step in range(self._start, self._steps):
            for part in range(self._parts):
                number = part * self._processes + self._rank
                first = step * self._batch_size + number * self._piece
                yield list(range(first, first + self._piece))

    def __len__(self) -> int:
        """Number of batches of the whole run."""
        return self._steps * self._parts
