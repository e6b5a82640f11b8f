"""Class names as the user writes them, one class per line: `name: alias; alias; -negative`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from recoseg.errors import ConceptError, FileError, MissingFileError
from recoseg.storage.reading import read_lines, split_lines

_NUMBER_FIRST = re.compile(r'\s*"?\d{1,6}"?\s*[,;\t].*', re.ASCII)
_NUMBER_LAST = re.compile(r'.*[,\t]\s*"?\d{1,6}"?\s*', re.ASCII)
_TITLES = {"id", "class_id", "trainid", "index", "number", "value", "label", "class", "name"}
"""Titles of the columns of tables of classes."""
_COUNTED = re.compile(r"\s*(\d{1,6})(?:\s|[.)]\s*)\s*[^\s\d:].*", re.ASCII)
"""A line that a number begins, as `1 dog` and `1. dog`, of which names may consist, too."""

_NUMBERED = re.compile(r"\s*(\d{1,6})\s*:\s*([^\s;-].*)", re.ASCII)

VERBATIM = "# recoseg: one name per line, as it is"
"""First line of a list whose names would be read in another way without it."""

MAX_CLASSES_FILE = 1 << 26
"""Maximum size of a file of classes, bytes (64 MiB)."""


@dataclass(frozen=True)
class ClassNames:
    """One class and the words for it.

    Attributes:
        name: Name of the class in all outputs.
        prompts: Positive words, from which its text embeddings are computed. By default the name.
        negatives: Negative words: names of things that must not be mistaken for the class.

    Raises:
        ConceptError: One of them holds a control character, such as a tab or a NUL.
    """

    name: str
    prompts: tuple[str, ...]
    negatives: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for word in (self.name, *self.prompts, *self.negatives):
            check_word(word)

    def __str__(self) -> str:
        """The class as a line that `parse_class` reads."""
        words = [*self.prompts, *(f"-{word}" for word in self.negatives)]
        return self.name if words == [self.name] else f"{self.name}: {'; '.join(words)}"


def shared_words(one: ClassNames, other: ClassNames) -> set[str]:
    """The names and positive words, in lower case, that two classes share.

    Example:
        >>> shared_words(parse_class("vegetation: Tree; bush"), parse_class("tree"))
        {'tree'}
    """
    first, second = ({word.casefold() for word in (c.name, *c.prompts)} for c in (one, other))
    return first & second


def check_word(word: str) -> None:
    """Refuse a name or a word of a class with a control character, such as a tab or a NUL.

    Raises:
        ConceptError: It holds one.
    """
    found = next((letter for letter in word if unicodedata.category(letter) == "Cc"), None)
    if found is not None:
        raise ConceptError(
            f"The class name or word {word[:100]!r} holds the control character {found!r}. "
            "Expected text that can be seen, with one class per line."
        )


def parse_class(line: str) -> ClassNames:
    """Read a class from a line.

    `sofa` is a class with one word. `sofa; couch` is a class with the name *sofa* and both words.
    `crane: crane bird; -construction crane` is a class with the name *crane*, the positive word
    *crane bird* and the negative word *construction crane*.

    Raises:
        ConceptError: The line has no name, or only negative words.

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
    """Read classes from lines; empty lines and lines that start with # are skipped.

    If the first line is that of `class_list`, each further line is a name and nothing else. The
    numbers of a list that counts all its classes from 0, as `0: background`, are left out.

    Raises:
        ConceptError: There is no class, a name occurs twice or holds a control character, a list
            counts in another way, or the lines are those of a table or of JSON.
    """
    if lines and lines[0] == VERBATIM:
        return check_classes([ClassNames(name, (name,)) for name in lines[1:] if name])
    kept = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    _refuse_other_forms(kept)
    return check_classes([parse_class(line) for line in _without_numbers(kept)])


def _refuse_other_forms(lines: list[str]) -> None:
    """Refuse tables of numbers and names, and JSON, whose lines would become odd names."""
    what = ""
    has_titles = len(lines) > 1 and _TITLES & set(re.split(r'[\s",;]+', lines[0].lower()))
    body = lines[1:] if has_titles and re.search("[,;\t]", lines[0]) else lines
    is_table = all(map(_NUMBER_FIRST.fullmatch, body))
    if body and (is_table or (len(lines) > 1 and all(map(_NUMBER_LAST.fullmatch, body)))):
        what = "a table of numbers and names"
    elif lines and (lines[0].strip()[0], lines[-1].strip()[-1]) in {("[", "]"), ("{", "}")}:
        what = "JSON" if any('"' in line for line in lines) else ""
    else:
        found = [_COUNTED.fullmatch(line) for line in lines]
        numbers = [int(one[1]) for one in found if one]
        counts = range(len(lines))
        if lines and numbers in ([*counts], [n + 1 for n in counts]):
            what = "a list of numbers and names"
    if what:
        raise ConceptError(
            f"The list of classes is {what}, such as {body[0].strip()[:60]!r}. Expected one name "
            "per line, such as background, or all numbered from 0 with a colon, such as "
            "0: background. If each line is a name just as it stands, put this line first: "
            f"{VERBATIM}"
        )


