"""What banks, models and memories record of the machine where they were made.

A bank records the paths of the photos that its classes were learnt from, of weights files that the
user named, of a file of prompts, of a folder of masks and of a region memory; a model where its
masks lay. None of it decides a mask. Paths hold names of people, projects and photos, so that they
are left out of what goes to the Hub, unless the user wants to keep them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from recoseg.concepts import Concept, ConceptBank
from recoseg.config import BankSettings
from recoseg.encoders.bundle import EncoderInfos
from recoseg.encoders.protocols import EncoderInfo
from recoseg.hub.address import is_hub
from recoseg.training.model import ModelInfo

Paths = Mapping[str, tuple[str, ...]]
"""The paths that something records, each once, by what they are paths of."""

_FIELDS = ("masks", "memory", "location", "file", "path", "images", "root")
"""Fields of a model's provenance that hold a path, even if it looks like a name."""

_FOLDER = "files:"
"""The beginning of a setting of regions that names a folder of masks."""


def paths_of_bank(bank: ConceptBank) -> Paths:
    """The paths that a bank records."""
    settings = bank.settings
    found = {
        "photos": _distinct(
            path
            for concept in bank.concepts
            for path in (
                *(photo.path for photo in concept.retrieved),
                *(correction.path for correction in concept.corrections),
            )
        ),
        "weights files": _distinct(info.file for info in _infos(bank.encoders)),
        "a file of prompts": _distinct([_setting(settings.learn.prompts)]),
        "a folder of masks": _distinct(
            _setting(text) for text in (settings.learn.regions, settings.segment.regions)
        ),
        "a region memory": _distinct([_elsewhere(settings.segment.memory)]),
    }
    return {what: paths for what, paths in found.items() if paths}


def bank_without_paths(bank: ConceptBank) -> ConceptBank:
    """The bank without the paths that it records; its masks are the same.

    Photos keep the hash of their content. Files of prompts and folders of masks keep their name. A
    region memory on the Hub stays recorded.
    """
    learn, segment = bank.settings.learn, bank.settings.segment
    if _elsewhere(segment.memory):
        segment = replace(segment, memory="", memory_content="")
    settings = BankSettings(
        replace(
            learn,
            prompts=_named(learn.prompts, _setting(learn.prompts)),
            regions=_named(learn.regions, _setting(learn.regions)),
        ),
        replace(segment, regions=_named(segment.regions, _setting(segment.regions))),
        bank.settings.recipe,
    )
    encoders = bank.encoders
    encoders = EncoderInfos(
        info_without_path(encoders.retrieval),
        info_without_path(encoders.saliency),
        tuple(map(info_without_path, encoders.phi)),
    )
    return ConceptBank(tuple(map(_concept, bank.concepts)), encoders, settings)


def info_without_path(info: EncoderInfo) -> EncoderInfo:
    """The identity of an encoder without the path of its weights file."""
    return replace(info, file="")


def paths_of_model(info: ModelInfo) -> Paths:
    """The paths that a trained model records in its provenance."""
    found = _distinct(_in_provenance(info.provenance))
    return {"masks and weights": found} if found else {}


def model_without_paths(info: ModelInfo) -> ModelInfo:
    """What describes a trained model, without the paths in its provenance."""
    return replace(info, provenance=_scrubbed(info.provenance))


def _concept(concept: Concept) -> Concept:
    return replace(
        concept,
        retrieved=tuple(replace(photo, path="") for photo in concept.retrieved),
        corrections=tuple(replace(one, path="") for one in concept.corrections),
    )


def _infos(encoders: EncoderInfos) -> tuple[EncoderInfo, ...]:
    return encoders.retrieval, encoders.saliency, *encoders.phi


def _distinct(paths: Iterator[str] | Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(path for path in paths if path))


def _elsewhere(memory: str) -> str:
    """The place of a region memory, unless it is on the Hub."""
    return "" if is_hub(memory) else memory


def _setting(text: str) -> str:
    """The path in a setting such as `short5` or `files:masks/mine`; empty if there is none."""
    path = text.removeprefix(_FOLDER)
    return path if path != text or "/" in path or "\\" in path else ""


def _local(text: str) -> str:
    """The path that a text is or that it ends in, as `NAME=/weights`; empty if there is none."""
    parts = (text, *(text.partition(mark)[2] for mark in ("=", ":")))
    return next(filter(_is_path, parts), "")


def _is_path(text: str) -> bool:
    """Whether a text can only be a path or URL: names of encoders hold slashes, too."""
    rooted = PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute()
    return rooted or text.startswith(("~", "./", "../", ".\\", "..\\")) or "://" in text


def _named(text: str, path: str) -> str:
    """A text with the name of a file or folder in the place of the path that it ends in."""
    return text.removesuffix(path) + PureWindowsPath(path).name if path else text


def _in_provenance(value: Any, field: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _in_provenance(inner, str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _in_provenance(inner)
    elif isinstance(value, str) and not is_hub(value):
        yield value if field in _FIELDS else _local(value)


def _scrubbed(value: Any, field: str = "") -> Any:
    if isinstance(value, Mapping):
        return {name: _scrubbed(inner, str(name)) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_scrubbed(inner) for inner in value]
    if isinstance(value, str) and not is_hub(value):
        return "" if field in _FIELDS else _named(value, _local(value))
    return value
