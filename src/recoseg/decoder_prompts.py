"""What a decoder has learnt of a class: one prompt, the words it is made of, and a threshold."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from recoseg.errors import RecosegError

_MOST_NUMBERS = 1 << 24
"""Most numbers of the tokens of one class: they may come from anyone's bank."""


@dataclass(frozen=True)
class WordScore:
    """How well a decoder finds a class by one word.

    Attributes:
        word: The word.
        dice: Mean soft Dice of the word's maps with the regions of the supports, 0 to 1.
        weight: Share of the word in the prompt, 0 to 1; 0 for words that are left out.
        is_negative: Whether it names what must not be mistaken for the class. It is then a prompt
            of its own, with the weight 0.
    """

    word: str
    dice: float
    weight: float
    is_negative: bool = False


@dataclass(frozen=True)
class PromptRecord:
    """How the prompt of a class was learnt.

    Attributes:
        decoder: Name of the decoder.
        fingerprint: 16 hex digits that identify its weights.
        words: The words of the class, then its negative words.
        threshold: Probability from which a pixel belongs to the class, 0 to 1.
        dice: Mean Dice of the masks by that threshold with the regions of the supports, 0 to 1.
        supports: Paths of the photos that it was learnt from.

    Raises:
        RecosegError: A number is out of range, or no word is positive.
    """

    decoder: str
    fingerprint: str
    words: tuple[WordScore, ...]
    threshold: float
    dice: float
    supports: tuple[str, ...]

    def __post_init__(self) -> None:
        scores = [number for one in self.words for number in (one.dice, one.weight)]
        if not all(0 <= number <= 1 for number in (self.threshold, self.dice, *scores)):
            raise RecosegError(f"expected scores of words from 0 to 1, got {self.words}"[:300])
        if all(one.is_negative for one in self.words):
            raise RecosegError("expected a prompt with a positive word, got none")


@dataclass(frozen=True, eq=False)
class DecoderPrompt:
    """The prompt of a class for one decoder.

    Attributes:
        record: How it was learnt.
        tokens: What stands for each token: of the class in the first row, then of each negative
            word.
        are_words: Which tokens count; the others only fill the row.

    Raises:
        RecosegError: The tokens are not those of such prompts.
    """

    record: PromptRecord
    tokens: Float[Tensor, "p t d"]
    are_words: Bool[Tensor, "p t"]

    def __post_init__(self) -> None:
        rows = 1 + sum(one.is_negative for one in self.record.words)
        shape = tuple(self.tokens.shape)
        if (
            self.tokens.dtype != torch.float32
            or len(shape) != 3
            or shape[0] != rows
            or tuple(self.are_words.shape) != shape[:2]
            or not 0 < self.tokens.numel() <= _MOST_NUMBERS
        ):
            raise RecosegError(
                f"expected the tokens of {rows} prompts as fp32 of shape ({rows}, t, d), got "
                f"{self.tokens.dtype} of shape {shape}"
            )
        if not self.tokens.isfinite().all() or not self.are_words.any(1).all():
            raise RecosegError("expected prompts of finite numbers with at least one token each")

    def tensors(self) -> dict[str, Tensor]:
        """Its tensors by the names that they have in a bank, fp32."""
        return {TOKENS: self.tokens, ARE_WORDS: self.are_words.float()}

    @classmethod
    def of(
        cls, record: PromptRecord, tokens: Float[Tensor, "p t d"], counted: Float[Tensor, "p t"]
    ) -> DecoderPrompt:
        """The prompt of the record and the tensors that a file holds.

        Raises:
            RecosegError: They are not those of a prompt.
        """
        if not ((counted == 0) | (counted == 1)).all():
            raise RecosegError(f"expected 0 or 1 for each token in {ARE_WORDS}, got other numbers")
        return cls(record, tokens, counted.bool())


TOKENS, ARE_WORDS = "prompt.tokens", "prompt.are_words"
"""Names of the tensors of a prompt in a bank."""
