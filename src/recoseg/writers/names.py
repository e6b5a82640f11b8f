"""Names of output files."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from recoseg.storage.shown import is_unsafe

_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]+')
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
_LONGEST = 180  # bytes; leaves room for a counter, a suffix and a temporary prefix below 255


def output_names(paths: Sequence[str | Path], taken: Iterable[str] = ()) -> list[str]:
    """One file name without suffix for each input, all different, safe on every file system.

    A name is the stem of the input. Where stems are equal (upper and lower case count as equal),
    the folders in which the inputs differ are put in front, and a counter is appended if that is
    not enough. Unicode is kept. No name contains a separator, so no file leaves the output folder.

    Args:
        paths: The inputs.
        taken: Names that other inputs have already.

    Example:
        >>> output_names(["a/dog.jpg", "b/dog.jpg", "b/été.png"])
        ['a__dog', 'b__dog', 'été']
        >>> output_names(["b/dog.jpg"], taken=["dog"])
        ['dog-2']
    """
    absolute = [Path(path).absolute() for path in paths]
    stems = [safe_name(path.stem) for path in absolute]
    counts: dict[str, int] = {}
    for stem in stems:
        counts[folded(stem)] = counts.get(folded(stem), 0) + 1
    colliding = [
        path for path, stem in zip(absolute, stems, strict=True) if counts[folded(stem)] > 1
    ]
    common = _common_parts(colliding)
    others = {folded(name) for name in taken}
    alone = {stem for stem in counts if counts[stem] == 1 and stem not in others}
    used = others | alone
    names = []
    for path, stem in zip(absolute, stems, strict=True):
        name = stem
        if folded(stem) not in alone:
            parts = path.parent.parts[common:] if counts[folded(stem)] > 1 else ()
            base = safe_name("__".join((*parts, path.stem)))
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
