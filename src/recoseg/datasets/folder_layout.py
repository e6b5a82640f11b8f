"""The folders that a data set is expected in, and errors that describe them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from recoseg.errors import DatasetError
from recoseg.photos.exclusion import Exclusion
from recoseg.photos.refs import IMAGE_SUFFIXES, composed
from recoseg.photos.walk import Rules, walk
from recoseg.storage.reading import read_lines, why

PHOTO_ENDINGS = tuple(sorted(IMAGE_SUFFIXES))
"""Suffixes of photos, in lower or upper case."""

MASK_ENDINGS = (".png", ".bmp", ".tif", ".tiff")
"""Suffixes of masks in folders of the user's own, in lower or upper case."""

_SHOWN = 5  # names in an error


class Pair(NamedTuple):
    """The files of one sample; `name` is unique and has no suffix."""

    name: str
    photo: Path
    mask: Path


@dataclass(frozen=True)
class Layout:
    """The folders that a reader expects.

    Attributes:
        title: Title of the data set.
        tree: The folders and files below the root, one line each.
        advice: Where to get the data set, or what to do.
    """

    title: str
    tree: tuple[str, ...]
    advice: str

    def error(self, root: Path, problem: str) -> DatasetError:
        """An error that says what was expected, what was found and what to do."""
        lines = [f"{self.title}: {problem}", "Expected:", *(f"  {line}" for line in self.tree)]
        if root.is_dir():
            lines.append(_found_in(root))
        else:
            lines.append(f"No folder was found at {root}.")
        return DatasetError("\n".join([*lines, self.advice]))

    def folder(self, root: Path, choices: Iterable[str]) -> Path:
        """The first of several folders below the root that exists.

        Raises:
            DatasetError: None of them exists.
        """
        choices = list(choices)
        for choice in choices:
            if (root / choice).is_dir():
                return root / choice
        raise self.error(root, f"no folder {' or '.join(choices)}.")

    def base(self, root: Path, choices: Iterable[str], needed: str) -> Path:
        """The root, or one of some folders below it, whichever contains a folder `needed`.

        Raises:
            DatasetError: None of them contains it.
        """
        for choice in ("", *choices):
            if (root / choice / needed).is_dir():
                return root / choice
        raise self.error(root, f"no folder {needed}.")

    def files(
        self, root: Path, folder: Path, endings: Sequence[str], exclude: Exclusion | None = None
    ) -> dict[str, Path]:
        """The files below a folder, at any depth, by their relative names without suffix.

        Names are `composed`, so that those of photos and masks are equal if they look equal.

        Args:
            root: Root of the data set, for errors.
            folder: Where to look; see `walk`.
            endings: Suffixes in lower case; those of files may be in any case.
            exclude: What is left out, by its path relative to the folder.

        Returns:
            The files, sorted by name; there may be none.

        Raises:
            DatasetError: Two files differ in their suffix only, or a folder cannot be read.
        """

        def refuse(at: str, error: OSError) -> None:
            raise self.error(root, f"the folder {at} cannot be read: {why(error)}.")

        found: dict[str, Path] = {}
        rules = Rules(refuse, exclude=exclude or Exclusion())
        for path in (Path(entry.path) for entry in walk(str(folder), rules)):
            ending = next((e for e in endings if path.name.lower().endswith(e)), None)
            if ending is None:
                continue
            name = composed(path.relative_to(folder).as_posix()[: -len(ending)])
            if name in found:
                first, second = sorted((path, found[name]))
                clash = f"{first} and {second.name} would have the same name"
                raise self.error(root, f"{clash}; rename or remove one.")
            found[name] = path
        return dict(sorted(found.items()))

    def photos(self, root: Path, folder: Path, exclude: Exclusion | None = None) -> dict[str, Path]:
        """The photos below a folder by their names; see `files`.

        Raises:
            DatasetError: No photo was found, or two have the same name.
        """
        found = self.files(root, folder, PHOTO_ENDINGS, exclude)
        if not found:
            if exclude is not None and exclude.patterns:
                left = ", ".join(exclude.patterns)
                raise self.error(root, f"no photo in {folder} that is not excluded by {left}.")
            raise self.error(root, f"no photo in {folder}.")
        return found

    def listed(self, root: Path, path: Path) -> list[str]:
        """The names in a text file, one per line; empty lines and lines with # are skipped.

        Raises:
            DatasetError: The file does not exist or contains no name.
            FileError: It cannot be read or is not UTF-8.
        """
        if not path.is_file():
            raise self.error(root, f"no list of photos {path}.")
        lines = [line.strip(" \t") for line in read_lines(path)]
        names = [line for line in lines if line and not line.startswith("#")]
        if not names:
            raise self.error(root, f"the list {path} is empty.")
        return list(dict.fromkeys(map(composed, names)))

    def pairs(
        self,
        root: Path,
        photos: Mapping[str, Path],
        masks: Mapping[str, Path],
        names: Iterable[str] | None = None,
        ids: Path | None = None,
    ) -> list[Pair]:
        """Pair photos and masks by their names.

        Args:
            root: Root of the data set, for errors.
            photos: Photos by name.
            masks: Masks by name; masks without a photo are ignored.
            names: The photos to take, in order; None takes all.
            ids: A file with the names of the photos to keep: the whole name, or its last part if
                that is unique; suffixes of photos are ignored.

        Raises:
            DatasetError: A photo or a mask is missing, or a name in `ids` is not a photo's.
        """
        chosen = list(photos if names is None else names)
        if ids is not None:
            chosen = self._select(root, chosen, ids)
        for kind, files in (("photo", photos), ("mask", masks)):
            missing = [name for name in chosen if name not in files]
            if missing:
                raise self.error(
                    root, f"{len(missing)} of {len(chosen)} have no {kind}: {shown_names(missing)}."
                )
        return [Pair(name, photos[name], masks[name]) for name in chosen]

    def _select(self, root: Path, names: Sequence[str], ids: Path) -> list[str]:
        wanted = self.listed(root, ids)
        found, unknown = chosen_names(names, wanted)
        if unknown:
            problem = f"{len(unknown)} of {len(wanted)} names in {ids} are not names of photos"
            raise self.error(root, f"{problem}: {shown_names(unknown)}.")
        return found


