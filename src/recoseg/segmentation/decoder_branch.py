"""Scores by a decoder: how likely each pixel shows the words of a class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from recoseg.concepts import Concept
from recoseg.decoders.class_maps import CONFIDENCE, at_cells
from recoseg.decoders.instances import Instances
from recoseg.decoders.preview import Preview
from recoseg.decoders.sam3 import LICENCE, Sam3Decoder
from recoseg.encoders.protocols import EncoderInfo
from recoseg.encoders.weights import combine
from recoseg.segmentation.branches import Branch
from recoseg.segmentation.class_prompts import class_prompts

STRIDE = 4
"""Pixels of the input per cell of the scores."""


class DecodedClasses:
    """A decoder as a dense encoder, whose features are the maps of classes.

    Args:
        decoder: The decoder.
        concepts: The classes, each with its words.
        preview: Which of many classes are looked for in a photo; by default the published rule.
    """

    def __init__(
        self, decoder: Sam3Decoder, concepts: Sequence[Concept], preview: Preview | None = None
    ) -> None:
        self._decoder, self._asked = decoder, class_prompts(decoder, concepts)
        self._preview = preview or Preview()
        rule = self._preview.to_json(len(concepts))
        identity = combine(decoder.fingerprint, self._asked.identity, CONFIDENCE, *rule.values())
        self.info = EncoderInfo(decoder.name, decoder.origin, identity, len(concepts), STRIDE)

    def features(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n c gh gw"]:
        """How likely each cell shows each class, 0 to 1; learnt thresholds have become 0.5."""
        return self.find(images)[0]

    def find(
        self, images: UInt8[Tensor, "n 3 h w"]
    ) -> tuple[Float[Tensor, "n c gh gw"], list[Instances]]:
        """The same, and the instances of the classes in each photo."""
        size, asked = (images.shape[2], images.shape[3]), self._asked
        maps, instances = [], []
        for found in self._decoder.decode(images, asked.prompts, asked.spans, self._preview):
            maps.append(at_cells(asked.levelled(found.maps)[None], size, STRIDE))
            instances.append(found.instances)
        return torch.cat(maps), instances


def decoder_branch(decoder: Sam3Decoder, concepts: Sequence[Concept]) -> Branch:
    """The branch of a decoder, whose scores are probabilities.

    Args:
        decoder: The decoder.
        concepts: The concepts that get scores.
    """
    encoder = DecodedClasses(decoder, concepts)
    return Branch(f"decoder:{decoder.name}", encoder, _as_they_are, tuple(concepts))


def decoder_settings(decoder: Sam3Decoder, classes: int) -> dict[str, Any]:
    """What decides the scores of a decoder, as JSON fields.

    Args:
        decoder: The decoder.
        classes: Number of classes that get scores.
    """
    return {
        "name": decoder.name,
        "weights": decoder.origin,
        "fingerprint": decoder.fingerprint,
        "licence": LICENCE,
        "confidence": CONFIDENCE,
        **Preview().to_json(classes),
    }


def _as_they_are(maps: Float[Tensor, "n c gh gw"]) -> Float[Tensor, "n c gh gw"]:
    return maps
