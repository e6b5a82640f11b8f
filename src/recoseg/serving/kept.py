"""The last segmented photos, for layers and downloads."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass

from PIL import Image

from recoseg.labels import Segmentation
from recoseg.serving.limits import Limits
from recoseg.serving.refusals import RefusedError


@dataclass(frozen=True, eq=False)
class KeptResult:
    """A segmented photo.

    Attributes:
        name: Name of its file, without folders and suffix, safe on every file system.
        photo: The bytes of its file.
        image: The decoded photo, upright RGB.
        segmentation: Its label map.
    """

    name: str
    photo: bytes
    image: Image.Image
    segmentation: Segmentation

    @property
    def nbytes(self) -> int:
        """About the memory that it takes, bytes."""
        maps = self.segmentation.labels.nbytes
        if self.segmentation.probabilities is not None:
            maps += self.segmentation.probabilities.values.nbytes
        return len(self.photo) + 3 * self.image.width * self.image.height + maps


class KeptResults:
    """The last results by a name that nobody can guess; may be used by several threads.

    Args:
        limits: How many are kept, and how much memory they take; the last one is always kept.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._results: OrderedDict[str, KeptResult] = OrderedDict()

    def add(self, result: KeptResult) -> str:
        """Keep a result in the place of the oldest ones, and return its name."""
        name = secrets.token_hex(16)
        with self._lock:
            self._results[name] = result
            while len(self._results) > 1 and (
                len(self._results) > self._limits.results
                or sum(one.nbytes for one in self._results.values()) > self._limits.result_bytes
            ):
                self._results.popitem(last=False)
        return name

    def get(self, name: str) -> KeptResult:
        """A result by its name.

        Raises:
            RefusedError: There is none, or it is no longer kept.
        """
        with self._lock:
            found = self._results.get(name)
        if found is None:
            raise RefusedError(
                404,
                "This result is no longer kept: the server keeps only those of the last photos. "
                "Segment the photo again.",
            )
        return found
