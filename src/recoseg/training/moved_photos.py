"""Finding the photos of pseudo-labels where they, or both, have been moved."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from recoseg.errors import DatasetError
from recoseg.photos.filesystems import is_url
from recoseg.photos.refs import composed, split_member
from recoseg.photos.sources import list_sources
from recoseg.storage.counts import count_of
from recoseg.training.pseudo_labels import PseudoLabelled

_SHOWN = 5  # photos in an error


def photo_paths(
    photos: Sequence[PseudoLabelled], folder: Path, images: Path | None = None
) -> list[str]:
    """The path of each photo as it can be read now.

    A photo that is no longer at its recorded path is looked for by its path relative to the folder
    of the pseudo-labels. If the photos are given, they are found by the end of their recorded
    path: the one with the most folders in common is taken, with another suffix if there is none. No
    photo is taken twice: it belongs to the path that has more in common with it.

    Args:
        photos: The photos.
        folder: The folder of their pseudo-labels.
        images: Folder, tar shard or list of the photos; None if they have not been moved.

    Raises:
        DatasetError: A photo is not among the images, or several of them fit equally.
    """
    if images is None:
        return [_path(photo, folder) for photo in photos]
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for source in list_sources([images]):
        for found in source.photos:
            if not found.failure:
                by_name[_parts(found.path)[-2]].append(found.path)
    fits = _fits([_best(_parts(photo.path), by_name) for photo in photos])
    uses = Counter(path for paths in fits for path in paths)
    pairs = list(zip(photos, fits, strict=True))
    missing = [photo.path for photo, paths in pairs if not paths]
    several = [
        photo.path for photo, paths in pairs if len(paths) > 1 or any(uses[p] > 1 for p in paths)
    ]
    if missing or several:
        wrong = missing or several
        shown = ", ".join(wrong[:_SHOWN]) + (", ..." if len(wrong) > _SHOWN else "")
        raise DatasetError(
            f"{'No photo' if missing else 'No single photo'} in {images} for {len(wrong):,} of "
            f"{count_of(len(photos), 'photos')}: {shown}. Expected the folder of the photos as it "
            "was, wherever it is now."
        )
    return [paths[0] for paths in fits]


def _path(photo: PseudoLabelled, folder: Path) -> str:
    """The recorded path, or else the one relative to the folder if there is such a file."""
    if not photo.relative or is_url(photo.path) or _is_file(photo.path):
        return photo.path
    beside = os.path.normpath(folder.resolve() / photo.relative)
    return beside if _is_file(beside) else photo.path


def _is_file(path: str) -> bool:
    try:
        return Path(split_member(path)[0]).is_file()
    except (OSError, ValueError):  # a folder that is closed, or a NUL in the name
        return False


def _parts(path: str) -> list[str]:
    """The folders, the name and the suffix of a photo, in the form in which names are compared."""
    *folders, name = [part for part in re.split(r"[/\\]|(?<=\.tar)::", composed(path)) if part]
    return [*folders, Path(name).stem, Path(name).suffix]


def _fits(best: list[tuple[tuple[int, bool], list[str]]]) -> list[list[str]]:
    """The photos that fit each path, without those that fit another path better."""
    most: defaultdict[str, tuple[int, bool]] = defaultdict(lambda: (0, False))
    for common, paths in best:
        for path in paths:
            most[path] = max(most[path], common)
    return [[path for path in paths if common == most[path]] for common, paths in best]


def _best(parts: list[str], by_name: dict[str, list[str]]) -> tuple[tuple[int, bool], list[str]]:
    """The photos whose paths have the most last parts in common with a path, and its suffix.

    Returns:
        How many parts are in common and whether the suffix is, and the paths of the photos.
    """
    common: defaultdict[tuple[int, bool], list[str]] = defaultdict(list)
    *names, suffix = parts
    for path in by_name.get(names[-1], []):
        *theirs, other = _parts(path)
        pairs = zip(reversed(names), reversed(theirs), strict=False)
        same = next((at for at, (one, two) in enumerate(pairs) if one != two), None)
        count = min(len(names), len(theirs)) if same is None else same
        common[count, suffix.lower() == other.lower()].append(path)
    return max(common.items()) if common else ((0, False), [])
