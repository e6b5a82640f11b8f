"""Scores of the whole photo: how well it fits each class, by the encoder that searches archives."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from recoseg.concepts import Concept, ConceptBank
from recoseg.device import Compute, resolve_compute
from recoseg.encoders.bundle import other_encoder
from recoseg.encoders.encoder_table import build_retrieval
from recoseg.encoders.protocols import ImageTextEncoder
from recoseg.photos.images import to_frame
from recoseg.retrieval.class_texts import ClassTexts
from recoseg.segmentation.branches import Branch
from recoseg.segmentation.scores import text_scores


class WholePhoto:
    """An encoder of whole photos as a dense one, whose grid is a single cell.

    Args:
        encoder: The retrieval encoder. It sees the encoders' input in its own frame, most often the
            square in the centre.
    """

    def __init__(self, encoder: ImageTextEncoder) -> None:
        self._encoder = encoder
        self.info = encoder.info

    def features(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n d 1 1"]:
        """Embeddings of photos, each L2-normalised."""
        framed = [
            to_frame(Image.fromarray(one.permute(1, 2, 0).cpu().numpy()), self._encoder.frame)
            for one in images
        ]
        return self._encoder.embed_images(torch.stack(framed))[:, :, None, None]

    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Embeddings of texts, rows L2-normalised."""
        return self._encoder.embed_texts(texts)


def photo_branch(
    bank: ConceptBank,
    concepts: Sequence[Concept],
    encoder: ImageTextEncoder | None,
    compute: Compute | None,
) -> Branch:
    """The branch of the whole photo, whose scores are the same at all pixels.

    Args:
        bank: The bank.
        concepts: The concepts that get scores.
        encoder: The bank's retrieval encoder; None to build it.
        compute: Device and precision of an encoder that is built here; None for the best.

    Raises:
        EncoderMismatchError: The encoder is not the bank's own.
        ConceptError: The encoder knows nothing of a word.
    """
    recorded = bank.encoders.retrieval
    if encoder is None:
        encoder = build_retrieval(recorded, compute or resolve_compute())
    if not recorded.same_as(encoder.info):
        raise other_encoder("retrieval", [recorded], encoder.info)
    texts = ClassTexts.of([concept.words for concept in concepts])
    rows = texts.embed(encoder, bank.settings.learn.prompts)
    words = [
        (rows[positive], rows[negative])
        for positive, negative in zip(texts.spans.positive, texts.spans.negative, strict=True)
    ]
    score = partial(text_scores, words=words)
    return Branch(f"photo:{encoder.info.name}", WholePhoto(encoder), score, tuple(concepts))
