"""Checks of what the file of a concept bank holds, which may come from anyone."""

from __future__ import annotations

from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from recoseg.classes import ClassNames
from recoseg.encoders.bundle import EncoderInfos
from recoseg.errors import ConceptError
from recoseg.storage.tensors import check_unit_rows

FORMAT = "recoseg-bank-1"
"""The format of the files of banks."""

LEARN = "Make a concept bank with `recoseg learn`."
"""What to do where a bank cannot be read."""


def check_format(path: str | Path, found: str) -> None:
    """Refuse files that are not concept banks, and those of later versions.

    Raises:
        ConceptError: The file has another format.
    """
    if found == FORMAT:
        return
    if found.startswith("recoseg-bank-"):
        raise ConceptError(
            f"{path} was written by another version of recoseg (expected the format {FORMAT}, got "
            f"{found}). Update recoseg, or make the bank again with `recoseg learn`."
        )
    raise ConceptError(
        f"{path} is not a concept bank (expected the format {FORMAT}, got {found}). {LEARN}"
    )


def check_words(words: ClassNames) -> None:
    """Refuse a class without words, which `learn` never writes.

    Raises:
        ConceptError: A name or word is empty, or there is no positive word.
    """
    every = (words.name, *words.prompts, *words.negatives)
    if not words.prompts or not all(word.strip() for word in every):
        raise ConceptError(f"expected a name and words, none of them empty, got {every}")


def check_text_rows(
    name: str,
    positive: Float[Tensor, "a d"],
    negative: Float[Tensor, "b d"],
    encoders: EncoderInfos,
) -> None:
    """Refuse text embeddings that `learn` never writes.

    Raises:
        FileError: They are not unit rows of the saliency encoder's length.
    """
    for rows, least in ((positive, 1), (negative, 0)):
        check_unit_rows(rows, encoders.saliency.dim, least, f"text embeddings of {name!r}")


def reference_names(encoders: EncoderInfos) -> list[str]:
    """The names of the reference tensors of each phi: the first one's is that of version 0.1."""
    return ["references", *(f"references.{n}" for n in range(1, len(encoders.phi)))]
