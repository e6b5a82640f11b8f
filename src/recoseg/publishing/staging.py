"""The folder that is uploaded: the bank, model or memory, its card, and figures."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from recoseg.concepts import ConceptBank
from recoseg.errors import BadImageError, FileError, HubError, OutputError
from recoseg.hub.layout import CARD, FIGURES, MAIN, Kind
from recoseg.memory.copying import copy_memory
from recoseg.memory.region_memory import RegionMemory
from recoseg.photos.folder_files import files_of
from recoseg.photos.images import decode_image
from recoseg.publishing.card import Figure, bank_card, memory_card, model_card
from recoseg.publishing.local_paths import (
    bank_without_paths,
    model_without_paths,
    paths_of_bank,
    paths_of_model,
)
from recoseg.storage.atomic import write_bytes
from recoseg.training.model import TrainedModel

MOST_FIGURES = 200
_PICTURES = (".jpg", ".jpeg", ".png")
_QUALITY = 90

Publishable = ConceptBank | TrainedModel | RegionMemory


@dataclass(frozen=True)
class Staged:
    """A folder that can be uploaded.

    Attributes:
        kind: What it holds.
        folder: The folder.
        card: The model card; empty if none was asked for.
        paths: The paths that the bank, model or memory records, by what they are paths of.
    """

    kind: Kind
    folder: Path
    card: str
    paths: Mapping[str, tuple[str, ...]]

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files, with `/` between folders, sorted."""
        found = (path for path in self.folder.rglob("*") if path.is_file())
        return tuple(sorted(path.relative_to(self.folder).as_posix() for path in found))


def stage(
    what: Publishable,
    folder: Path,
    address: str,
    *,
    figures: Path | None = None,
    keep_paths: bool = False,
    with_card: bool = True,
    progress: bool | None = False,
) -> Staged:
    """Write what is to be uploaded into a folder.

    Args:
        what: A concept bank, a trained model or a region memory.
        folder: An empty folder; it is created.
        address: Where it is going to be on the Hub, for the card.
        figures: Folder whose pictures go along; they are encoded again, without their metadata.
        keep_paths: Whether paths of this machine are kept; see `recoseg.publishing.local_paths`.
        with_card: Whether to write a card.
        progress: See `StageProgress`.

    Raises:
        OutputError: The folder holds something.
        HubError: The folder of figures holds no picture or too many, or one cannot be read.
    """
    if folder.exists() and any(folder.iterdir()):
        raise OutputError(f"{folder} is not empty. Name a new folder, or empty this one.")
    shown = _copy_figures(figures, folder / FIGURES) if figures is not None else ()
    if isinstance(what, ConceptBank):
        kind: Kind = "bank"
        paths = paths_of_bank(what)
        bank = what if keep_paths else bank_without_paths(what)
        bank.save(folder / MAIN[kind])
        card = bank_card(bank, address, shown)
    elif isinstance(what, TrainedModel):
        kind = "model"
        paths = paths_of_model(what.info)
        info = what.info if keep_paths else model_without_paths(what.info)
        TrainedModel(what.network, info).save(folder / MAIN[kind])
        card = model_card(info, address, shown)
    else:
        kind = "memory"
        paths = copy_memory(what, folder, keep_paths=keep_paths, progress=progress)
        card = memory_card(what.summary(), address, shown)
    if with_card:
        write_bytes(folder / CARD, card.encode("utf-8", "replace"))
    return Staged(kind, folder, card if with_card else "", paths)


def _copy_figures(source: Path, out: Path) -> tuple[Figure, ...]:
    """The pictures of a folder as JPEG without metadata, which may say where and by whom."""
    if not source.is_dir():
        raise HubError(f"No folder of figures was found at {source}.")
    found = [path for path in files_of(source, "*") if path.suffix.lower() in _PICTURES]
    if not 0 < len(found) <= MOST_FIGURES:
        raise HubError(
            f"{source} holds {len(found):,} pictures. Expected 1 to {MOST_FIGURES}, as files with "
            f"one of {', '.join(_PICTURES)}."
        )
    figures = []
    for path in found:
        try:
            pixels = np.asarray(decode_image(path))
        except (BadImageError, FileError) as error:
            raise HubError(f"The figure {path} cannot be used: {error}.") from error
        data = io.BytesIO()
        Image.fromarray(pixels).save(data, "JPEG", quality=_QUALITY)
        name = f"{path.stem}.jpg"
        write_bytes(out / name, data.getvalue())
        figures.append(Figure(path.stem, name))
    return tuple(figures)
