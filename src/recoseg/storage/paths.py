"""Names that come from files or from other machines, joined to a folder."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

from recoseg.errors import FileError


def inside(folder: Path, name: object) -> Path:
    """The path of an untrusted name within a folder; the only way to join the two.

    A name is relative, with `/` between its parts. It may not leave the folder on any system:
    neither by `..`, a drive or a root, nor by a link that lies in the folder.

    Args:
        folder: The folder.
        name: A name from a listing, a JSON file, a tar shard or the like.

    Returns:
        `folder / name`.

    Raises:
        FileError: The name is not a text, is empty, or leaves the folder.

    Example:
        >>> inside(Path("masks"), "labels/dog.png").as_posix()
        'masks/labels/dog.png'
        >>> inside(Path("masks"), "../dog.png")
        Traceback (most recent call last):
        ...
        recoseg.errors.FileError: The name '../dog.png' leaves the folder masks. Expected ...
    """
    if not isinstance(name, str) or not name or "\0" in name:
        raise FileError(f"Expected the name of a file in {folder}, got {str(name)[:200]!r}.")
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    rooted = posix.is_absolute() or windows.drive or windows.root
    if rooted or ".." in posix.parts or ".." in windows.parts or not posix.parts:
        raise _leaves(folder, name)
    path = folder / name
    try:
        real, base = path.resolve(), folder.resolve()
    except (OSError, RuntimeError) as error:  # a loop of links
        raise _leaves(folder, name) from error
    if not real.is_relative_to(base):
        raise _leaves(folder, name)
    return path


def _leaves(folder: Path, name: str) -> FileError:
    return FileError(
        f"The name {name[:200]!r} leaves the folder {folder}. Expected a relative name within it; "
        "check where the files come from."
    )
