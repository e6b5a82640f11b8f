"""The output folder of a run: the files of its writers, and one JSON line per photo."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from PIL import Image

from recoseg.classes import class_list
from recoseg.labels import Colour, Segmentation
from recoseg.photos.refs import Photo
from recoseg.storage.atomic import write_bytes
from recoseg.storage.checksums import checksum, file_checksum
from recoseg.storage.paths import inside
from recoseg.storage.run_record import RunRecord, read_run_lines
from recoseg.storage.settings import CHECKSUMS
from recoseg.writers.formats import DEFAULT_FORMATS, FORMATS, writer_of
from recoseg.writers.instances import INSTANCES, instance_fields
from recoseg.writers.names import folded, output_names
from recoseg.writers.protocol import Writer

FORMAT = "recoseg-masks-1"
LINES = "segmentations.jsonl"
CLASSES = "classes.txt"
OWNED = ("confidence/**/*.png", "labels/**/*.tif", "identities/**/*.png")
"""Patterns of further files: confidence maps, which pseudo-labels have beside those of `FORMATS`,
the label maps of rasters, and the identities in films."""

_ANY = "any-name"  # stands for the name of a photo


class OutputFolder:
    """Writes a run's files; a context manager that keeps other processes out of the folder.

    The folder gets the files of each writer (such as `labels/NAME.png` and `overlays/NAME.jpg`),
    one line per photo in `segmentations.jsonl`, `settings.json` and `classes.txt`. Each file is
    whole or absent, and a photo has its line when all its files are there.

    Args:
        folder: Where to write; it is created if it does not exist.
        names: The class of each label.
        palette: RGB of each class.
        writers: What to write: names in `FORMATS`, or writers.
        settings: All that decides the masks, as JSON fields.
        resume: Keep the photos that an earlier run with equal settings has finished.
        overwrite: Remove what an earlier run has written.

    Raises:
        UnknownNameError: There is no such format.
        OutputError: On entering: see `RunRecord`.
    """

    def __init__(
        self,
        folder: str | Path,
        names: Sequence[str],
        palette: Sequence[Colour],
        *,
        writers: Sequence[str | Writer] = DEFAULT_FORMATS,
        settings: Mapping[str, Any] | None = None,
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        self._folder = Path(folder)
        self._names = tuple(names)
        self._palette = tuple(palette)
        self._writers = [writer_of(given) for given in writers]
        chosen: dict[str, Any] = {
            **(settings or {}),
            CHECKSUMS: {CLASSES: checksum(class_list(names).encode())},
            "overlays": False,
            "scores": False,
        }
        for writer in self._writers:
            chosen |= writer.settings
        kinds = self._files("a").keys()
        # A file that all photos share has no checksum, and is not removed with a photo's files.
        self._own = [kind for kind in kinds if self._files("a")[kind] != self._files("b")[kind]]

        def is_finished(fields: Mapping[str, Any]) -> bool:
            files = fields.get("files")
            texts = (fields.get("path"), fields.get("name"), fields.get("stamp"))
            return (
                all(isinstance(text, str) for text in texts)
                and isinstance(files, dict)
                and files.keys() | {INSTANCES} == kinds | {INSTANCES}  # rasters have none
                and all(isinstance(file, str) for file in files.values())
            )

        self._record = RunRecord(
            self._folder,
            LINES,
            FORMAT,
            chosen,
            what="masks",
            entries=[
                CLASSES,
                *dict.fromkeys(file.split("/")[0] for file in self._files("a").values()),
            ],
            resume=resume,
            overwrite=overwrite,
            owned=self._owned(),
            keep=is_finished,
        )
        self._finished: dict[str, tuple[str, str]] = {}
        self._stack = ExitStack()

    def _owned(self) -> list[str]:
        """Patterns of the files of these writers and of recoseg's own, which may be replaced."""
        writers = [*self._writers, *(writer_of(name) for name in FORMATS)]
        files = [file for writer in writers for file in writer.files(_ANY).values()]
        return [*OWNED, *(pattern for file in files for pattern in _patterns(file))]

    @property
    def folder(self) -> Path:
        """The folder."""
        return self._folder

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of files that a photo has."""
        return tuple(self._files(_ANY))

    def _files(self, name: str) -> dict[str, str]:
        return {kind: file for w in self._writers for kind, file in w.files(name).items()}

    def __enter__(self) -> OutputFolder:
        with ExitStack() as stack:
            stack.enter_context(self._record)
            for fields in self._record.lines:
                self._finished[fields["path"]] = fields["name"], fields["stamp"]
            with self._record.writing():
                lines = class_list(self._names)
                write_bytes(self._folder / CLASSES, lines.encode())
                for writer in self._writers:
                    stack.callback(writer.close)  # all are closed, whatever goes wrong with one
                    writer.begin(self._folder, self._names, self._palette)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def missing(self, photos: Iterable[Photo]) -> list[tuple[str, Photo]]:
        """The photos that are not finished, each once, with the names of their files.

        A photo that has changed since an earlier run finished it (its stamp differs) is not
        finished; its files and its line are removed. Names of finished photos are not given again.
        """
        listed = {photo.path: photo for photo in photos}
        changed = {
            path
            for path, (_, stamp) in self._finished.items()
            if path in listed and stamp != listed[path].stamp
        }
        if changed:
            with self._record.writing():
                self._record.drop(lambda fields: fields.get("path") in changed)
            self._finished = {p: has for p, has in self._finished.items() if p not in changed}
        # Names are those of an undisturbed run, unless photos that are not listed have them.
        below = {path: photo.below for path, photo in listed.items()}
        named = zip(listed, output_names(list(listed), (), list(below.values())), strict=True)
        todo = {path: name for path, name in named if path not in self._finished}
        taken = [name for name, _ in self._finished.values()]
        if {folded(name) for name in todo.values()} & {folded(name) for name in taken}:
            own = [below[path] for path in todo]
            todo = dict(zip(todo, output_names(list(todo), taken, own), strict=True))
        return [(name, listed[path]) for path, name in todo.items()]

    def write(
        self,
        name: str,
        photo: Photo,
        image: Image.Image,
        segmentation: Segmentation,
        known: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Write the files of one photo, and its line.

        Args:
            name: From `missing`.
            photo: The photo; its path and its stamp are written into the line.
            image: The pixels of the photo.
            segmentation: The segmentation of the photo.
            known: What else the line says of the photo.

        Returns:
            The fields of the line: path, name, stamp, width, height, areas (fractions by class),
            background (fraction), confidence (0 to 1 by class, if it is known; see
            `Segmentation.confidence`), instances (see `instance_fields`, if there are such), files
            (relative to the folder, by kind), checksums (of the files, by kind).

        Raises:
            OutputError: A file cannot be written, such as on a full disk.
        """
        files = self._files(name)
        with self._record.writing():
            self._record.expect(files[kind] for kind in self._own)
            for writer in self._writers:
                writer.write(name, image, segmentation)
            height, width = segmentation.labels.shape
            areas = segmentation.areas()
            confidence = {"confidence": _rounded(segmentation.confidence(areas))}
            things = {INSTANCES: instance_fields(segmentation)}
            fields = {
                "path": photo.path,
                "name": name,
                "stamp": photo.stamp,
                "width": width,
                "height": height,
                "areas": _rounded(areas),
                "background": round(segmentation.background, 6),
                **({} if segmentation.probabilities is None else confidence),
                **({} if segmentation.instances is None else things),
                **(known or {}),
                "files": files,
                "checksums": {
                    kind: file_checksum(inside(self._folder, files[kind])) for kind in self._own
                },
            }
            self._record.add(fields)
        self._finished[photo.path] = name, photo.stamp
        return fields

    def write_made(
        self,
        name: str,
        photo: Photo,
        known: Callable[[], Mapping[str, Any]],
        made: Mapping[str, tuple[str, Callable[[Path], object]]],
    ) -> None:
        """Write the files of a photo that no writer takes, such as one of any size, and its line.

        Args:
            name: From `missing`.
            photo: The photo; its path and its stamp are written into the line.
            known: What the line says of it; see `write`. It is called when the files are written.
            made: For each kind of the writers' files the suffix of the file, and what writes it,
                whole or not at all, given its path. They are written in this order.

        Raises:
            OutputError: A file cannot be written, such as on a full disk.
        """
        usual = self._files(name)
        files = {kind: f"{usual[kind].rpartition('.')[0]}{made[kind][0]}" for kind in made}
        with self._record.writing():
            self._record.expect(files.values())
            paths = {kind: inside(self._folder, file) for kind, file in files.items()}
            for kind, (_, write) in made.items():
                write(paths[kind])
            sums = {kind: file_checksum(path) for kind, path in paths.items()}
            fields = {"path": photo.path, "name": name, "stamp": photo.stamp, **known()}
            self._record.add({**fields, "files": files, "checksums": sums})
        self._finished[photo.path] = name, photo.stamp

    def write_failure(self, path: str, reason: str) -> None:
        """Write the line of a photo that could not be segmented: path and error."""
        with self._record.writing():
            self._record.add({"path": path, "error": reason})


def _rounded(shares: Mapping[str, float]) -> dict[str, float]:
    return {key: round(value, 6) for key, value in shares.items()}


def _patterns(file: str) -> list[str]:
    """Patterns of the names of a writer's files, given one of them; names may have folders."""
    escaped = glob.escape(file)
    folder, _, leaf = escaped.rpartition("/")
    start = f"{folder}/" if folder else ""
    if _ANY not in leaf:
        return [escaped.replace(_ANY, "*")]
    before, _, after = leaf.partition(_ANY)
    within = f"{before}*/**" if before else "**"
    return [f"{start}{before}*{after}", f"{start}{within}/*{after}"]


def read_segmentations(folder: Path) -> Iterator[dict[str, Any] | None]:
    """The lines in an output folder; see `read_run_lines`."""
    return read_run_lines(folder, LINES)
