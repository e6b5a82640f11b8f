"""Which photos are refined together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_MOST = 64_000_000
"""Maximum of photos x maps x pixels refined together; a single photo may have more."""


def refined_together(sizes: Sequence[tuple[int, int]], maps: int) -> Iterator[list[int]]:
    """Indices of photos of equal size, as many as are refined at a time.

    Args:
        sizes: Height and width of each photo.
        maps: Number of score maps of a photo.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for index, size in enumerate(sizes):
        groups.setdefault(size, []).append(index)
    for (height, width), group in groups.items():
        count = max(1, _MOST // (maps * height * width))
        for start in range(0, len(group), count):
            yield group[start : start + count]