def _without_numbers(lines: list[str]) -> list[str]:
    """The lines without the number of each class, if each has one."""
    found = [_NUMBERED.fullmatch(line) for line in lines]
    numbers = [int(one[1]) for one in found if one]
    if not numbers or len(numbers) < len(lines):
        return lines
    if numbers != list(range(len(lines))):
        shown = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
        raise ConceptError(
            f"The classes of the list have the numbers {shown}. Expected 0, 1, 2 and so on, as the "
            "labels of masks are counted. Number them so, or remove the numbers."
        )
    return [one[2] for one in found if one]


def class_list(names: Sequence[str]) -> str:
    r"""The text of a `classes.txt`, from which `read_classes` reads the same names in their order.

    It has one name per line. Where a name would not be read as it is, because it begins with # or
    holds a colon, a comment above the names says that they are to be taken as they are.

    Raises:
        ConceptError: There is no name, one occurs twice, or one is empty, holds a control
            character or cannot be written as UTF-8.

    Example:
        >>> class_list(["grass", "tree"])
        'grass\ntree\n'
    """
    check_classes([ClassNames(name, (name,)) for name in names])
    for name in names:
        if not name or not is_text(name):
            raise ConceptError(
                f"The class name {name!r} cannot be written into a list of classes. Expected a "
                "text in one line."
            )
    text = "".join(f"{name}\n" for name in names)
    return text if _names_in(text) == list(names) else f"{VERBATIM}\n{text}"


def _names_in(text: str) -> list[str] | None:
    """The names that are read from a list of classes; None if it cannot be read."""
    try:
        return [item.name for item in parse_classes(split_lines(text.removeprefix("\ufeff")))]
    except ConceptError:
        return None


def is_text(name: str) -> bool:
    """Whether a name can be written as UTF-8; arguments and file names may hold any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_classes(classes: list[ClassNames]) -> list[ClassNames]:
    """Return the classes if there is at least one and no name occurs twice.

    Raises:
        ConceptError: There is no class, or a name occurs twice.
    """
    names = [item.name for item in classes]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConceptError(f"These classes occur twice: {', '.join(twice)}. Keep one line each.")
    if not classes:
        raise ConceptError("The list of classes is empty. Expected one class per line.")
    return classes


def read_classes(path: Path) -> list[ClassNames]:
    """Read a file of classes, UTF-8, one per line; see `parse_class` and `class_list`.

    Raises:
        ConceptError: The file does not exist, cannot be read, is not UTF-8 text, or has no class.
    """
    try:
        lines = read_lines(path, MAX_CLASSES_FILE)
    except MissingFileError as error:
        raise ConceptError(
            f"No file of classes at {path}. Expected a text file with one class per line."
        ) from error
    except FileError as error:
        raise ConceptError(
            f"{error} Expected a UTF-8 text file with one class per line."
        ) from error
    try:
        return parse_classes(lines)
    except ConceptError as error:
        raise ConceptError(f"{path}: {error}") from error


@dataclass(frozen=True)
class WordSpans:
    """Positions of the words of several classes in one list.

    The positive words of a class are followed by its negative words.

    Attributes:
        spans: For each class the positions of its first positive word, of its first negative word,
            and after its last word.
    """

    spans: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, counts: Sequence[tuple[int, int]]) -> WordSpans:
        """The spans of classes whose words follow each other.

        Args:
            counts: Number of positive and of negative words of each class.

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
        """Slices of the positive words of each class."""
        return tuple(slice(start, middle) for start, middle, _ in self.spans)

    @property
    def negative(self) -> tuple[slice, ...]:
        """Slices of the negative words of each class, which may be empty."""
        return tuple(slice(middle, stop) for _, middle, stop in self.spans)

    @property
    def has_negatives(self) -> bool:
        """Whether any class has a negative word."""
        return any(middle < stop for _, middle, stop in self.spans)

    @property
    def is_plain(self) -> bool:
        """Whether every class has a single word, so that its score is the cosine of that word."""
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
    """Combine the cosines of a class's positive and negative words into one score.

    The score is the highest cosine of a positive word. If a negative word has a higher cosine, the
    score is reduced by the difference: `max(pos) - relu(max(neg) - max(pos))`. The score is
    continuous, and equal to `max(pos)` where no negative word has a higher cosine.

    Args:
        positive: Cosines with the positive words, in [-1, 1].
        negative: Cosines with the negative words, in [-1, 1]; may be None or empty.

    Returns:
        Scores in [-1, 1], or in [-3, 1] with negative words.

    Example:
        >>> combine_names(torch.tensor([0.2, 0.3]), torch.tensor([0.4]))
        tensor(0.2000)
    """
    best = positive.amax(-1)
    if negative is None or negative.shape[-1] == 0:
        return best
    return best - torch.relu(negative.amax(-1) - best)
