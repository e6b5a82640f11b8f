"""Learning the prompt of one class for a decoder, from photos with the regions that show it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from recoseg.classes import ClassNames
from recoseg.decoder_prompts import DecoderPrompt, PromptRecord, WordScore
from recoseg.decoders.class_maps import of_words
from recoseg.decoders.prompt_learning import (
    best_threshold,
    dice_of_all,
    mean_tokens,
    soft_dice,
    word_weights,
)
from recoseg.decoders.sam3 import Prompts, Sam3Decoder
from recoseg.errors import ConceptError
from recoseg.learning.supports import Support, read_support, region_at

LEAST_DICE = 0.05
"""If no word of a class fits its regions better than this, the decoder does not know it."""


def learn_prompt(
    decoder: Sam3Decoder, words: ClassNames, supports: Sequence[Support]
) -> DecoderPrompt:
    """Learn which words find a class, their common prompt, and the threshold of its pixels.

    Each word is scored by the mean soft Dice of its maps with the regions of the supports. As in
    segmentation, the map is 0 where a negative word is better. The tokens of the words are averaged
    with weights by these scores, and the maps of this one prompt give the threshold. Negative words
    stay prompts of their own.

    Args:
        decoder: The decoder.
        words: The class.
        supports: Photos with regions. Those that cannot be read are left out with a warning.

    Raises:
        ConceptError: No support can be read, no word fits the regions, or masks fit them no better
            than whole photos would.
    """
    prompts = decoder.prompts([*words.prompts, *words.negatives])
    count = len(words.prompts)
    used, totals = [], torch.zeros(len(prompts.tokens))
    for support in supports:
        pixels = read_support(support, decoder.side)
        if pixels is not None:
            maps = _maps(decoder, pixels, prompts)
            region = region_at(support.region, (maps.shape[1], maps.shape[2]))
            totals += soft_dice(_without(maps, count), region)
            used.append((support, pixels))
    if not used:
        raise ConceptError("none of its photos with regions can be read")
    scores = totals / len(used)
    best = int(scores[:count].argmax())
    if scores[best] < LEAST_DICE:
        raise ConceptError(
            f"{decoder.name} finds none of its words in its photos: the best one, "
            f"{words.prompts[best]!r}, has a Dice of {float(scores[best]):.2f} with its regions"
        )
    weights = word_weights(scores[:count])
    own = _joined(prompts, weights, count)
    found = [(support, _of_class(decoder, pixels, own)) for support, pixels in used]
    regions = [region_at(support.region, (one.shape[0], one.shape[1])) for support, one in found]
    threshold, dice = best_threshold([one for _, one in found], regions)
    if dice <= dice_of_all(regions):
        raise ConceptError(
            f"what {decoder.name} finds by its words fits the regions of its photos no better than "
            "whole photos would"
        )
    listed = [
        WordScore(word, float(score), float(weight))
        for word, score, weight in zip(words.prompts, scores, weights, strict=False)
    ]
    listed += [
        WordScore(word, float(score), 0.0, is_negative=True)
        for word, score in zip(words.negatives, scores[count:], strict=True)
    ]
    paths = tuple(support.path for support, _ in used)
    record = PromptRecord(decoder.name, decoder.fingerprint, tuple(listed), threshold, dice, paths)
    return DecoderPrompt(record, own.tokens.cpu(), own.are_words.cpu())


def _maps(
    decoder: Sam3Decoder, pixels: UInt8[Tensor, "3 h w"], prompts: Prompts
) -> Float[Tensor, "p a b"]:
    return decoder.maps(pixels[None], prompts)[0].cpu()


def _without(maps: Float[Tensor, "p a b"], count: int) -> Float[Tensor, "p a b"]:
    """The maps of words, those of the first `count` with 0 where one of the others is better."""
    negative = slice(count, len(maps))
    own = [of_words(maps, slice(place, place + 1), negative) for place in range(count)]
    return torch.cat([torch.stack(own), maps[count:]])


def _joined(prompts: Prompts, weights: Float[Tensor, " w"], count: int) -> Prompts:
    """The prompt of a class from those of its words, then its negative words as they are."""
    words = prompts.part(0, count)
    tokens, counted = mean_tokens(words.tokens, words.are_words, weights.to(words.tokens.device))
    negative = prompts.part(count, len(prompts.tokens))
    return Prompts(
        torch.cat([tokens[None], negative.tokens]), torch.cat([counted[None], negative.are_words])
    )


def _of_class(
    decoder: Sam3Decoder, pixels: UInt8[Tensor, "3 h w"], own: Prompts
) -> Float[Tensor, "a b"]:
    """The map of a class by its own prompt."""
    maps = _maps(decoder, pixels, own)
    return of_words(maps, slice(0, 1), slice(1, len(maps)))
