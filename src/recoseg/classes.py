"""The names a user gives: one class per line, `name: alias; alias; -negative`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from recoseg.errors import ConceptError


@dataclass(frozen=True)
class ClassNames:
    """One class and the words for it.

    Attributes:
        name: What the class is called in every output.
        prompts: The words its text embeddings are made from; the name itself where none is given.
        negatives: Words for what must not be taken for the class.
    """

    name: str
    prompts: tuple[str, ...]
    negatives: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The line that `parse_class` reads back."""
        words = [*self.prompts, *(f"-{word}" for word in self.negatives)]
        return self.name if words == [self.name] else f"{self.name}: {'; '.join(words)}"


def parse_class(line: str) -> ClassNames:
    """Read one line.

    `sofa` is one name; `sofa; couch` is called *sofa* and known by both; `crane: crane bird;
    -construction crane` is called *crane* and known by *crane bird* only.

    Raises:
        ConceptError: The line holds no name, or only negative ones.

    Example:
        >>> parse_class("sofa; couch; -bed")
        ClassNames(name='sofa', prompts=('sofa', 'couch'), negatives=('bed',))
        >>> parse_class("vegetation: tree").prompts
        ('tree',)
    """
    head, colon, tail = line.partition(":")
    words = [word.strip() for word in (tail if colon else line).split(";")]
    positives = [word for word in words if word and not word.startswith("-")]
    negatives = [word[1:].strip() for word in words if word.startswith("-") and word[1:].strip()]
    name = head.strip() if colon else (positives[0] if positives else "")
    if not name:
        raise ConceptError(
            f"No class name in {line!r}. Expected 'name' or 'name: alias; alias; -negative'."
        )
    return ClassNames(name, tuple(dict.fromkeys(positives)) or (name,), tuple(negatives))


def parse_classes(lines: Sequence[str]) -> list[ClassNames]:
    """Read a list of classes; empty lines and lines that start with # are passed over.

    Raises:
        ConceptError: There is no class, or a name stands twice.
    """
    found = [parse_class(line) for line in lines if line.strip() and not line.startswith("#")]
    names = [item.name for item in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConceptError(f"These classes stand twice: {', '.join(twice)}. Keep one line each.")
    if not found:
        raise ConceptError("The list of classes is empty. Give one class per line.")
    return found


def read_classes(path: Path) -> list[ClassNames]:
    """Read a file of classes, UTF-8, one per line; see `parse_class`.

    Raises:
        ConceptError: The file is missing, is no text, or holds no class.
    """
    try:
        return parse_classes(path.read_text(encoding="utf-8-sig").splitlines())
    except FileNotFoundError as error:
        raise ConceptError(f"No file of classes at {path}. Give one class per line.") from error
    except UnicodeDecodeError as error:
        raise ConceptError(f"{path} is no UTF-8 text. Save it as UTF-8.") from error


def combine_names(
    positive: Float[Tensor, "*grid a"], negative: Float[Tensor, "*grid b"] | None = None
) -> Float[Tensor, "*grid"]:
    """One score from the cosines of a class's positive and negative words.

    The best positive word counts. Where a negative word fits better, the score falls by the
    difference: `max(pos) - relu(max(neg) - max(pos))`, so it is continuous and is the plain
    maximum wherever the class wins.

    Example:
        >>> combine_names(torch.tensor([0.2, 0.3]), torch.tensor([0.4]))
        tensor(0.2000)
    """
    best = positive.amax(-1)
    if negative is None or negative.shape[-1] == 0:
        return best
    return best - torch.relu(negative.amax(-1) - best)
