"""What a decoder is asked for each class: the prompt that the bank has learnt, or its words."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from recoseg.classes import WordSpans
from recoseg.concepts import Concept
from recoseg.decoder_prompts import DecoderPrompt
from recoseg.decoders.prompt_learning import levelled
from recoseg.decoders.sam3 import Prompts, Sam3Decoder

LEVEL = 0.5
"""The threshold of all classes once their maps are levelled; see `levelled`."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ClassPrompts:
    """The prompts of several classes.

    Attributes:
        prompts: For each class in order, its prompt or those of its words, then those of its
            negative words.
        spans: Which of the prompts belong to each class.
        thresholds: The learnt threshold of each class; None where its words are asked for.
        identity: A text that differs where the prompts or the thresholds differ.
    """

    prompts: Prompts
    spans: WordSpans
    thresholds: tuple[float | None, ...]
    identity: str

    def levelled(self, maps: Float[Tensor, "c h w"]) -> Float[Tensor, "c h w"]:
        """The maps of the classes, in which learnt thresholds have become `LEVEL`."""
        pairs = zip(maps, self.thresholds, strict=True)
        return torch.stack([one if own is None else levelled(one, own) for one, own in pairs])


def learnt_prompt(decoder: Sam3Decoder, concept: Concept) -> DecoderPrompt | None:
    """The prompt that a bank has learnt of a class for this decoder; None if it has none."""
    prompt = concept.prompt
    return prompt if prompt and prompt.record.fingerprint == decoder.fingerprint else None


def own_threshold(decoder: Sam3Decoder, concepts: Sequence[Concept]) -> float | None:
    """The background threshold where none is given: `LEVEL` if a prompt was learnt, else none."""
    return LEVEL if any(learnt_prompt(decoder, one) for one in concepts) else None


def class_prompts(decoder: Sam3Decoder, concepts: Sequence[Concept]) -> ClassPrompts:
    """The prompts of classes for a decoder.

    Classes without a learnt prompt, and those whose prompt was learnt for other weights, are asked
    for by all their words; a warning names the latter.

    Args:
        decoder: The decoder.
        concepts: The classes.
    """
    learnt = [learnt_prompt(decoder, concept) for concept in concepts]
    _tell_others(decoder, [one for one, own in zip(concepts, learnt, strict=True) if own is None])
    asked = [
        word
        for concept, own in zip(concepts, learnt, strict=True)
        for word in (*concept.words.prompts, *concept.words.negatives)
        if own is None
    ]
    by_words = decoder.prompts(asked) if asked else None
    parts, counts, start = [], [], 0
    for concept, own in zip(concepts, learnt, strict=True):
        if own is not None:
            device = decoder.compute.device
            parts.append(Prompts(own.tokens.to(device), own.are_words.to(device)))
            counts.append((1, len(own.tokens) - 1))
        else:
            assert by_words is not None
            counts.append((len(concept.words.prompts), len(concept.words.negatives)))
            parts.append(by_words.part(start, start + sum(counts[-1])))
            start += sum(counts[-1])
    tokens, are_words = (torch.cat(ones) for ones in zip(*parts, strict=True))
    return ClassPrompts(
        Prompts(tokens, are_words),
        WordSpans.of(counts),
        tuple(own.record.threshold if own is not None else None for own in learnt),
        _identity(asked, learnt),
    )


def _tell_others(decoder: Sam3Decoder, concepts: Sequence[Concept]) -> None:
    """Tell which classes have a prompt that was learnt for another decoder."""
    names = [concept.name for concept in concepts if concept.prompt is not None]
    if names:
        _log.warning(
            "The bank's prompts were learnt with other weights than those of %s (fingerprint %s), "
            "so these classes are looked for by their words: %s. Learn them again with `recoseg "
            "learn --relearn --decoder`.",
            decoder.name,
            decoder.fingerprint,
            ", ".join(names),
        )


def _identity(asked: Sequence[str], learnt: Sequence[DecoderPrompt | None]) -> str:
    digest = hashlib.sha256(repr(tuple(asked)).encode("utf-8", "surrogateescape"))
    for place, own in enumerate(learnt):
        if own is not None:
            digest.update(repr((place, tuple(own.tokens.shape), own.record.threshold)).encode())
            digest.update(own.tokens.numpy().tobytes() + own.are_words.numpy().tobytes())
    return digest.hexdigest()
