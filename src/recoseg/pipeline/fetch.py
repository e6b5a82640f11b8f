"""Getting weights before they are used (`recoseg fetch`)."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from recoseg.encoders.download import locate, size_of
from recoseg.encoders.inventory import NeededFile, files_of_encoder, files_of_preset
from recoseg.encoders.presets import preset as preset_of
from recoseg.encoders.weight_sources import HubFile, HubFolder, Located, PackageFile
from recoseg.encoders.weights import read_state_dict
from recoseg.errors import MissingWeightsError, RecosegError
from recoseg.storage.atomic import write_atomically
from recoseg.storage.paths import inside
from recoseg.storage.reading import open_regular


@dataclass(frozen=True)
class FetchedFile:
    """A weights file that is on this machine now.

    Attributes:
        needed: What it is for.
        path: The file.
        size: Its size, bytes.
        origin: Where it came from.
        portable: Whether it can be copied to another machine; files inside packages are installed
            there instead.
    """

    needed: NeededFile
    path: Path
    size: int
    origin: str
    portable: bool


def fetch(
    encoders: str | Iterable[str] = (),
    *,
    preset: str | None = None,
    to: str | Path | None = None,
) -> tuple[FetchedFile, ...]:
    """Download weights, so that they can be used without a network later.

    Files that are on this machine already are not downloaded again, so that a run that was
    interrupted goes on. Each file is opened once, which finds damaged ones.

    Args:
        encoders: Names of encoders, of the decoder `sam3`, and of trackers of films, such as
            `sam2`; see `recoseg.encoders.tracker_sources.TRACKERS`.
        preset: Name of a choice of encoders; None for none. With neither it is `lite`.
        to: Folder to collect copies in, in its folder `weights`. On another machine they are found
            if the environment variable `RECOSEG_CACHE` names the folder. None copies nothing.

    Raises:
        UnknownNameError: There is no such encoder, decoder, tracker or preset.
        MissingWeightsError: A file cannot be downloaded, or is damaged.
        RecosegError: A file cannot be read.
    """
    names = [encoders] if isinstance(encoders, str) else list(encoders)
    chosen = preset if preset or names else "lite"
    files = list(files_of_preset(preset_of(chosen))) if chosen else []
    for name in names:
        files += [file for file in files_of_encoder(name) if _is_new(file, files)]
    found: list[FetchedFile] = []
    missing: list[tuple[str, MissingWeightsError]] = []
    for needed in files:
        try:
            located = locate(needed.source, needed.encoder)
        except MissingWeightsError as error:
            missing.append((needed.encoder, error))
            continue
        is_folder = isinstance(needed.source, HubFolder)
        for file in located.path.glob("*.safetensors") if is_folder else [located.path]:
            read_state_dict(file)
        portable = not isinstance(needed.source, PackageFile)
        path = located.path
        if to is not None and portable:
            path = _copied(located, needed, Path(to).expanduser() / "weights")
        found.append(FetchedFile(needed, path, size_of(path), located.origin, portable))
    if missing:
        others = list(dict.fromkeys(name for name, _ in missing[1:]))
        more = f"\nMissing as well: {', '.join(others)}." if others else ""
        raise MissingWeightsError(f"{missing[0][1]}{more}") from missing[0][1]
    return tuple(found)


def _is_new(file: NeededFile, files: Iterable[NeededFile]) -> bool:
    return all(file.source != other.source for other in files)


def _copied(located: Located, needed: NeededFile, folder: Path) -> Path:
    """Copy a file under a name by which it is found; a copy of the same size is kept."""
    assert not isinstance(needed.source, PackageFile)
    names = needed.source.local_names
    if isinstance(needed.source, HubFile):
        suffixes = {Path(name).suffix: name for name in reversed(names)}
        name = suffixes.get(located.path.suffix, names[0])
    else:
        name = names[0]
    target = inside(folder, name)
    if isinstance(needed.source, HubFolder):
        for file in sorted(located.path.iterdir()):
            if any(file.match(pattern) for pattern in needed.source.PATTERNS):
                _copy(file, inside(target, file.name))
        return target
    _copy(located.path, target)
    return target


def _copy(file: Path, target: Path) -> None:
    if target.is_file() and target.stat().st_size == file.stat().st_size:
        return
    try:
        with open_regular(file) as source:
            write_atomically(target, lambda part: shutil.copyfileobj(source, part, 1 << 20))
    except OSError as error:
        raise RecosegError(f"{target} cannot be written: {error.strerror or error}") from error
