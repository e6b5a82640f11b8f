"""The classes of archive photos, known from their paths, to measure retrieval with."""

from __future__ import annotations

import csv
import functools
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from recoseg.classes import ClassNames
from recoseg.errors import DatasetError, FileError
from recoseg.photos.refs import composed, split_member
from recoseg.storage.counts import count_of
from recoseg.storage.reading import read_text

_WNID = re.compile(r"(n\d{8})(?!\d)")
_SEPARATORS = re.compile(r"[/\\]")
_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}$")


@dataclass(frozen=True)
class LabelledArchive:
    """The known classes of the photos of an archive.

    Paths are local paths, URLs, or `shard.tar::member`, as in the index of an archive.

    Attributes:
        names: The classes.
        labels: For each photo an index into `names`; None where the class is not known.
    """

    names: tuple[ClassNames, ...]
    labels: tuple[int | None, ...]

    @classmethod
    def by_imagenet(cls, paths: Sequence[str | Path]) -> LabelledArchive:
        """ImageNet-1k by WordNet id, such as `n01440764`.

        The id is at the beginning of the file's name or of the name of a folder; the one nearest
        to the file counts. Classes have the name of their first lemma, in ImageNet's order.
        "crane" and "maillot", which name two classes each, are left out; 996 classes remain.

        Raises:
            DatasetError: No path contains the id of a class.
        """
        ids, names = _imagenet()
        labels = [ids.get(_wnid(path)) for path in paths]
        return _checked(names, labels, "Expected WordNet ids such as n01440764 in their paths.")

    @classmethod
    def by_folder(cls, paths: Sequence[str | Path]) -> LabelledArchive:
        """The class is the name of the folder that contains the photo, underscores as spaces.

        Raises:
            DatasetError: No photo is in a folder.

        Example:
            >>> found = LabelledArchive.by_folder(["a/guide_dog/1.jpg", "a/cat/1.jpg"])
            >>> [str(name) for name in found.names], found.labels
            (['cat', 'guide dog'], (1, 0))
        """
        return _by_names([_folder(path) for path in paths], "Expected a folder for each class.")

    @classmethod
    def by_csv(cls, paths: Sequence[str | Path], csv_path: Path) -> LabelledArchive:
        """Classes from a table with columns `path` and `label`, UTF-8.

        A row applies to the photos whose path ends with the row's path, in whole parts and
        without suffixes: `cats/7.png` and `cats/7` apply to `/data/cats/7.jpg`, and so does `7`,
        unless a longer path fits. Rows without a label are ignored.

        Raises:
            DatasetError: The table cannot be read or lacks a column, or no photo is in it.
        """
        rows = _read_rows(csv_path)
        found = [
            next((rows[tail] for tail in _tails(_parts(path)) if tail in rows), None)
            for path in paths
        ]
        return _by_names(found, f"Expected their paths, or ends of them, in {csv_path}.")


@functools.cache
def _imagenet() -> tuple[dict[str, int], tuple[ClassNames, ...]]:
    """Labels by WordNet id, and the classes, without names that two classes share."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    lemmas = {
        wnid: info.label_name_to_description(wnid).split(",")[0].strip()
        for wnid in info.label_names()
    }
    counts: dict[str, int] = {}
    for lemma in lemmas.values():
        counts[lemma] = counts.get(lemma, 0) + 1
    kept = [wnid for wnid, lemma in lemmas.items() if counts[lemma] == 1]
    names = tuple(ClassNames(lemmas[wnid], (lemmas[wnid],)) for wnid in kept)
    return {wnid: label for label, wnid in enumerate(kept)}, names


def _parts(path: str | Path) -> tuple[str, ...]:
    """The folders and the name of a path, composed and without suffix; a shard is a folder."""
    outer, _, member = split_member(composed(str(path)))
    *folders, name = [part for part in _SEPARATORS.split(f"{outer}/{member}") if part] or [""]
    return (*folders, _SUFFIX.sub("", name))


def _tails(parts: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    return (parts[start:] for start in range(len(parts)))


def _wnid(path: str | Path) -> str:
    found = (_WNID.match(part) for part in reversed(_parts(path)))
    return next((match[1] for match in found if match), "")


def _folder(path: str | Path) -> str | None:
    outer, mark, member = split_member(str(path))
    parts = _parts(member if mark else outer)
    return parts[-2].replace("_", " ").strip() or None if len(parts) > 1 else None


def _read_rows(path: Path) -> dict[tuple[str, ...], str]:
    try:
        reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
        columns, lines = reader.fieldnames or [], list(reader)
    except (FileError, csv.Error) as error:
        raise DatasetError(f"The table {path} cannot be read: {error}") from error
    absent = [name for name in ("path", "label") if name not in columns]
    if absent:
        raise DatasetError(
            f"The table {path} has no column {' or '.join(absent)}; its first line is "
            f"{','.join(columns) or 'empty'}. Expected path,label."
        )
    rows: dict[tuple[str, ...], str] = {}
    for line in lines:
        parts, label = _parts((line["path"] or "").strip()), (line["label"] or "").strip()
        if not label or parts == ("",):
            continue
        if rows.setdefault(parts, label) != label:
            raise DatasetError(
                f"The table {path} calls {line['path']} both {rows[parts]!r} and {label!r}."
            )
    return rows


def _by_names(found: Sequence[str | None], advice: str) -> LabelledArchive:
    names = sorted({name for name in found if name is not None})
    indices = {name: index for index, name in enumerate(names)}
    labels = [None if name is None else indices[name] for name in found]
    return _checked(tuple(ClassNames(name, (name,)) for name in names), labels, advice)


def _checked(
    names: tuple[ClassNames, ...], labels: Sequence[int | None], advice: str
) -> LabelledArchive:
    if all(label is None for label in labels):
        raise DatasetError(f"None of {count_of(len(labels), 'photos')} has a known class. {advice}")
    return LabelledArchive(names, tuple(labels))
