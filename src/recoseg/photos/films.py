"""Films where photos are expected: they are told apart by their names, and segmented otherwise."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from recoseg.photos.walk import Rules, walk
from recoseg.storage.counts import count_of

_SUFFIXES = """
.mp4 .m4v .mov .3gp .3g2 .mj2 .mkv .webm .avi .mts .m2ts .mpg .mpeg .flv .ogv .wmv .asf .ivf
"""
FILM_SUFFIXES = frozenset(_SUFFIXES.split())
"""Extensions of films, in lower case; case is ignored."""


def is_film_name(name: str) -> bool:
    """Whether a file name has the extension of a film.

    Example:
        >>> is_film_name("clips/a.MP4"), is_film_name("a.jpg")
        (True, False)
    """
    return Path(name).suffix.lower() in FILM_SUFFIXES


def but_films(sources: Iterable[str | os.PathLike[str]]) -> str:
    """What is said of films in folders where no photos were found.

    Args:
        sources: The sources that were searched; all but local folders are passed over.

    Returns:
        Two sentences that begin with a space; nothing if there are no films.
    """
    films = [
        entry.path
        for source in sources
        if Path(source).is_dir()
        for entry in walk(os.fspath(source), Rules(lambda folder, error: None))
        if is_film_name(entry.name)
    ]
    if not films:
        return ""
    return (
        f" Found {count_of(len(films), 'films')}, such as {films[0]}. Films are segmented by "
        "`recoseg segment --video`, if each is given by its own name."
    )
