"""The passes of SAM 3: photos through its encoder, then pairs of a photo and a word.

A pair needs much memory, because its masks are made on a fine grid. So only a bounded number of
pairs is in memory together, whatever the numbers of photos and of words are.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from recoseg.allocator import memory_limit

BUCKET = 32
"""Pairs of a photo and a word that pass together at most."""

_PAIR = 350
"""Bytes that a pair needs per pixel of the model's input, with its masks; 340 were measured with
the published sizes in fp32, on a CPU."""

_PREVIEWED = 200
"""Bytes that a pair needs per pixel without masks; 160 were measured."""

_PHOTO = 500
"""Bytes that the encoder and its features need per pixel of a photo; 340 were measured."""

_SHARE = 4  # a quarter of the memory is for what passes together
_ON_CPU = 2_100_000_000  # bytes; more pairs at once are no faster there


class Seen(NamedTuple):
    """What the model sees of some photos, or of the photos of some pairs.

    Attributes:
        features: Feature maps, the finest first.
        positions: Where their cells lie, encoded.
    """

    features: tuple[Float[Tensor, "n d _ _"], ...]
    positions: tuple[Float[Tensor, "n d _ _"], ...]

    def of(self, photos: Sequence[int]) -> Seen:
        """The same for pairs, given the photo of each; of a single photo nothing is copied."""

        def take(part: Tensor) -> Tensor:
            if len(set(photos)) == 1:
                return part[photos[0]].expand(len(photos), *part.shape[1:])
            return part[list(photos)]

        return Seen(tuple(map(take, self.features)), tuple(map(take, self.positions)))


class Detected(NamedTuple):
    """What the model detects in pairs.

    Attributes:
        presence: Whether the photo shows the word, logits.
        scores: How well each candidate is an instance of the word, logits.
        candidates: The candidates.
        encoded: Features of the photo, given the word.
    """

    presence: Float[Tensor, " b"]
    scores: Float[Tensor, "b q"]
    candidates: Float[Tensor, "b q d"]
    encoded: Float[Tensor, "b s d"]


def see(encoder: Any, pixels: Float[Tensor, "n 3 s s"]) -> Seen:
    """Encode photos, normalised as the model wants them.

    Args:
        encoder: The vision encoder of a `Sam3Model`.
        pixels: The photos.
    """
    found = encoder(pixels)
    # The coarsest maps are those of SAM 3's tracker.
    return Seen(tuple(found.fpn_hidden_states[:-1]), tuple(found.fpn_position_encoding[:-1]))


def detect(
    model: Any, seen: Seen, tokens: Float[Tensor, "b t d"], are_words: Bool[Tensor, "b t"]
) -> Detected:
    """Detect the word of each pair in its photo, without masks.

    Args:
        model: A `Sam3Model`.
        seen: The photo of each pair.
        tokens: The word of each pair; see `Prompts`.
        are_words: Which of the tokens are part of the word.
    """
    encoded = model.detr_encoder(
        vision_features=[seen.features[-1]],
        text_features=tokens,
        vision_pos_embeds=[seen.positions[-1]],
        text_mask=are_words,
    )
    decoded = model.detr_decoder(
        vision_features=encoded.last_hidden_state,
        text_features=encoded.text_features,
        vision_pos_encoding=encoded.pos_embeds_flattened,
        text_mask=are_words,
        spatial_shapes=encoded.spatial_shapes,
    )
    last = decoded.intermediate_hidden_states[-1:]
    scores = model.dot_product_scoring(
        decoder_hidden_states=last, text_features=encoded.text_features, text_mask=are_words
    )
    return Detected(
        decoded.presence_logits[-1][:, 0].float(),
        scores[-1, ..., 0].float(),
        last[-1],
        encoded.last_hidden_state,
    )


def draw_masks(
    model: Any,
    seen: Seen,
    found: Detected,
    candidates: Float[Tensor, "b k d"],
    tokens: Float[Tensor, "b t d"],
    are_words: Bool[Tensor, "b t"],
) -> tuple[Float[Tensor, "b a c"], Float[Tensor, "b k a c"]]:
    """The semantic map of each pair, and the masks of some of its candidates, logits.

    Args:
        model: A `Sam3Model`.
        seen: The photo of each pair.
        found: What was detected in the pairs.
        candidates: The candidates whose masks are wanted; the mask of one needs no others.
        tokens: The word of each pair.
        are_words: Which of the tokens are part of the word.
    """
    drawn = model.mask_decoder(
        decoder_queries=candidates,
        backbone_features=list(seen.features),
        encoder_hidden_states=found.encoded,
        prompt_features=tokens,
        prompt_mask=are_words,
    )
    return drawn.semantic_seg[:, 0].float(), drawn.pred_masks.float()


def at_side(encoder: Any, side: int) -> Any:
    """A vision encoder for another input size, which shares the weights of the given one.

    Its layers with global attention hold the positions of the patches of one input size. All
    others take any.

    Args:
        encoder: The vision encoder of a `Sam3Model`.
        side: Side of the photos, pixels.
    """
    other = copy.deepcopy(encoder, {id(weight): weight for weight in encoder.parameters()})
    backbone = other.backbone
    settings = copy.deepcopy(backbone.config)
    settings.image_size = side
    for place, layer in enumerate(backbone.layers):
        if not layer.window_size:
            device = next(layer.parameters()).device
            made = type(layer)(settings, window_size=0).to(device)
            made.load_state_dict(layer.state_dict(), assign=True)
            backbone.layers[place] = made.requires_grad_(False).eval()
    return other


def pairs_at_once(device: torch.device, side: int, *, masks: bool = True) -> int:
    """How many pairs of a photo and a word pass together.

    Args:
        device: Where the model is.
        side: Side of its input, pixels.
        masks: Whether their masks are drawn, too.
    """
    needed = (_PAIR if masks else _PREVIEWED) * side**2
    return int(min(BUCKET, max(1, _budget(device) // needed)))


def photos_at_once(device: torch.device, side: int) -> int:
    """How many photos are encoded together, whose features are then in memory together."""
    return int(max(1, _budget(device) // (_PHOTO * side**2)))


def _budget(device: torch.device) -> int:
    """Bytes that may be taken at once; always the same on a machine, so that results are, too."""
    if device.type == "cuda":
        total: int = torch.cuda.get_device_properties(device).total_memory
        return total // _SHARE
    return min(memory_limit() // _SHARE, _ON_CPU)
