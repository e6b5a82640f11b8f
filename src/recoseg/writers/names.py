"""Names of output files."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from recoseg.storage.shown import is_unsafe

_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]+')
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
_FILE_LIKE = re.compile(r"(?i)\.(png|jpe?g|npz)$")
_LONGEST = 180  # bytes; leaves room for a counter, a suffix and a temporary prefix below 255


def output_names(
    paths: Sequence[str | Path], taken: Iterable[str] = (), below: Sequence[str] = ()
) -> list[str]:
    """One file name without suffix for each input, all different, safe on every file system.

    A name mirrors the folders of an input below its source, with `/` between its parts, so that it
    does not depend on the other inputs; that of an input without a source is its stem. Where names
    are equal (upper and lower case count as equal), the folders in which the inputs differ are put
    in front, and a counter is appended if that is not enough. Unicode is kept. No name leaves the
    output folder.

    Args:
        paths: The inputs.
        taken: Names that other inputs have already.
        below: The path of each input below its source, or an empty text; see `Photo.below`.

    Example:
        >>> output_names(["a/dog.jpg", "b/dog.jpg", "b/été.png"])
        ['a/dog', 'b/dog', 'été']
        >>> output_names(["photos/farm/1.jpg"], below=["farm/1.jpg"])
        ['farm/1']
        >>> output_names(["b/dog.jpg"], taken=["dog"])
        ['dog-2']
    """
    absolute = [Path(path).absolute() for path in paths]
    own = [
        safe_path(inner.rpartition("/")[0], Path(inner).stem) if inner else safe_path("", path.stem)
        for path, inner in zip(absolute, below or [""] * len(absolute), strict=True)
    ]
    counts: dict[str, int] = {}
    for name in own:
        counts[folded(name)] = counts.get(folded(name), 0) + 1
    colliding = [path for path, name in zip(absolute, own, strict=True) if counts[folded(name)] > 1]
    common = _common_parts(colliding)
    others = {folded(name) for name in taken}
    alone = {name for name in counts if counts[name] == 1 and name not in others}
    used = others | alone
    names = []
    for path, first in zip(absolute, own, strict=True):
        name = first
        if folded(first) not in alone:
            parts = path.parent.parts[common:] if counts[folded(first)] > 1 else ()
            base = safe_path("/".join(parts), path.stem) if parts else first
            name, count = base, 1
            while folded(name) in used:
                count += 1
                name = f"{base}-{count}"
            used.add(folded(name))
        names.append(name)
    return names


def _common_parts(paths: Sequence[Path]) -> int:
    """How many leading folders all paths share."""
    folders = [path.parent.parts for path in paths]
    shared = 0
    for parts in zip(*folders, strict=False):
        if len(set(parts)) > 1:
            break
        shared += 1
    return shared


def folded(name: str) -> str:
    """Equal for names that some file systems take for the same."""
    return unicodedata.normalize("NFC", name).casefold()


def safe_path(folder: str, stem: str) -> str:
    """A name below a folder, each part of which every file system accepts.

    Args:
        folder: The folders with `/` between them, or an empty text.
        stem: The last part.

    Example:
        >>> safe_path("../a:b", "c")
        'image/a_b/c'
    """
    # A folder `dog.png` would take the place of the file of `dog.jpg`.
    folders = [_FILE_LIKE.sub(r"\g<0>_", safe_name(part)) for part in folder.split("/") if part]
    return "/".join([*folders, safe_name(stem)])


def safe_name(name: str) -> str:
    """A name that every file system accepts, without a separator."""
    name = name.encode("utf-8", "replace").decode()  # undecodable bytes of a file name
    name = "".join("\0" if is_unsafe(letter) else letter for letter in name)
    name = _UNSAFE.sub("_", name).strip(" .")
    if _RESERVED.fullmatch(name):
        name = f"_{name}"
    raw = name.encode()
    if len(raw) > _LONGEST:
        name = raw[-_LONGEST:].decode(errors="ignore").strip(" .")
    return name or "image"
