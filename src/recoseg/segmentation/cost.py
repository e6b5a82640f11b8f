"""How much memory a photo needs, estimated before it is scaled and encoded.

Strangers' photos can be small files and yet need any amount of memory: a long and thin one of 2 KB
is enlarged until its short side fits the encoders. The estimate for one photo counts:

    photo     8 h w bytes of the photo (Pillow keeps RGB in 4 bytes) and of its labels, 6 H W of the
              input and of its batch
    decoding  30 h w bytes in all, of which grey of 32 bits needs the most
    encoder   350 P bytes, P the pixels that are encoded at a time: all H W, or those of a batch of
              windows; the networks at hand need 85 to 350 bytes per pixel of their input
    grids     4 gh gw (d + 2 c) bytes for each branch; of windows 8 gh gw (d + c), gh x gw being
              the cells of all windows side by side
    matrices  4 g (h + w) bytes for each branch, g the cells along an axis, and five times the
              largest one while that is built
    scores    4 c s w bytes for each branch and three more, s the rows of a strip; or, where scores
              are refined, 16 (c + 1) h w + 256 h w bytes, and for LPOSS+ 6 n h w, n the pixels of
              the square of neighbours. For PAMR 1.5 GB at most, which refines larger photos in
              strips (see `recoseg.refinement.pamr_strips`), or with more than 380 classes and the
              published settings 4 MB for each of them
    patches   180 p n bytes for LPOSS, p the cells of the smallest stride and n the neighbours of
              each, and half a GB at most besides
    regions   24 h w + 8 c r bytes where regions vote on scores, r <= 65,536 the regions; 60 h w in
              the place of 24 h w where they vote on labels
    specks    40 h w bytes where small parts of the label maps are removed
    instances 60 h w bytes where single things are told apart
    kept      2 c h w bytes where scores are kept, and as many again while they are written
    overlay   40 h w bytes, h w at most `MAX_OVERLAY`, and 4 h w of other buffers of the writers

with h x w the photo's size, H x W that of the input, gh x gw that of a grid, d the length of the
features and c the number of classes. Decoding, encoding, scores and writing follow each other, so
only the largest of them counts. What the program itself needs, and the weights of its models, come
in addition.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from recoseg.allocator import LIMIT, memory_limit
from recoseg.drawing.overlay import MAX_OVERLAY
from recoseg.encoders.extract import ENCODING_BYTES
from recoseg.errors import BadImageError
from recoseg.refinement.lposs import LpossSettings
from recoseg.refinement.refiner import PamrRefiner, Refiner, RefineSettings
from recoseg.segmentation.label_maps import MAX_STRIP
from recoseg.segmentation.voting import VoteForm
from recoseg.segmentation.windows import window_starts

_DECODING = 30
"""Bytes that decoding needs per pixel of the photo, with the content of its file."""

_OVERLAY = 40
"""Bytes that an overlay needs per pixel, with its legend."""

_WRITING = 4
"""Bytes that writers need per pixel of the photo, in addition to overlays."""

_BUILDING = 5
"""Matrices of its size that exist while a matrix is built."""

_REGIONS: Mapping[VoteForm, int] = {"mean": 24, "mode": 60}
"""Bytes that dividing a photo and its vote need per pixel."""

_SPECKS = 40
"""Bytes that removing small parts of a label map needs per pixel."""

_INSTANCES = 60
"""Bytes that telling single things apart needs per pixel."""

_MOST_REGIONS = 65_536
"""Regions that a photo is expected to have at most."""

_PAIR = 180
"""Bytes that LPOSS needs per patch and neighbour."""

_PRODUCTS = 500_000_000
"""Bytes that LPOSS needs at most for the products of patches."""

OUT_OF_MEMORY = "needs more memory than there is; use a smaller --resize, or --window"
"""The reason why a photo for which memory ran out has no masks."""


@dataclass(frozen=True)
class Cost:
    """What decides how much memory a photo needs.

    Attributes:
        grids: Stride and length of the features of each branch.
        classes: Number of classes with scores.
        window: Side of the windows, pixels; None where whole photos are encoded.
        step: Pixels from one window to the next.
        batch_size: Windows that are encoded together.
        refiner: Refines the scores, if they are refined.
        keep_scores: Whether scores are kept.
        spreading: The parameters of LPOSS, if scores are spread between patches.
        votes: What regions vote on, if they do.
        cleans: Whether small parts of the label maps are removed.
        tells_apart: Whether single things are told apart.
    """

    grids: tuple[tuple[int, int], ...]
    classes: int
    window: int | None = None
    step: int = 0
    batch_size: int = 1
    refiner: Refiner | None = None
    keep_scores: bool = False
    spreading: LpossSettings | None = None
    votes: VoteForm | None = None
    cleans: bool = False
    tells_apart: bool = False

    def bytes_of(
        self,
        photo: tuple[int, int],
        given: tuple[int, int],
        labelled: tuple[int, int] | None = None,
    ) -> int:
        """The estimate for one photo, bytes.

        Args:
            photo: Width and height of the photo.
            given: Width and height of the encoders' input.
            labelled: Width and height of the part that is labelled, if it is not the whole photo.
        """
        labelled = labelled or photo
        pixels, inputs = photo[0] * photo[1], given[0] * given[1]
        label_pixels = labelled[0] * labelled[1]
        at_once = inputs
        windows = [1, 1]
        if self.window is not None and max(given) > self.window:
            at_once = min(inputs, self.window**2) * self.batch_size
            windows = [len(window_starts(side, self.window, self.step)) for side in given]
        sides = [min(side, self.window or side) for side in given]
        grids = building = matrices = 0
        for stride, dim in self.grids:
            cells = [count * -(-side // stride) for count, side in zip(windows, sides, strict=True)]
            maps = dim + 2 * self.classes if windows == [1, 1] else 2 * (dim + self.classes)
            grids += 4 * cells[0] * cells[1] * maps
            for count, input_side, side in zip(cells, given, photo, strict=True):
                matrices += 4 * count * side
                padded = -(-input_side // stride) * stride
                building = max(building, 4 * count * max(padded, side))
        scores = matrices + max(_BUILDING * building, self._scores(labelled))
        scores += max(_SPECKS * self.cleans, _INSTANCES * self.tells_apart) * label_pixels
        kept = 2 * self.classes * pixels if self.keep_scores else 0
        voting, spreading = self._voting(pixels), self._spreading(inputs)
        segmenting = 6 * inputs + grids + kept + voting + spreading
        segmenting += max(ENCODING_BYTES * at_once, scores)
        # Whatever the writers are: the segmenter does not know them.
        writing = 2 * kept + _OVERLAY * min(pixels, MAX_OVERLAY) + _WRITING * pixels
        return max(_DECODING * pixels, 8 * pixels + max(segmenting, writing))

    def _voting(self, pixels: int) -> int:
        if self.votes is None:
            return 0
        return _REGIONS[self.votes] * pixels + 8 * self.classes * min(pixels, _MOST_REGIONS)

    def _spreading(self, inputs: int) -> int:
        if self.spreading is None:
            return 0
        cells = -(-inputs // min(stride for stride, _ in self.grids) ** 2)
        near = min(cells, self.spreading.neighbours)
        return _PAIR * cells * near + min(_PRODUCTS, 16 * cells**2)

    def _scores(self, photo: tuple[int, int]) -> int:
        width, height = photo
        if self.refiner is not None:
            return self.refiner.bytes_of(self.classes + 1, height, width)
        rows = min(height, max(1, MAX_STRIP // (self.classes * width)))
        return 4 * self.classes * rows * width * (len(self.grids) + 3)


class MemoryGuard:
    """Refuses photos that need more memory than the limit; see `memory_limit`.

    Args:
        costs: Those of each segmenter; the largest counts.
    """

    def __init__(self, costs: list[Cost]) -> None:
        self._costs = costs
        self._limit = memory_limit()
        if torch.cuda.is_available():
            devices = range(torch.cuda.device_count())
            sizes = [torch.cuda.get_device_properties(index).total_memory for index in devices]
            self._limit = max(self._limit, *sizes)

    def check(self, photo: tuple[int, int], given: tuple[int, int]) -> None:
        """Check a photo by its own size and that of the encoders' input, each (width, height).

        Raises:
            BadImageError: It needs more memory than the limit.
        """
        needed = self._bytes_of(photo, given)
        if needed > self._limit:
            raise BadImageError(
                f"needs about {needed / 1e9:.1f} GB of memory, more than the limit of "
                f"{self._limit / 1e9:.1f} GB; {self._way_out(photo, given)}, or set {LIMIT} (GB)"
            )

    def _way_out(self, photo: tuple[int, int], given: tuple[int, int]) -> str:
        """What the user can do about a photo that needs too much."""
        for refiner, way in (
            (PamrRefiner(RefineSettings("pamr")), "use --refine pamr, which works in strips"),
            (None, "leave out --refine"),
        ):
            others = [
                one if one.refiner is None else replace(one, refiner=refiner) for one in self._costs
            ]
            if max(one.bytes_of(photo, given) for one in others) <= self._limit:
                return f"its refinement is what needs most: {way}"
        return "use a smaller --resize, or --window"

    def count(self, photo: tuple[int, int], given: tuple[int, int]) -> int:
        """How many photos of this size fit within the limit together; at least one."""
        return max(1, self._limit // max(1, self._bytes_of(photo, given)))

    def _bytes_of(self, photo: tuple[int, int], given: tuple[int, int]) -> int:
        return max(cost.bytes_of(photo, given) for cost in self._costs)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error means that memory ran out, on the CPU or on another device."""
    text = str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError)
        and ("can't allocate memory" in text or "not enough memory" in text)
    )
