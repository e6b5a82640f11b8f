"""A sequence of frames: a film, or photos in their order."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from PIL import Image

from recoseg.errors import RecosegError
from recoseg.photos.exclusion import but_not
from recoseg.photos.files import LIST_SUFFIXES
from recoseg.photos.films import but_films
from recoseg.photos.load import load_whole
from recoseg.photos.refs import IMAGE_SUFFIXES, Photo, local_stamp
from recoseg.photos.sources import list_sources
from recoseg.video.film import Film, open_film
from recoseg.writers.names import output_names


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """A frame of a sequence.

    Attributes:
        number: Its number, from 0.
        name: Name of its output files, without suffix.
        photo: What is recorded of it: `FILM#NUMBER` or the path of the photo; with a failure if it
            cannot be read.
        seconds: Its time from the start of the film; None for photos and where it is not known.
        image: Its pixels, upright, RGB; None if they were not asked for or cannot be read.
    """

    number: int
    name: str
    photo: Photo
    seconds: float | None = None
    image: Image.Image | None = None


class Frames(Protocol):
    """Frames in their order."""

    @property
    def path(self) -> str:
        """The film, or the folder or list of photos."""

    @property
    def name(self) -> str:
        """The folder of its outputs, unique in a run."""

    @property
    def count(self) -> int | None:
        """The number of frames, as far as it is known before they are read."""

    def photo(self, number: int) -> Photo | None:
        """What is recorded of a frame; None if there is none of this number."""

    def frames(self, start: int = 0) -> Iterator[VideoFrame]:
        """All frames; those before `start` without pixels.

        Raises:
            BadImageError: The film cannot be read at all.
        """

    @property
    def notes(self) -> list[str]:
        """What was wrong with what has been read, in sentences."""


class FilmSequence:
    """The frames of a film."""

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = str(path), name
        self.count: int | None = None
        self._stamp = local_stamp(path.stat())
        self._film: Film | None = None

    def photo(self, number: int) -> Photo:
        """See `Frames`."""
        return Photo(f"{self.path}#{number}", self._stamp)

    def frames(self, start: int = 0) -> Iterator[VideoFrame]:
        """See `Frames`."""
        with open_film(Path(self.path)) as film:
            self._film, self.count = film, film.count
            for number, (seconds, image) in enumerate(film.frames(start)):
                name, photo = f"{self.name}/{number:06d}", self.photo(number)
                if image is None and number >= start:
                    photo = photo.failed("its colours cannot be read")
                yield VideoFrame(number, name, photo, seconds, image)

    @property
    def notes(self) -> list[str]:
        """See `Frames`."""
        return [] if self._film is None else self._film.notes


class PhotoSequence:
    """Photos as frames."""

    def __init__(self, path: str, name: str, photos: list[Photo]) -> None:
        self.path, self.name = path, name
        self.count: int | None = len(photos)
        inner = [f"{name}/{photo.below or Path(photo.path).name}" for photo in photos]
        names = output_names([photo.path for photo in photos], (), inner)
        self._photos = list(zip(names, photos, strict=True))
        self.notes: list[str] = []

    def photo(self, number: int) -> Photo | None:
        """See `Frames`."""
        return self._photos[number][1] if number < len(self._photos) else None

    def frames(self, start: int = 0) -> Iterator[VideoFrame]:
        """See `Frames`."""
        for number, (name, photo) in enumerate(self._photos):
            frame = VideoFrame(number, name, photo)
            if number >= start:
                loaded = load_whole(photo, 0)
                if isinstance(loaded, Photo):
                    frame = replace(frame, photo=loaded)
                else:
                    frame = replace(frame, photo=loaded.photo, image=loaded.image)
            yield frame


def list_sequences(
    paths: Iterable[str], out: Path, exclude: str | Iterable[str] = ()
) -> list[Frames]:
    """The sequences that are given: each film, and each folder, list or shard of photos.

    Args:
        paths: The films and folders.
        out: The folder that masks are written to.
        exclude: Patterns of photos that are left out; see `Exclusion`.

    Raises:
        ArchiveError: A source does not exist, or is neither a film nor photos.
        RecosegError: A folder holds no photos, or is the output folder.
    """
    given = [os.fspath(path) for path in paths]
    names = output_names(given)
    found: list[Frames] = []
    for path, name in zip(given, names, strict=True):
        if is_film(path):
            found.append(FilmSequence(Path(path), name))
            continue
        if Path(path).resolve() == out.resolve():
            raise RecosegError(
                f"The output folder {out} is a source of frames, too. Write to another folder."
            )
        listed = list_sources([path], exclude)
        photos = [
            replace(photo, below=source.below(photo))
            for source in listed
            for photo in source.photos
        ]
        if not photos:
            raise RecosegError(
                f"No photos found in {path}. Expected a film, or a folder with its frames as photos"
                f"{but_not(exclude)}{but_films([path])}"
            )
        found.append(PhotoSequence(path, name, photos))
    return found


def is_film(path: str) -> bool:
    """Whether a path is a local file that is neither a photo nor a list or shard of photos."""
    suffix = Path(path).suffix.lower()
    return suffix not in (*IMAGE_SUFFIXES, *LIST_SUFFIXES, ".tar") and Path(path).is_file()
