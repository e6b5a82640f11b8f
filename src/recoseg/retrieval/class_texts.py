"""The words of several classes, embedded in one go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from recoseg.archive.index import ArchiveIndex
from recoseg.classes import ClassNames
from recoseg.encoders.prompts import embed_names, prompt_set
from recoseg.encoders.protocols import DenseTextEncoder, ImageTextEncoder
from recoseg.errors import EncoderMismatchError
from recoseg.retrieval.queries import Query


@dataclass(frozen=True)
class Words:
    """All words of some classes in one list.

    Attributes:
        words: Each class's positive words, then its negative ones, class after class.
        positive: Where the positive words of each class stand.
        negative: Where its negative words stand; may be empty.
    """

    words: tuple[str, ...]
    positive: tuple[slice, ...]
    negative: tuple[slice, ...]

    @classmethod
    def of(cls, classes: Sequence[ClassNames]) -> Words:
        """Lay out the words of classes.

        Example:
            >>> Words.of([ClassNames("sofa", ("sofa", "couch"), ("bed",))]).negative
            (slice(2, 3, None),)
        """
        words: list[str] = []
        positive, negative = [], []
        for item in classes:
            start, middle = len(words), len(words) + len(item.prompts)
            words += [*item.prompts, *item.negatives]
            positive.append(slice(start, middle))
            negative.append(slice(middle, len(words)))
        return cls(tuple(words), tuple(positive), tuple(negative))

    def embed(
        self, encoder: ImageTextEncoder | DenseTextEncoder, prompts: str
    ) -> Float[Tensor, "m d"]:
        """Their embeddings through a prompt set, on the CPU, rows L2-normalised."""
        return embed_names(encoder.embed_texts, self.words, prompt_set(prompts)).cpu()

    def queries(self, encoder: ImageTextEncoder, prompts: str) -> list[Query]:
        """One query per class."""
        texts = self.embed(encoder, prompts)
        return [
            Query(texts[positive], texts[negative])
            for positive, negative in zip(self.positive, self.negative, strict=True)
        ]


def check_index(index: ArchiveIndex, encoder: ImageTextEncoder) -> None:
    """Refuse an encoder that did not make the index.

    Raises:
        EncoderMismatchError: Weights or dimension differ.
    """
    made, given = index.info, encoder.info
    if made is not None and not made.same_as(given):
        raise EncoderMismatchError(
            f"The index was made with {made.name} (fingerprint {made.fingerprint}), got "
            f"{given.name} (fingerprint {given.fingerprint}) as retrieval encoder. Use the "
            "index's own (--retrieval), or make the index again."
        )
    if index.dim != given.dim:
        raise EncoderMismatchError(
            f"The index holds embeddings of {index.dim} numbers, {given.name} makes {given.dim}. "
            "Use the encoder that made them (--retrieval)."
        )
