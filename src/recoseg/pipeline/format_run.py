"""Label maps through the writers of several formats, photo by photo; an interrupted run goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from recoseg.errors import BadImageError
from recoseg.formats.photo_files import PhotoFile, name_only, photo_file
from recoseg.formats.place import Place
from recoseg.formats.protocol import Format, FormatSettings, Labelled
from recoseg.photos.opening import MAX_PIXELS
from recoseg.pipeline.mask_results import MaskResult
from recoseg.progress import track
from recoseg.storage.run_record import RunRecord


class FormatRun:
    """The writers of a run, which are closed on exit.

    The record gets a line for each photo: its number, the files that were written for it, why it
    was left out, and the states of the writers after it. The last line says that all is written.

    Args:
        folder: The output folder.
        record: The run's record, which has been entered.
        formats: The formats by name.
        forms: What becomes of the photos in each format: `copy`, `link`, `none` or `embed`.
        settings: How label maps are written.
    """

    def __init__(
        self,
        folder: Path,
        record: RunRecord,
        formats: Mapping[str, type[Format]],
        forms: Mapping[str, str],
        settings: FormatSettings,
    ) -> None:
        self._record = record
        self._forms = forms
        self._settings = settings
        self._files: list[str] = []
        self._finished = any(line.get("finished") for line in record.lines)
        self._done, states, self._failures = _done(record.lines)
        record.drop(lambda line: line.get("photo", 0) > self._done)
        self._stack = ExitStack()
        self._places: dict[str, Place] = {}
        self._writers: dict[str, Format] = {}
        with ExitStack() as stack:
            for name, form in formats.items():
                self._places[name] = Place(folder, name, self._expect)
                self._writers[name] = stack.enter_context(form(self._places[name], settings))
            self._settle({})
            if not self._finished:
                for name, writer in self._writers.items():
                    writer.restore(states.get(name, {}))
            self._stack = stack.pop_all()
        self._from = {name: states.get(name, {}).get("photos", 0) for name in formats}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def write(self, photos: Sequence[MaskResult], progress: bool | None = False) -> dict[str, str]:
        """Write the photos that are not written yet, and then what is put together at the end.

        Args:
            photos: All photos of the run, in their order.
            progress: See `StageProgress`.

        Returns:
            The reason for each photo that was left out, by its path.
        """
        if not self._finished:
            first = min(self._from.values())
            todo = list(enumerate(photos, start=1))[first:]
            for number, result in track(todo, "Converting", enabled=progress):
                if number > self._done or result.photo not in self._failures:
                    self._write(number, result)
            for writer in self._writers.values():
                writer.finish()
            self._settle({"finished": True})
        for place in self._places.values():
            for spool in place.spools.values():
                spool.remove()
        return self._failures

    def _write(self, number: int, result: MaskResult) -> None:
        writers = {n: writer for n, writer in self._writers.items() if number > self._from[n]}
        failure = {}
        try:
            labels = result.read(len(self._settings.names))
            _check_size(labels.size, writers)
            instances = result.read_instances(labels)
            photos = self._prepared(result, labels.shape, writers)
        except BadImageError as error:
            self._failures[result.photo] = str(error)
            failure = {"path": result.photo, "failure": str(error)}
        else:
            item = Labelled(number, result.name, labels, self._settings, result.located, instances)
            for name, writer in writers.items():
                file = f"{writer.photos_in}{photos[name].named(item.name)}"
                self._write_photo(name, file, photos[name])
                writer.add(item, photos[name])
        if number > self._done:
            states = {name: writer.state(number) for name, writer in self._writers.items()}
            self._settle({"photo": number, **failure, "states": states})
        elif self._files:
            self._settle({})

    def _prepared(
        self, result: MaskResult, size: tuple[int, ...], writers: Mapping[str, Format]
    ) -> dict[str, PhotoFile]:
        """The file of a photo for each format; it is read once for all that want it alike."""
        height, width = size
        read: dict[bool, PhotoFile] = {}
        prepared = {}
        for name, writer in writers.items():
            if self._forms[name] == "none":
                prepared[name] = name_only(result.photo)
                continue
            if not result.has_photo:
                raise BadImageError("it is not known where the photo is; give the folder: --images")
            only_jpeg = writer.only_jpeg
            if only_jpeg not in read:
                read[only_jpeg] = photo_file(result.photo, (height, width), only_jpeg=only_jpeg)
            prepared[name] = read[only_jpeg]
        return prepared

    def _write_photo(self, name: str, file: str, photo: PhotoFile) -> None:
        form, place = self._forms[name], self._places[name]
        if form == "link" and photo.source is not None:
            place.link(file, photo.source)
        elif form in ("copy", "link") and photo.data is not None:
            place.write(file, photo.data)

    def _expect(self, file: str) -> None:
        self._files.append(file)
        self._record.expect(self._files)

    def _settle(self, fields: Mapping[str, Any]) -> None:
        self._record.add({**fields, "files": self._files})
        self._files = []


def _check_size(pixels: int, writers: Mapping[str, Format]) -> None:
    """Refuse label maps of rasters that are too large for a format.

    Raises:
        BadImageError: One is.
    """
    unable = [name for name, writer in writers.items() if not writer.any_size]
    if pixels > MAX_PIXELS and unable:
        raise BadImageError(
            f"has {pixels:,} pixels, more than {MAX_PIXELS:,}, which only the formats geotiff and "
            f"gpkg take; leave out {', '.join(unable)}"
        )


def _done(lines: Sequence[Mapping[str, Any]]) -> tuple[int, dict[str, Any], dict[str, str]]:
    """How many photos come first without a gap, the states after them, and their failures."""
    done, states, failures = 0, {}, {}
    for line in lines:
        if line.get("photo") == done + 1:
            done, states = done + 1, line["states"]
            if "failure" in line:
                failures[line["path"]] = line["failure"]
    return done, states, failures
