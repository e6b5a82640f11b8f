"""Checking stored files for damage (`recoseg verify`)."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from recoseg.errors import FileError, MissingFileError
from recoseg.hub.fetch import local_path
from recoseg.storage.claim import damage_in, format_in
from recoseg.storage.tensors import read_metadata
from recoseg.storage.verification import Verification

_FOLDERS = {
    "recoseg-index": ("recoseg.archive.verify", "verify_index"),
    "recoseg-memory": ("recoseg.memory.verify", "verify_memory"),
    "recoseg-masks": ("recoseg.segmentation.verify", "verify_masks"),
    "recoseg-pseudo-labels": ("recoseg.training.verify", "verify_pseudo_labels"),
}
"""The function that checks a folder, by the beginning of the folder's format."""

_FILES = {
    "recoseg-bank": ("recoseg.concepts", "verify_bank"),
    "recoseg-model": ("recoseg.training.verify_model", "verify_model"),
}
"""The function that checks a safetensors file, by the beginning of the file's format."""

_MODEL = "model.safetensors"  # in folders of training runs
_RUN = "recoseg-training-1"
_EXPECTED = (
    "Expected an index, a region memory, a concept bank, a trained model, masks or pseudo-labels "
    "of recoseg."
)


def verify(path: str | Path, *, progress: bool | None = False) -> Verification:
    """Read an output of recoseg in full, and compare it with the checksums that it records.

    Args:
        path: Folder of an index, of a region memory, of masks, of pseudo-labels or of a training
            run; file of a concept bank or a trained model; or address of a bank, model or memory on
            the Hub.
        progress: See `StageProgress`.

    Returns:
        What was checked, and what is wrong with it.

    Raises:
        MissingFileError: There is no such file or folder.
        FileError: It is no output of recoseg, or too damaged to tell which.
        HubError: It cannot be fetched from the Hub.
    """
    found = local_path(path).expanduser()
    if not found.exists():
        raise MissingFileError(f"No file or folder was found at {found}. {_EXPECTED}")
    if not found.is_dir():
        form = read_metadata(found).get("format", "")
        return _function(_FILES, form, found)(found)
    form = format_in(found) or ""
    damage = damage_in(found)
    if not form and damage is not None:
        raise FileError(f"{damage} What {found} holds cannot be told without it.") from damage
    if form in ("", _RUN) and (found / _MODEL).is_file():
        return _function(_FILES, "recoseg-model", found)(found)
    return _function(_FOLDERS, form, found)(found, progress)


def _function(
    table: dict[str, tuple[str, str]], form: str, path: Path
) -> Callable[..., Verification]:
    """The function that checks outputs of this format."""
    for beginning, (module, name) in table.items():
        if form.startswith(beginning):
            function: Callable[..., Verification] = getattr(import_module(module), name)
            return function
    raise FileError(f"{path} is no output of recoseg. {_EXPECTED}")
