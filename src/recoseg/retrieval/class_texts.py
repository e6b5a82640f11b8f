"""Text embeddings of the words of several classes, computed in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from recoseg.archive.index import ArchiveIndex
from recoseg.classes import ClassNames, WordSpans, is_text
from recoseg.encoders.prompts import embed_names, prompt_set
from recoseg.encoders.protocols import DenseTextEncoder, ImageTextEncoder, KnowsItsWords
from recoseg.errors import ConceptError, EncoderMismatchError
from recoseg.retrieval.queries import Query


@dataclass(frozen=True)
class ClassTexts:
    """The words of several classes in one list, so that they are embedded in one call.

    Attributes:
        words: For each class in order, its positive words followed by its negative words.
        spans: Which of the words belong to each class.
    """

    words: tuple[str, ...]
    spans: WordSpans

    @classmethod
    def of(cls, classes: Sequence[ClassNames]) -> ClassTexts:
        """Collect the words of classes.

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
        """Embed the words.

        Args:
            encoder: Encoder of texts.
            prompts: Name of the prompt set; see `prompt_set`.

        Returns:
            One row per word, on the CPU, rows L2-normalised.

        Raises:
            ConceptError: A word is no text, or the encoder knows nothing of it.
        """
        for word in self.words:
            if not is_text(word):
                raise ConceptError(
                    f"The word {word!r} of a class cannot be written as UTF-8. Expected text, from "
                    "a terminal that is set to UTF-8."
                )
        unknown = encoder.unknown_words(self.words) if isinstance(encoder, KnowsItsWords) else []
        if unknown:
            raise ConceptError(
                f"The text encoder {encoder.info.name} knows none of the words "
                f"{', '.join(dict.fromkeys(unknown))}, so it cannot tell them apart. "
                "Name the classes in words that it knows, such as 'name: cat', or choose another "
                "encoder."
            )
        return embed_names(encoder.embed_texts, self.words, prompt_set(prompts)).cpu()

    def queries(self, encoder: ImageTextEncoder, prompts: str) -> list[Query]:
        """Embed the words and return one query per class.

        Args:
            encoder: The retrieval encoder.
            prompts: Name of the prompt set; see `prompt_set`.
        """
        texts = self.embed(encoder, prompts)
        return [
            Query(texts[positive], texts[negative])
            for positive, negative in zip(self.spans.positive, self.spans.negative, strict=True)
        ]


def check_index(index: ArchiveIndex, encoder: ImageTextEncoder) -> None:
    """Refuse an encoder that did not make the index.

    Raises:
        EncoderMismatchError: The weights or the lengths of the embeddings differ.
    """
    made, given = index.info, encoder.info
    if made is not None and not made.same_as(given):
        raise EncoderMismatchError(
            f"The index was made with {made.name} (fingerprint {made.fingerprint}), but the "
            f"retrieval encoder is {given.name} (fingerprint {given.fingerprint}). Use the encoder "
            "of the index (--retrieval), or build the index again."
        )
    if index.dim != given.dim:
        raise EncoderMismatchError(
            f"The index holds embeddings of length {index.dim}, but those of {given.name} have "
            f"length {given.dim}. Use the encoder that made the index (--retrieval)."
        )
