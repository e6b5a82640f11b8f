"""SAM 3 by transformers: where the things are that a word names.

Source: Carion et al., "SAM 3: Segment Anything with Concepts", 2025.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from recoseg.classes import WordSpans
from recoseg.decoders.class_maps import CONFIDENCE
from recoseg.decoders.decoding import Decoded, Passes, Pixels, decode
from recoseg.decoders.preview import Preview
from recoseg.decoders.sam3_passes import at_side
from recoseg.device import Compute, resolve_compute
from recoseg.encoders.decoder_sources import DECODERS
from recoseg.encoders.library_models import load_model
from recoseg.encoders.licences import SAM, tell_licences
from recoseg.encoders.spec import parse_spec
from recoseg.encoders.weights import fingerprint
from recoseg.errors import RecosegError, UnknownNameError

LICENCE = SAM
"""The licence of their weights."""


class Prompts(NamedTuple):
    """Words as the model reads them.

    Attributes:
        tokens: What stands for each token of each word.
        are_words: Which tokens are part of the word; the others only fill the row.
    """

    tokens: Float[Tensor, "p t d"]
    are_words: Bool[Tensor, "p t"]

    def part(self, start: int, stop: int) -> Prompts:
        """Some of the words."""
        return Prompts(self.tokens[start:stop], self.are_words[start:stop])


@dataclass(frozen=True, eq=False)
class Sam3Decoder:
    """A loaded SAM 3.

    Attributes:
        model: `Sam3Model` of transformers, on its device, frozen.
        processor: Its `Sam3Processor`.
        name: The name it was asked for by.
        origin: Where its weights came from.
        fingerprint: 16 hex digits that identify its weights.
        compute: Device (that of the model) and precision.
        preview: Which of many classes are looked for in a photo.
    """

    model: Any
    processor: Any
    name: str
    origin: str
    fingerprint: str
    compute: Compute
    preview: Preview = field(default_factory=Preview)

    @property
    def side(self) -> int:
        """Photos are squashed to a square of this side, pixels."""
        return int(self.processor.image_processor.size["height"])

    def prompts(self, words: Sequence[str]) -> Prompts:
        """Words as the model reads them; long ones are cut.

        Raises:
            RecosegError: No word was given.
        """
        if not words:
            raise RecosegError("Expected at least one word, got none.")
        length = self.model.config.text_config.max_position_embeddings
        tokens = self.processor.tokenizer(
            list(words),
            padding="max_length",
            truncation=True,
            max_length=length,
            return_tensors="pt",
        ).to(self.compute.device)
        with torch.no_grad(), self.compute.autocast():
            found = self.model.get_text_features(
                input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
            )
        return Prompts(found.pooler_output.float(), tokens["attention_mask"].bool())

    def maps(
        self,
        images: UInt8[Tensor, "n 3 h w"],
        prompts: Prompts,
        confidence: float = CONFIDENCE,
    ) -> Float[Tensor, "n p a b"]:
        """How likely each pixel of each photo shows each word; see `class_map`.

        Each photo is encoded once for all words.

        Args:
            images: Photos of equal size, which are squashed to a square.
            prompts: The words.
            confidence: Instances of a lower score do not count.

        Returns:
            Probabilities on the grid of the model's masks over the whole photo, fp32.
        """
        found = self._passes(prompts, confidence).words(self._pixels(images), len(images))
        return torch.stack([torch.stack([one.map for one in own.values()]) for own in found])

    def decode(
        self,
        images: UInt8[Tensor, "n 3 h w"],
        prompts: Prompts,
        spans: WordSpans,
        confidence: float = CONFIDENCE,
    ) -> Iterator[Decoded]:
        """The maps and instances of classes in each photo, one photo after the other.

        Several photos are encoded together, and several words are decoded together, as many as
        fit into a part of the memory; see `recoseg.decoders.sam3_passes`.

        Args:
            images: Photos of equal size, which are squashed to a square.
            prompts: The words of the classes.
            spans: Which of the words belong to each class.
            confidence: Instances of a lower score do not count.
        """
        passes = self._passes(prompts, confidence)
        return decode(passes, self._pixels(images), len(images), spans, self.preview)

    def _passes(self, prompts: Prompts, confidence: float) -> Passes:
        return Passes(
            self.model,
            self._encoder,
            self.compute,
            self.side,
            prompts.tokens,
            prompts.are_words,
            confidence,
        )

    def _pixels(self, images: UInt8[Tensor, "n 3 h w"]) -> Pixels:
        """The photos as the model reads them: scaled and normalised as its processor does it."""

        def read(part: slice, side: int) -> Float[Tensor, "n 3 s s"]:
            size = {"height": side, "width": side}
            given = list(images[part].cpu())
            inputs = self.processor.image_processor(images=given, size=size, return_tensors="pt")
            pixels: Tensor = inputs["pixel_values"].to(self.compute.device)
            return pixels

        return read

    def _encoder(self, side: int) -> Any:
        """The vision encoder for photos of some side."""
        if side == self.side:
            return self.model.vision_encoder
        if side not in self._smaller:
            self._smaller[side] = at_side(self.model.vision_encoder, side)
        return self._smaller[side]

    @cached_property
    def _smaller(self) -> dict[int, Any]:
        return {}


def load_decoder(spec: str, compute: Compute | None = None) -> Sam3Decoder:
    """Load a decoder: `sam3`, or `sam3=FOLDER` with the files as the Hub holds them.

    Args:
        spec: The name, with a folder if the weights are one's own.
        compute: Device and precision; by default the best.

    Raises:
        UnknownNameError: No decoder has this name.
        RecosegError: The installed transformers has no SAM 3, or the folder cannot be read.
        MissingWeightsError: The model is not on this machine and cannot be downloaded.
    """
    asked = parse_spec(spec)
    if asked.name not in DECODERS:
        raise UnknownNameError("decoder", asked.name, list(DECODERS))
    compute = compute or resolve_compute()
    model, processor, located = load_model(DECODERS[asked.name], asked)
    tell_licences([(asked.name, LICENCE)])
    identity = fingerprint(model)
    compute.place(model)
    return Sam3Decoder(model, processor, asked.name, located.origin, identity, compute)
