"""The photos of folders, lists, shards and globs among photos in other forms."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from recoseg.photos.files import LIST_SUFFIXES, is_folder
from recoseg.photos.filesystems import file_system
from recoseg.photos.load import LoadedPhoto, PhotoInput, check_iterable
from recoseg.photos.refs import is_image_name, split_member
from recoseg.photos.sources import list_sources

_LISTED = (".tar", *LIST_SUFFIXES)


def each_photo(
    given: str | os.PathLike[str] | Iterable[PhotoInput | LoadedPhoto],
) -> Iterator[PhotoInput | LoadedPhoto]:
    """Iterate over photos, and over the photos of the sources among them.

    Args:
        given: One path or source, or an iterable of photos, paths and sources. A path is a source
            if it is a folder, a list, a tar shard or a glob; see `list_sources`.

    Yields:
        The photos, in order; each source is listed when its turn comes.

    Raises:
        ArchiveError: A source does not exist or cannot be listed.
        RecosegError: It is neither a photo nor an iterable of photos.
    """
    if not isinstance(given, str | os.PathLike):
        check_iterable(given)
    for item in [given] if isinstance(given, str | os.PathLike) else given:
        if isinstance(item, str | os.PathLike) and _is_source(os.fspath(item)):
            for source in list_sources([item]):
                yield from source.photos
        else:
            yield item


def _is_source(path: str) -> bool:
    if split_member(path)[1]:
        return False
    if any(sign in path for sign in "*?[{") or path.lower().endswith(_LISTED):
        return True
    if is_image_name(path):
        return False
    fs, inner = file_system(path)
    try:
        return is_folder(fs, inner) or not fs.exists(inner)
    except Exception:  # each file system raises its own types of errors; reading it says why
        return False
