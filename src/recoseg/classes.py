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
        ConceptError: There is no class, or a name occurs twice.
    """
    return check_classes(
        [parse_class(line) for line in lines if line.strip() and not line.startswith("#")]
    )


def check_classes(classes: list[ClassNames]) -> list[ClassNames]:
    """Refuse a list without a class, or with two of the same name.

    Raises:
        ConceptError: There is no class, or a name occurs twice.
    """
    names = [item.name for item in classes]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConceptError(f"These classes occur twice: {', '.join(twice)}. Keep one line each.")
    if not classes:
        raise ConceptError("The list of classes is empty. Give one class per line.")
    return classes


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
        raise ConceptError(f"{path} is not a UTF-8 text file. Save it as UTF-8.") from error


@dataclass(frozen=True)
class WordSpans:
    """Where the words of several classes are in one list: positive words first, then negative.

    Attributes:
        spans: For each class the first positive word, the first negative word, and the end.
    """

    spans: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, counts: Sequence[tuple[int, int]]) -> WordSpans:
        """The spans of classes that follow each other.

        Args:
            counts: How many positive and negative words each class has.

        Example:
            >>> WordSpans.of([(2, 1), (1, 0)]).spans
            ((0, 2, 3), (3, 4, 4))
        """
        spans, start = [], 0
        for positive, negative in counts:
            spans.append((start, start + positive, start + positive + negative))
            start = spans[-1][2]
        return cls(tuple(spans))

    @property
    def positive(self) -> tuple[slice, ...]:
        """The positive words of each class."""
        return tuple(slice(start, middle) for start, middle, _ in self.spans)

    @property
    def negative(self) -> tuple[slice, ...]:
        """The negative words of each class; may be empty."""
        return tuple(slice(middle, stop) for _, middle, stop in self.spans)

    @property
    def has_negatives(self) -> bool:
        """Whether some class has a negative word."""
        return any(middle < stop for _, middle, stop in self.spans)

    @property
    def is_plain(self) -> bool:
        """Whether every class is one positive word, so that its score is that word's cosine."""
        return all(span == (at, at + 1, at + 1) for at, span in enumerate(self.spans))

    def combine(self, cosines: Float[Tensor, "*grid m"]) -> Float[Tensor, "*grid c"]:
        """One score per class from the cosines of all words; see `combine_names`."""
        scores = [
            combine_names(cosines[..., positive], cosines[..., negative])
            for positive, negative in zip(self.positive, self.negative, strict=True)
        ]
        return torch.stack(scores, dim=-1)


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
