"""TIPSv2 by transformers: whole photos, patches and texts in one space.

Source: Cao et al., TIPSv2, 2026. Patches take the values of the last layer, which fit texts better
than its attention does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from recoseg.device import Compute
from recoseg.encoders.attention.tower import to_map
from recoseg.encoders.library_models import LibraryModel, load_model
from recoseg.encoders.normalisation import Normalisation, check_size, to_input
from recoseg.encoders.protocols import EncoderInfo
from recoseg.encoders.spec import BuildRequest, Encoder
from recoseg.encoders.weights import combine, fingerprint
from recoseg.errors import RecosegError
from recoseg.photos.frame import Frame

VALUES = "tips_values"
"""The id of the patch features in fingerprints; another arithmetic gets a new id."""

_PLAIN = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
_TEXT_BATCH = 256
_CLASSES = ("Tipsv2Model", "AutoTokenizer")
_FILES = "config.json, weights and tokenizer"


@dataclass(frozen=True, eq=False)
class LoadedTips:
    """A TIPSv2 in evaluation mode, with its tokenizer.

    Attributes:
        model: `Tipsv2Model` of transformers, on its device, frozen.
        tokenizer: Its tokenizer.
        info: Its identity, as an encoder of whole photos.
        compute: Device (that of the model) and precision.
    """

    model: Any
    tokenizer: Any
    info: EncoderInfo
    compute: Compute

    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Embeddings of texts, fp32, rows L2-normalised."""
        if not texts:
            raise RecosegError("Expected at least one text to embed, got none.")
        length = self.model.config.text_config.max_position_embeddings
        rows = []
        for start in range(0, len(texts), _TEXT_BATCH):
            tokens = self.tokenizer(
                list(texts[start : start + _TEXT_BATCH]),
                padding="max_length",
                truncation=True,
                max_length=length,
                return_tensors="pt",
            ).to(self.compute.device)
            with torch.no_grad(), self.compute.autocast():
                found = self.model.text_model(tokens["input_ids"], tokens["attention_mask"])
            rows.append(found.pooler_output.float())
        return F.normalize(torch.cat(rows), dim=-1)


class TipsImageText:
    """Embeds whole photos and texts with TIPSv2 (an `ImageTextEncoder`)."""

    def __init__(self, loaded: LoadedTips) -> None:
        self._loaded = loaded
        self.info = loaded.info
        self.frame = frame_of(loaded.model)

    def embed_images(self, images: UInt8[Tensor, "n 3 size size"]) -> Float[Tensor, "n d"]:
        """Embeddings of photos, rows L2-normalised.

        Raises:
            RecosegError: The photos are not of the frame's size.
        """
        check_size(images, self.frame.size, self.info.name)
        compute = self._loaded.compute
        inputs = to_input(images, _PLAIN, compute)
        with torch.no_grad(), compute.autocast():
            embedded = self._loaded.model.vision_model(inputs).pooler_output
        return F.normalize(embedded.float(), dim=-1)

    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Embeddings of texts without any prompt added, rows L2-normalised."""
        return self._loaded.embed_texts(texts)


class TipsDenseText:
    """Embeds patches and texts with TIPSv2 (a `DenseTextEncoder`)."""

    def __init__(self, loaded: LoadedTips) -> None:
        self._loaded = loaded
        info = loaded.info
        stride = int(loaded.model.config.vision_config.patch_size)
        identity = combine(info.fingerprint, VALUES)
        self.info = EncoderInfo(info.name, info.weights, identity, info.dim, stride, info.file)

    def features(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n d gh gw"]:
        """Patch embeddings, each L2-normalised; gh = ceil(h / stride), gw = ceil(w / stride)."""
        compute = self._loaded.compute
        inputs = to_input(images, _PLAIN, compute, multiple=self.info.stride)
        with torch.no_grad(), compute.autocast():
            values = tips_values(self._loaded.model.vision_model, inputs)
        return F.normalize(values.float(), dim=1).contiguous()

    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Embeddings of texts without any prompt added, rows L2-normalised."""
        return self._loaded.embed_texts(texts)


def tips_values(vision: Any, inputs: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n d h w"]:
    """The last layer with its values in place of its attention; residual and feed-forward stay.

    Args:
        vision: `Tipsv2VisionModel` of transformers.
        inputs: Photos with values in [0, 1]; height and width are multiples of the patch.
    """
    *before, last = vision.encoder.layer
    x = vision.embeddings(inputs)
    for layer in before:
        x = layer(x)
    values = last.attention.o_proj(last.attention.v_proj(last.norm1(x)))
    x = x + last.layer_scale1(values)
    x = x + last.layer_scale2(last.mlp(last.norm2(x)))
    patches = vision.layernorm(x)[:, 1 + vision.config.num_register_tokens :]
    size = vision.config.patch_size
    grid = (inputs.shape[2] // size, inputs.shape[3] // size)
    return to_map(patches, grid)


def frame_of(model: Any) -> Frame:
    """The input for whole photos, as transformers' image processor makes it."""
    return Frame(int(model.config.vision_config.image_size), "squash", "bilinear")


def build_tips(request: BuildRequest) -> Encoder:
    """A TIPSv2 of the table; `NAME=FOLDER` takes a folder as the Hub holds it.

    Raises:
        RecosegError: The installed transformers has no TIPSv2, or the folder cannot be read.
        MissingWeightsError: The model is not on this machine and cannot be downloaded.
    """
    if request.rest:
        raise RecosegError(f"{request.spec.name} has one form only: leave out '/{request.rest}'.")
    loaded = load_tips(request)
    return TipsImageText(loaded) if request.role == "retrieval" else TipsDenseText(loaded)


def load_tips(request: BuildRequest) -> LoadedTips:
    """Read model and tokenizer from the folder of a spec, or from the Hub's cache."""
    source = request.row.source
    assert source is not None
    wanted = LibraryModel("TIPSv2", _CLASSES, "5.14", _FILES, source)
    model, tokenizer, located = load_model(wanted, request.spec)
    identity = fingerprint(model, _PLAIN, frame_of(model))
    dim = int(model.config.vision_config.hidden_size)
    name = request.spec.name
    info = EncoderInfo(name, located.origin, identity, dim, file=located.own_file)
    model.requires_grad_(False).eval().to(request.compute.device)
    request.compute.place(model.vision_model)  # texts are few and stay in fp32
    return LoadedTips(model, tokenizer, info, request.compute)
