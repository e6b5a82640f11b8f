"""The words of several classes, embedded in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from recoseg.archive.index import ArchiveIndex
from recoseg.classes import ClassNames, WordSpans
from recoseg.encoders.prompts import embed_names, prompt_set
from recoseg.encoders.protocols import DenseTextEncoder, ImageTextEncoder
from recoseg.errors import EncoderMismatchError
from recoseg.retrieval.queries import Query


@dataclass(frozen=True)
class ClassTexts:
    """The words of some classes in one list, so that they are embedded in one call.

    Attributes:
        words: Each class's positive words, then its negative ones, class after class.
        spans: Where the words of each class are.
    """

    words: tuple[str, ...]
    spans: WordSpans

    @classmethod
    def of(cls, classes: Sequence[ClassNames]) -> ClassTexts:
        """The words of classes.

        Example:
            >>> ClassTexts.of([ClassNames("sofa", ("sofa", "couch"), ("bed",))]).words
            ('sofa', 'couch', 'bed')
        """
        words = [word for item in classes for word in (*item.prompts, *item.negatives)]
        counts = [(len(item.prompts), len(item.negatives)) for item in classes]
        return cls(tuple(words), WordSpans.of(counts))

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
            for positive, negative in zip(self.spans.positive, self.spans.negative, strict=True)
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
