"""From photos and the words of classes to a map per class, and instances, by SAM 3."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from recoseg.classes import WordSpans
from recoseg.decoders.class_maps import class_map, of_words
from recoseg.decoders.instances import Instances, best_of, none
from recoseg.decoders.preview import Preview
from recoseg.decoders.sam3_passes import (
    Seen,
    detect,
    draw_masks,
    pairs_at_once,
    photos_at_once,
    see,
)
from recoseg.device import Compute

Pixels = Callable[[slice, int], Float[Tensor, "n 3 s s"]]
"""Gives some of the photos, squashed to a square of a side, as the model reads them."""


class OfWord(NamedTuple):
    """What is found of a word in a photo.

    Attributes:
        map: How likely each cell of a grid over the photo shows the word, 0 to 1.
        scores: The scores of its instances, 0 to 1.
        masks: The probability that each of them covers a cell, fp16.
    """

    map: Float[Tensor, "a b"]
    scores: Float[Tensor, " k"]
    masks: Float[Tensor, "k a b"]


class Decoded(NamedTuple):
    """What is found in a photo.

    Attributes:
        maps: How likely each cell of a grid over the photo shows each class, 0 to 1.
        instances: The instances of the classes.
    """

    maps: Float[Tensor, "c a b"]
    instances: Instances


@dataclass(frozen=True, eq=False)
class Choice:
    """Which words are looked for in a photo, by how present they are in a smaller copy of it.

    Attributes:
        side: Side of the copy, pixels.
        words: The words whose presence decides.
        choose: From the presence of these words in a photo, 0 to 1, to the words to look for.
    """

    side: int
    words: Sequence[int]
    choose: Callable[[Float[Tensor, " w"]], list[int]]


@dataclass(frozen=True, eq=False)
class Passes:
    """A model with the words that are looked for.

    Attributes:
        model: `Sam3Model` of transformers.
        encoder: Gives its vision encoder for photos of some side.
        compute: Device (that of the model) and precision.
        side: Side of its input, pixels.
        tokens: The words; see `Prompts`.
        are_words: Which tokens are part of each word.
        confidence: Instances of a lower score do not count.
    """

    model: Any
    encoder: Callable[[int], Any]
    compute: Compute
    side: int
    tokens: Float[Tensor, "p t d"]
    are_words: Bool[Tensor, "p t"]
    confidence: float

    def words(
        self, pixels: Pixels, count: int, choice: Choice | None = None
    ) -> Iterator[dict[int, OfWord]]:
        """What is found in each photo, by the number of the word.

        Args:
            pixels: The photos.
            count: Their number.
            choice: Which words are looked for; None for all.
        """
        together = photos_at_once(self.compute.device, self.side)
        bucket = pairs_at_once(self.compute.device, self.side)
        for start in range(0, count, together):
            seen, wanted = self._begin(pixels, slice(start, min(start + together, count)), choice)
            pairs = [(photo, word) for photo, words in enumerate(wanted) for word in words]
            found = itertools.chain.from_iterable(
                self._found(seen, pairs[at : at + bucket]) for at in range(0, len(pairs), bucket)
            )
            for words in wanted:
                yield dict(zip(words, itertools.islice(found, len(words)), strict=True))

    @torch.inference_mode()
    def _begin(
        self, pixels: Pixels, part: slice, choice: Choice | None
    ) -> tuple[Seen, list[list[int]]]:
        """What the model sees of some photos, and the words that are looked for in each."""
        with self.compute.autocast():
            seen = see(self.encoder(self.side), pixels(part, self.side))
            if choice is None:
                return seen, [list(range(len(self.tokens)))] * (part.stop - part.start)
            small = seen
            if choice.side < self.side:
                small = see(self.encoder(choice.side), pixels(part, choice.side))
            presence = self._presence(small, part.stop - part.start, choice)
        return seen, [choice.choose(one) for one in presence]

    def _presence(self, seen: Seen, photos: int, choice: Choice) -> Float[Tensor, "n w"]:
        """How likely each photo shows each of the words that decide."""
        bucket = pairs_at_once(self.compute.device, choice.side, masks=False)
        pairs = [(photo, word) for photo in range(photos) for word in choice.words]
        found = []
        for at in range(0, len(pairs), bucket):
            own, words = zip(*pairs[at : at + bucket], strict=True)
            part = detect(
                self.model, seen.of(own), self.tokens[list(words)], self.are_words[list(words)]
            )
            found.append(part.presence.sigmoid())
        return torch.cat(found).view(photos, len(choice.words))

    @torch.inference_mode()
    def _found(self, seen: Seen, pairs: Sequence[tuple[int, int]]) -> list[OfWord]:
        """What is found in pairs of a photo and a word that pass together."""
        photos, words = (list(part) for part in zip(*pairs, strict=True))
        own, tokens, are_words = seen.of(photos), self.tokens[words], self.are_words[words]
        with self.compute.autocast():
            found = detect(self.model, own, tokens, are_words)
            scores = found.scores.sigmoid() * found.presence.sigmoid()[:, None]
            counts = (scores >= self.confidence).sum(1).tolist()
            best = scores.topk(max(1, *counts), 1).indices
            rows = torch.arange(len(pairs), device=best.device)[:, None]
            semantic, masks = draw_masks(
                self.model, own, found, found.candidates[rows, best], tokens, are_words
            )
        return [
            OfWord(
                class_map(
                    found.presence[at],
                    semantic[at],
                    found.scores[at, best[at]],
                    masks[at],
                    self.confidence,
                ),
                scores[at, best[at, :count]].cpu(),
                masks[at, :count].sigmoid().half().cpu(),
            )
            for at, count in enumerate(counts)
        ]


def decode(
    passes: Passes, pixels: Pixels, count: int, spans: WordSpans, preview: Preview
) -> Iterator[Decoded]:
    """What is found of classes in each photo.

    Args:
        passes: The model, with the words of the classes.
        pixels: The photos.
        count: Their number.
        spans: Which of the words belong to each class.
        preview: Which of many classes are looked for.
    """
    choice = choice_of(spans, preview, passes.side)
    for found in passes.words(pixels, count, choice):
        yield Decoded(maps_of(found, spans), instances_of(found, spans))


def choice_of(spans: WordSpans, preview: Preview, side: int) -> Choice | None:
    """Which words are looked for: all, or those of the classes that a preview chooses.

    A class is as present as its most present word; negative words say nothing of it.

    Args:
        spans: Which words belong to each class.
        preview: The rule.
        side: Side of the model's input, pixels.
    """
    if not preview.is_used(len(spans.spans)):
        return None
    groups = [range(part.start, part.stop) for part in spans.positive]
    ends = list(itertools.accumulate(map(len, groups)))

    def choose(presence: Float[Tensor, " w"]) -> list[int]:
        of_classes = [
            presence[end - len(group) : end].max() for group, end in zip(groups, ends, strict=True)
        ]
        chosen = preview.chosen(torch.stack(of_classes))
        return [
            word for index in chosen for word in range(spans.spans[index][0], spans.spans[index][2])
        ]

    words = [word for group in groups for word in group]
    return Choice(min(preview.side, side), words, choose)


def maps_of(found: Mapping[int, OfWord], spans: WordSpans) -> Float[Tensor, "c a b"]:
    """The map of each class of what was found of its words; 0 where they were not looked for."""
    first = next(iter(found.values())).map
    maps = first.new_zeros(len(spans.spans), *first.shape)
    for index, (start, middle, stop) in enumerate(spans.spans):
        if start in found:
            own = torch.stack([found[word].map for word in range(start, stop)])
            positive, negative = slice(0, middle - start), slice(middle - start, stop - start)
            maps[index] = of_words(own, positive, negative)
    return maps


def instances_of(found: Mapping[int, OfWord], spans: WordSpans) -> Instances:
    """The best instances of the positive words of classes, each once; see `best_of`."""
    own = [
        (index, found[word])
        for index, part in enumerate(spans.positive)
        for word in range(part.start, part.stop)
        if word in found
    ]
    shape = own[0][1].map.shape
    if not any(len(one.scores) for _, one in own):
        return none((shape[0], shape[1]))
    classes = torch.tensor([index for index, one in own for _ in one.scores])
    scores = torch.cat([one.scores for _, one in own])
    return best_of(Instances(classes, scores, torch.cat([one.masks for _, one in own])))
