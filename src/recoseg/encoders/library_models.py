"""Models of the package transformers, read from a folder with the files as the Hub holds them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from recoseg.encoders.download import locate
from recoseg.encoders.spec import EncoderSpec
from recoseg.encoders.weight_sources import Located, WeightSource
from recoseg.errors import MissingWeightsError, RecosegError


@dataclass(frozen=True)
class LibraryModel:
    """A model of transformers, and what messages say of it.

    Attributes:
        title: What it is called within a sentence, such as `SAM 3` or `the tracker sam2`.
        classes: Names in transformers of its model and of what prepares its inputs, which is a
            processor or a tokenizer.
        needs: The oldest version of transformers that has them.
        files: The files of its folder.
        source: Where it is published.
    """

    title: str
    classes: tuple[str, str]
    needs: str
    files: str
    source: WeightSource


class LoadedModel(NamedTuple):
    """A model that has been read.

    Attributes:
        model: The model, in fp32 on the CPU.
        processor: What prepares its inputs.
        located: Its folder, and where that came from.
    """

    model: Any
    processor: Any
    located: Located


def load_model(wanted: LibraryModel, asked: EncoderSpec) -> LoadedModel:
    """Read a model from the folder of a spec (`NAME=FOLDER`), or else from where it is published.

    Args:
        wanted: The model.
        asked: How it is asked for.

    Raises:
        RecosegError: The installed transformers does not have it, random weights are asked for, or
            the folder cannot be read.
        MissingWeightsError: There is no such folder, or the model is not on this machine and cannot
            be downloaded.
    """
    model_class, processor_class = classes_of(wanted.title, wanted.needs, wanted.classes)
    located = _folder_of(wanted, asked)
    folder = located.path
    try:
        model = model_class.from_pretrained(folder, use_safetensors=True, local_files_only=True)
        processor = processor_class.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # transformers raises errors of many types
        reason = " ".join(str(error).split())[:200]
        raise RecosegError(
            f"{_first(wanted.title)} cannot be read from {folder}: {reason} Expected a folder with "
            f"{wanted.files}, as the Hub holds it."
        ) from error
    return LoadedModel(model.float(), processor, located)


def classes_of(title: str, needs: str, names: tuple[str, ...]) -> list[Any]:
    """Classes of transformers by their names.

    Args:
        title: What needs them; see `LibraryModel`.
        needs: The oldest version of transformers that has them.
        names: Their names.

    Raises:
        RecosegError: The installed transformers does not have them.
    """
    try:
        import transformers

        return [getattr(transformers, name) for name in names]
    except (ImportError, AttributeError) as error:
        raise RecosegError(
            f"{_first(title)} needs the package 'transformers' {needs} or newer. Install it with: "
            "pip install --upgrade transformers"
        ) from error


def _folder_of(wanted: LibraryModel, asked: EncoderSpec) -> Located:
    if asked.is_random:
        raise RecosegError(
            f"{asked} is not available: the sizes of {wanted.title} are read from the published "
            f"files. Name a folder with them: {asked.name}=/path/to/folder"
        )
    if asked.weights is None:
        return locate(wanted.source, asked.name)
    own = Path(asked.weights).expanduser()
    if not own.is_dir():
        raise MissingWeightsError(
            f"No folder was found at {str(own)!r} (asked for by {str(asked)!r}). Expected one with "
            f"{wanted.files}, as the Hub holds it."
        )
    return Located(own, f"folder {own.name}", is_own=True)


def _first(title: str) -> str:
    """A title at the beginning of a sentence."""
    return title[0].upper() + title[1:]
