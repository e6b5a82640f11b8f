"""Checks that need no model: outputs, photos, names of encoders."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from recoseg.encoders.encoder_table import check_recorded, find_row, is_own
from recoseg.encoders.protocols import EncoderInfo
from recoseg.encoders.spec import EncoderRole, parse_spec
from recoseg.encoders.weight_sources import HubFolder
from recoseg.errors import MissingWeightsError, OptionError, OutputError, RecosegError
from recoseg.hub.address import is_hub
from recoseg.photos.exclusion import but_not
from recoseg.photos.films import but_films
from recoseg.photos.refs import Photo
from recoseg.photos.sources import list_sources

Paths = str | Path | Sequence[str | Path]
"""One path, URL or glob, or several."""

_URL = re.compile("([A-Za-z][A-Za-z0-9+.-]+:)/")
"""The beginning of a URL, of which `Path` leaves one slash; a drive has one letter only."""

_IN_MEMORY = (bytes, bytearray, np.ndarray, Tensor, Image.Image)
"""Photos rather than lists of paths, although some can be iterated over."""

_TRIAL = 1 << 16  # bytes that a place for outputs must have room for


def as_list(paths: Paths) -> list[str]:
    """The paths as a list of strings.

    Raises:
        RecosegError: There are none, one of them is an empty text, or one is not a path.
    """
    several: list[Any] = [paths]
    if isinstance(paths, Iterable) and not isinstance(paths, (str, *_IN_MEMORY)):
        several = list(paths)
    for path in several:
        if not isinstance(path, str | os.PathLike):
            raise OptionError(
                f"Expected a path, a URL or a glob, or a list of those; got a "
                f"{type(path).__name__}. Photos in memory are segmented by "
                "recoseg.open_segmenter(bank)(photo)."
            )
    given = [os.fspath(path) for path in several]
    if "" in given:
        raise OptionError(
            "No photos are given: the name of a source is empty. Expected a path, a URL or a glob."
        )
    if not given:
        raise OptionError("No photos are given. Expected a file, folder, list, tar shard or glob.")
    return given


def check_output_folder(path: str | Path) -> Path:
    """The path of an output folder; refuse a folder that cannot be created or written to.

    Raises:
        RecosegError: The path is a file or a URL, or cannot be written to.
    """
    folder = _local(path)
    if folder.exists() and not folder.is_dir():
        raise RecosegError(f"{folder} is a file. Expected a folder to write to.")
    _check_writable(folder, folder)
    return folder


def check_output_file(path: str | Path, suffixes: Iterable[str] = ()) -> Path:
    """The path of an output file; refuse one that cannot be written.

    Args:
        path: The file.
        suffixes: Suffixes that its name may have; if there are none, any name is accepted.

    Raises:
        RecosegError: The path is a folder or a URL, has another suffix, or cannot be written.
    """
    file = _local(path)
    allowed = tuple(suffixes)
    if file.is_dir():
        raise RecosegError(f"{file} is a folder. Expected the name of a file to write.")
    if file.exists() and not file.is_file():  # such as /dev/null, which would be replaced
        raise RecosegError(f"{file} is not a regular file. Expected the name of a file to write.")
    if allowed and file.suffix.lower() not in allowed:
        raise OptionError(
            f"{file} does not end in {' or '.join(allowed)}. Add the ending to the file's name."
        )
    _check_writable(file.parent, file)
    return file


def refuse_to_replace(file: Path, *, overwrite: bool, source: object = None) -> None:
    """Refuse an output file that exists already.

    Args:
        file: The output file.
        overwrite: Whether the user allows it to be replaced.
        source: The file that the output is made of, if any, which may be updated in place.

    Raises:
        OutputError: It exists and would be replaced.
    """
    if overwrite or not file.exists():
        return
    if isinstance(source, str | Path) and Path(source).exists() and file.samefile(source):
        return
    raise OutputError(f"{file} exists already. Name another file, or replace it by --overwrite.")


def list_photos(paths: Paths, out: Path, exclude: str | Iterable[str] = ()) -> list[Photo]:
    """All photos of the sources, in order, with their paths `below` these; see `list_sources`.

    Args:
        paths: The sources.
        out: The folder that masks of the photos are written to.
        exclude: Patterns of photos and folders that are left out; see `Exclusion`.

    Raises:
        ArchiveError: A source does not exist or cannot be read.
        OutputError: A source is the output folder, whose masks would be photos of the next run.
        RecosegError: There are no photos.
    """
    sources = as_list(paths)
    listed = list_sources(sources, exclude)
    if any(Path(source.name).resolve() == out.resolve() for source in listed):
        raise OutputError(
            f"The output folder {out} is a source of photos, too, so its masks would be photos of "
            "the next run. Nothing was changed; write to another folder."
        )
    photos = [
        replace(photo, below=source.below(photo)) for source in listed for photo in source.photos
    ]
    if not photos:
        raise RecosegError(
            f"No photos found in {', '.join(sources)}. Expected files that are not hidden and have "
            f"the extension of an image, such as .jpg or .png{but_not(exclude)}{but_films(sources)}"
        )
    return photos


def check_encoder(spec: object, role: EncoderRole) -> None:
    """Refuse an encoder that is not in the table, or whose weights do not exist.

    Args:
        spec: `NAME` or `NAME=WEIGHTS`, or the `EncoderInfo` that an index or a bank has recorded.
            Anything else is an encoder that is loaded already and is accepted.
        role: The role of the encoder.

    Raises:
        UnknownNameError: There is no such encoder for this role.
        MissingWeightsError: The file or folder of its weights does not exist.
        RecosegError: The recorded encoder was not built by name.
    """
    if isinstance(spec, EncoderInfo):
        check_recorded(spec, role)
    if not isinstance(spec, str):
        return
    parsed = parse_spec(spec)
    row = None if is_own(parsed.name, role) else find_row(parsed.name, role)[0]
    if not parsed.weights or parsed.is_random:
        return
    place = Path(parsed.weights).expanduser()
    takes_folder = row is not None and isinstance(row.source, HubFolder)
    if not (place.is_dir() if takes_folder else place.is_file()):
        what = "folder" if takes_folder else "file"
        raise MissingWeightsError(
            f"No weights {what} was found at {parsed.weights!r} (named in {spec!r}).\n"
            f"Name an existing {what}, or leave it out to use the published weights of "
            f"{parsed.name}."
        )


def _local(path: str | Path) -> Path:
    text = os.fspath(path)
    if not text:
        raise OptionError("The name of an output is empty. Expected a local path.")
    if is_hub(path):
        raise OptionError(
            f"Cannot write to {text}. Expected a local path: write a file or folder here, and "
            "upload it by `recoseg push FILE OWNER/NAME`."
        )
    url = _URL.match(text)
    if url and not Path(url[1]).exists():
        address = text if "://" in text else text.replace(":/", "://", 1)
        raise OptionError(f"Cannot write to {address}. Expected a local path.")
    found = Path(text).expanduser()
    try:
        found.exists()
    except (OSError, ValueError) as error:  # a name that is too long, or a folder that is closed
        raise _refused(found, error) from error
    return found


def _check_writable(folder: Path, target: Path) -> None:
    """Refuse a place where no file can be written, by writing one."""
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise RecosegError(f"Cannot write {target}: {existing} is not a folder.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise RecosegError(
            f"Cannot write {target}: no permission to write in {existing}. Choose another folder."
        )
    try:
        with tempfile.TemporaryFile(dir=existing) as file:  # full disks and quotas show only so
            file.write(bytes(_TRIAL))
    except OSError as error:
        raise _refused(target, error) from error


def _refused(target: Path, error: Exception) -> RecosegError:
    reason = getattr(error, "strerror", None) or str(error)
    return RecosegError(f"Cannot write {target}: {reason}. Choose another place.")