def chosen_names(names: Sequence[str], wanted: Iterable[str]) -> tuple[list[str], list[str]]:
    """The photos that are named by their whole names, or by the last part of them if it is unique.

    Args:
        names: Names of all photos.
        wanted: The photos that are named; suffixes of photos are ignored.

    Returns:
        The names of the photos, each once, and what names no photo.

    Example:
        >>> chosen_names(["a/1", "a/2", "b/2"], ["1.jpg", "b/2", "2"])
        (['a/1', 'b/2'], ['2'])
    """
    by_leaf: dict[str, list[str]] = {}
    for name in names:
        by_leaf.setdefault(name.rsplit("/", 1)[-1], []).append(name)
    known = {leaf: found[0] for leaf, found in by_leaf.items() if len(found) == 1}
    known |= {name: name for name in names}
    plain = [_without_ending(name) for name in wanted]
    unknown = [name for name in plain if name not in known]
    return list(dict.fromkeys(known[name] for name in plain if name in known)), unknown


def _found_in(root: Path) -> str:
    """What is in a folder, in one line."""
    try:
        entries = sorted(item.name + "/" * item.is_dir() for item in root.iterdir())
    except OSError as error:
        return f"{root} cannot be read: {why(error)}."
    more = f" and {len(entries) - 10} more" if len(entries) > 10 else ""
    return f"Found in {root}: {', '.join(entries[:10]) or 'nothing'}{more}."


def _without_ending(name: str) -> str:
    ending = next((e for e in PHOTO_ENDINGS if name.lower().endswith(e)), "")
    return name[: len(name) - len(ending)]


def shown_names(names: Sequence[str]) -> str:
    """The first names of a list, for messages."""
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
