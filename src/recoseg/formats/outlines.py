"""Outlines of regions as polygons along the sides of their pixels, exact or simplified."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from recoseg.errors import MissingExtraError

if TYPE_CHECKING:
    from shapely import Polygon

TOLERANCE = 1.0
"""How far, in pixels, a simplified outline may be from the exact one."""

_OF_WIDTH = 8
"""The tolerance of a polygon is at most its mean width divided by this, which keeps thin parts."""

_INSET = 0.49
"""Pixels by which `inset` moves an outline: nearly to the centres of the outermost pixels."""

Ring = Float[np.ndarray, "_ 2"]
"""The corners x, y of a closed outline, pixels from the top left corner of the photo, without the
first one again."""


def outlines(numbers: Int[np.ndarray, "h w"]) -> dict[int, list[Polygon]]:
    """The exact outlines of all parts of a photo, along the sides of pixels.

    A part that hangs together by corners of pixels alone has several polygons, which touch there.

    Args:
        numbers: The number of the part that each pixel belongs to; 0 is background.

    Returns:
        The polygons, with their holes, by the number of the part.

    Raises:
        MissingExtraError: shapely is not installed.
    """
    shapely = _shapely()
    faces = shapely.get_parts(shapely.polygonize(shapely.linestrings(_sides(numbers))))
    found: defaultdict[int, list[Polygon]] = defaultdict(list)
    if len(faces):
        faces = shapely.normalize(faces)  # outer rings run clockwise where y points up
        first = np.cumsum([0, *shapely.get_num_coordinates(faces)[:-1]])
        corners = shapely.get_coordinates(faces)
        step = np.sign(corners[first + 1] - corners[first])
        # Half a step along the first side, and half a pixel to its inner side.
        x, y = (corners[first] + (step + np.stack([step[:, 1], -step[:, 0]], 1)) / 2).T
        inner = numbers[np.floor(y).astype(int), np.floor(x).astype(int)]
        for number, face in zip(inner.tolist(), faces, strict=True):
            if number:
                found[number].append(face)
    return found


def simplified(polygon: Polygon, tolerance: float) -> Polygon:
    """A polygon with fewer corners, and with the same holes.

    Args:
        polygon: The polygon.
        tolerance: How far the outline may move, pixels; thin polygons use less: at most an eighth
            of their mean width.
    """
    width = 2 * polygon.area / polygon.length
    allowed = min(tolerance, width / _OF_WIDTH)
    return polygon.simplify(allowed, preserve_topology=True) if allowed > 0 else polygon


def inset(polygon: Polygon) -> Polygon:
    """Move an exact outline inwards by 0.49 pixels.

    Drawing functions such as OpenCV's `fillPoly` also paint the pixels that an outline runs
    through, and so paint the pixels of the polygon and no others.

    Args:
        polygon: A polygon from `outlines`.
    """
    shapely = _shapely()
    oriented = shapely.normalize(polygon)
    rings = [np.asarray(ring.coords) for ring in (oriented.exterior, *oriented.interiors)]
    if len(rings) == 1:
        return shapely.Polygon(_moved(rings[0], np.zeros(len(rings[0]) - 1, bool)))
    corners = np.concatenate([ring[:-1] for ring in rings])
    _, where, uses = np.unique(corners, axis=0, return_inverse=True, return_counts=True)
    ends = np.cumsum([len(ring) - 1 for ring in rings])[:-1]
    touching = np.split(uses[where.ravel()] > 1, ends)
    moved = [_moved(ring, shared) for ring, shared in zip(rings, touching, strict=True)]
    return shapely.Polygon(moved[0], moved[1:])


def one_ring(polygons: Sequence[Polygon]) -> Ring:
    """One closed outline of several polygons with holes, for formats that have no holes.

    The outlines are joined by bridges without width, each of which is passed in both directions:
    from each hole straight to the left, and between the nearest corners of two polygons.

    Args:
        polygons: One or more polygons.
    """
    ring, *others = (_without_holes(polygon) for polygon in polygons)
    if not others:
        return ring
    from scipy.spatial import KDTree

    # Of each further polygon the distance to those that are joined, and the corners of the bridge.
    gaps = [(np.inf, ring[0], 0)] * len(others)
    last = ring
    while others:
        tree = KDTree(last)
        for index, other in enumerate(others):
            distances, places = tree.query(other)
            start = int(distances.argmin())
            if distances[start] < gaps[index][0]:
                gaps[index] = float(distances[start]), last[places[start]], start
        nearest = min(range(len(gaps)), key=lambda index: gaps[index][0])
        (_, corner, start), last = gaps.pop(nearest), others.pop(nearest)
        at = int((ring == corner).all(1).argmax())
        ring = np.concatenate([ring[: at + 1], _from(last, start), ring[at:]])
    return ring


def _without_holes(polygon: Polygon) -> Ring:
    """The outline of a polygon, with a bridge to each hole.

    From the leftmost corner of a hole, what comes first on the left is the outline or another hole,
    which reaches further to the left: in this order the bridges end at what is joined already.
    """
    ring: Ring = np.asarray(polygon.exterior.coords)[:-1]
    holes = [np.asarray(hole.coords)[:-1] for hole in polygon.interiors]
    for hole in sorted(holes, key=lambda hole: float(hole[:, 0].min())):
        start = int(hole[:, 0].argmin())
        x, y = hole[start]
        (x0, y0), (x1, y1) = ring.T, np.roll(ring, -1, axis=0).T
        with np.errstate(divide="ignore", invalid="ignore"):
            level = y0 == y1
            hit = np.where(level, np.maximum(x0, x1), x0 + (y - y0) * (x1 - x0) / (y1 - y0))
        meets = (np.minimum(y0, y1) <= y) & (y <= np.maximum(y0, y1)) & (hit <= x)
        at = int(np.where(meets, hit, -np.inf).argmax())
        end = np.array([[hit[at], y]])
        ring = np.concatenate([ring[: at + 1], end, _from(hole, start), end, ring[at + 1 :]])
    return ring


def _from(ring: Ring, start: int) -> Ring:
    """A ring that begins and ends at one of its corners."""
    turned = np.roll(ring, -start, axis=0)
    return np.concatenate([turned, turned[:1]])


def _moved(corners: Float[np.ndarray, "_ 2"], touching: Bool[np.ndarray, points]) -> np.ndarray:
    """A closed ring of sides along the axes, moved to its right where y points up.

    Args:
        corners: The ring, with its first corner again at the end.
        touching: Which corners another ring of the polygon has, too: the pixel at which the moved
            sides meet is none of the polygon's there, so they end half a pixel earlier.
    """
    along = np.sign(np.diff(corners, axis=0))
    inwards = np.stack([along[:, 1], -along[:, 0]], 1)
    before, inwards_before = np.roll(along, 1, axis=0), np.roll(inwards, 1, axis=0)
    # Where two sides go on in the same direction, their common corner moves once.
    turns = (before != along).any(1, keepdims=True)
    moved = corners[:-1] + _INSET * (inwards + inwards_before * turns)
    ends = corners[:-1] + _INSET * inwards_before - before / 2
    starts = corners[:-1] + _INSET * inwards + along / 2
    both = np.where(touching[:, None, None], np.stack([ends, starts], 1), moved[:, None])
    ring = both[np.stack([np.ones(len(touching), bool), touching], 1)]
    return np.concatenate([ring, ring[:1]])


def _sides(numbers: Int[np.ndarray, "h w"]) -> Float[np.ndarray, "lines 2 2"]:
    """The lines between pixels of different numbers, which end wherever others meet them."""
    padded = np.pad(numbers, 1)
    across = padded[:-1, 1:-1] != padded[1:, 1:-1]  # (h + 1, w): between rows
    down = padded[1:-1, :-1] != padded[1:-1, 1:]  # (h, w + 1): between columns
    y, left, right = _runs(across, _meets(down))
    x, top, bottom = _runs(down.T, _meets(across.T))
    horizontal = np.stack([left, y, right, y], 1)
    vertical = np.stack([x, top, x, bottom], 1)
    return np.concatenate([horizontal, vertical]).reshape(-1, 2, 2).astype(float)


def _meets(sides: Bool[np.ndarray, "n m"]) -> Bool[np.ndarray, "below m"]:
    """The points where one of these sides begins or ends."""
    padded = np.pad(sides, ((1, 1), (0, 0)))
    return padded[:-1] | padded[1:]


def _runs(sides: np.ndarray, breaks: np.ndarray) -> tuple[Any, Any, Any]:
    """Row, start and stop of each run of sides in a row, without those breaks within it."""
    padded = np.pad(sides, ((0, 0), (1, 1)))
    before, after = padded[:, :-1], padded[:, 1:]
    row, start = np.nonzero(after & (~before | breaks))
    _, stop = np.nonzero(before & (~after | breaks))
    return row, start, stop


def _shapely() -> Any:
    try:
        import shapely
    except ImportError as error:
        raise MissingExtraError("shapely", "formats", "Outlines as polygons") from error
    return shapely
