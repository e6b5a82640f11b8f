"""The folder of a training run: whether it may be used, and the removal of an earlier run."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recoseg.storage.atomic import remove_leftovers, write_bytes
from recoseg.storage.claim import claim, format_in
from recoseg.storage.fields import to_json
from recoseg.storage.paths import inside
from recoseg.storage.settings import check_resumable

FORMAT = "recoseg-training-1"
"""The field `format` of `settings.json`, by which the folder of a run is recognised."""

SETTINGS = "settings.json"

_WRITTEN: Mapping[str, str] = {
    ".": r"model\.safetensors|left_out\.json|classes\.txt",
    "checkpoints": r"step=\d+\.ckpt|best-on-ground-truth\.safetensors",
    "previews": r"\d+\.jpg",
    "logs/from_*": r"metrics\.csv|hparams\.yaml|events\.out\.tfevents\.[\w.-]+",
}
"""The names of the files that a run writes, by folder; `settings.json` is kept apart."""

_ENTRIES = (
    *(SETTINGS, "model.safetensors", "left_out.json", "classes.txt"),
    *("checkpoints", "logs", "previews"),
)
_LOG = re.compile(r"from_(\d+)", re.ASCII)
_ROUND = re.compile(r"round-(\d+)", re.ASCII)


def check_free(out: Path, *, resume: bool = False, overwrite: bool = False) -> bool:
    """Whether a folder holds an earlier run; see `claim`. Nothing is changed.

    Raises:
        OutputError: It holds a run that is neither resumed nor overwritten, or other files of
            these names.
    """
    return claim(
        out,
        FORMAT,
        (*_ENTRIES, *(path.relative_to(out).as_posix() for path in _written_in_place(out))),
        what="checkpoints",
        resume=resume,
        overwrite=overwrite,
    )


def open_run(
    out: Path, settings: Mapping[str, Any], *, resume: bool = False, overwrite: bool = False
) -> None:
    """Make a folder ready for a run, and write its settings; the caller holds the lock.

    What a killed run has left half written is removed.

    Args:
        out: The folder.
        settings: All that decides the result of the run, as JSON fields.
        resume: Whether an earlier run with these settings is continued.
        overwrite: Whether the files of an earlier run are removed.

    Raises:
        OutputError: See `check_free`; or the earlier run has other settings.
        FileError: A folder of the earlier run is a link to another place.
    """
    ours = {"format": FORMAT, **settings}
    earlier = check_free(out, resume=resume, overwrite=overwrite)
    if earlier and resume:
        check_resumable(out / SETTINGS, ours, "checkpoints")
    for name in (".", "checkpoints", "previews"):
        remove_leftovers(out / name)
    if earlier and overwrite:
        for folder in _rounds(out):
            if format_in(inside(out, folder.name)) != FORMAT:
                continue  # not of a run
            _remove_run(folder)
            (folder / SETTINGS).unlink(missing_ok=True)
        _remove_run(out)
    write_bytes(out / SETTINGS, to_json(ours))


def remove_logs(out: Path, start: int) -> None:
    """Remove the logs of steps that are run again.

    Args:
        out: The folder.
        start: The step that the run goes on from.
    """
    for folder in _logs(out):
        if int(folder.name.removeprefix("from_")) >= start:
            _remove_files(folder, _WRITTEN["logs/from_*"])


def _rounds(out: Path) -> list[Path]:
    """The folders of the rounds of a run."""
    if not out.is_dir():
        return []
    return sorted(path for path in out.iterdir() if _ROUND.fullmatch(path.name))


def _written_in_place(out: Path) -> list[Path]:
    """The folders of rounds and logs, and the logs themselves, which may not be links."""
    logs = _logs(out)
    files = [path for folder in logs for path in _matching(folder, _WRITTEN["logs/from_*"])]
    return [*_rounds(out), *logs, *files]


def _remove_run(out: Path) -> None:
    """Remove the files that a run writes, except its settings, which are then overwritten.

    The mark goes last, so that a folder in which the removal was ended can be overwritten again.
    """
    folders = {
        out / "checkpoints": _WRITTEN["checkpoints"],
        out / "previews": _WRITTEN["previews"],
        **dict.fromkeys(_logs(out), _WRITTEN["logs/from_*"]),
    }
    for folder in folders:
        inside(out, folder.relative_to(out).as_posix())  # refuses links before anything is removed
    for folder, names in folders.items():
        _remove_files(folder, names)
    _remove_folder(out / "logs")
    for path in _matching(out, _WRITTEN["."]):
        path.unlink()


def _logs(out: Path) -> list[Path]:
    folder = out / "logs"
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _LOG.fullmatch(path.name) and path.is_dir())


def _remove_files(folder: Path, names: str) -> None:
    """Remove the files of these names, and the folder if nothing else is in it."""
    for path in _matching(folder, names):
        path.unlink()
    _remove_folder(folder)


def _matching(folder: Path, names: str) -> list[Path]:
    if not folder.is_dir():
        return []
    pattern = re.compile(names, re.ASCII)
    return [path for path in folder.iterdir() if pattern.fullmatch(path.name) and path.is_file()]


def _remove_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # it does not exist, or holds files of others
        folder.rmdir()
