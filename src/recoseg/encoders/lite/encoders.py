"""The encoders named `lite`, which share one backbone."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from recoseg.device import Compute
from recoseg.encoders.lite.backbone import (
    LAST,
    STAGES,
    STRIDE,
    LiteBackbone,
    lite_network,
    map_keys,
)
from recoseg.encoders.lite.bridge import Bridge
from recoseg.encoders.lite.text import TEXT_FINGERPRINT, MiniLM
from recoseg.encoders.normalisation import check_size
from recoseg.encoders.prompts import embed_names, prompt_set
from recoseg.encoders.protocols import EncoderInfo
from recoseg.encoders.spec import BuildRequest, EncoderSpec
from recoseg.encoders.weight_sources import weights_folder
from recoseg.encoders.weights import combine, find_weights, fingerprint, read_state_dict, seeded
from recoseg.errors import FileError, RecosegError
from recoseg.photos.frame import Frame
from recoseg.storage.tensors import read_tensors, write_tensors

# The input size that each variant was trained for.
_SIZES = {0: 224, 1: 240, 2: 260}

JOINT = "joint"
"""The id of the joint embeddings in fingerprints; another arithmetic gets a new id."""


@dataclass(frozen=True)
class LiteModel:
    """The model that the encoders share.

    Attributes:
        backbone: The image side.
        text: The text side.
        bridge: The joint embeddings of both.
        info: The identity of the phi encoder.
        size: Side of the input for whole photos, pixels.
    """

    backbone: LiteBackbone
    text: MiniLM
    bridge: Bridge
    info: EncoderInfo
    size: int

    def joint_info(self, stride: int) -> EncoderInfo:
        """The identity of an encoder with joint embeddings."""
        return replace(
            self.info,
            dim=self.bridge.dim,
            stride=stride,
            fingerprint=combine(self.info.fingerprint, JOINT),
        )

    def stage_info(self, stage: str) -> EncoderInfo:
        """The identity of the phi encoder that takes the map of a stage."""
        return replace(
            self.info,
            name=f"{self.info.name}/{stage}",
            dim=self.backbone.widths[stage],
            fingerprint=combine(self.info.fingerprint, stage),
        )

    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Joint embeddings of texts.

        Raises:
            RecosegError: There are no texts.
        """
        if not texts:
            raise RecosegError("Expected at least one text to embed, got none.")
        return self.bridge.embed_texts(self.text.embed(texts))


class LiteImageText:
    """`lite` for retrieval: joint embeddings of whole photos and texts; see `Bridge`."""

    def __init__(self, model: LiteModel) -> None:
        self._model = model
        self.info = model.joint_info(stride=0)
        self.frame = Frame(model.size)

    @torch.inference_mode()
    def embed_images(self, images: UInt8[Tensor, "n 3 size size"]) -> Float[Tensor, "n d"]:
        """Embeddings of photos, rows L2-normalised.

        Raises:
            RecosegError: The photos are not of the frame's size.
        """
        check_size(images, self.frame.size, self.info.name)
        return self._model.bridge.embed_features(self._model.backbone.pooled(images))

    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Embeddings of texts, rows L2-normalised."""
        return self._model.embed_texts(texts)

    def unknown_words(self, words: Sequence[str]) -> list[str]:
        """See `KnowsItsWords`."""
        return self._model.text.unknown(words)


class LiteDenseText:
    """`lite` for saliency: joint embeddings of patches and texts (it `SharesBackbone`)."""

    def __init__(self, model: LiteModel) -> None:
        self._model = model
        self.info = model.joint_info(stride=STRIDE)
        self.backbone = model.backbone

    def features(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n d gh gw"]:
        """Patch embeddings, each L2-normalised."""
        return self.from_backbone(self.backbone.dense(images))

    @torch.inference_mode()
    def from_backbone(self, maps: Float[Tensor, "n c gh gw"]) -> Float[Tensor, "n d gh gw"]:
        """Patch embeddings from the backbone's feature maps, each L2-normalised."""
        last = self.backbone.select(maps)
        n, c, height, width = last.shape
        cells = last.permute(0, 2, 3, 1).reshape(-1, c)
        joint = self._model.bridge.embed_features(cells)
        return joint.view(n, height, width, -1).permute(0, 3, 1, 2).contiguous()

    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Embeddings of texts, rows L2-normalised."""
        return self._model.embed_texts(texts)

    def unknown_words(self, words: Sequence[str]) -> list[str]:
        """See `KnowsItsWords`."""
        return self._model.text.unknown(words)


class LiteFeatures:
    """`lite` as phi: a feature map of the backbone itself (it `SharesBackbone`).

    Args:
        model: The model.
        layer: The map to take: the last one or that of a stage; see `LiteBackbone.widths`.
    """

    def __init__(self, model: LiteModel, layer: str = LAST) -> None:
        self.info = model.info if layer == LAST else model.stage_info(layer)
        self.backbone = model.backbone
        self._layer = layer

    def features(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n c gh gw"]:
        """Patch features, not normalised."""
        return self.from_backbone(self.backbone.dense(images))

    def from_backbone(self, maps: Float[Tensor, "n d gh gw"]) -> Float[Tensor, "n c gh gw"]:
        """Patch features from the backbone's feature maps: one of these maps."""
        return self.backbone.select(maps, self._layer)


def build_lite(request: BuildRequest) -> LiteImageText | LiteDenseText | LiteFeatures:
    """Build `lite` for a role; encoders of one row, device and precision share their model.

    Raises:
        RecosegError: The name asks for a stage that there is not, or for one outside of phi.
    """
    spec = EncoderSpec(request.row.name, request.spec.weights)
    if request.rest and (request.role != "phi" or request.rest not in STAGES):
        stages = " or ".join(f"{spec.name}/{stage}" for stage in STAGES)
        raise RecosegError(
            f"{request.spec.name} is not known as {request.role} encoder. Ask for "
            f"{spec.name}, or as phi also for {stages}."
        )
    key = (str(spec), request.compute)
    if key not in _MODELS:
        _MODELS.clear()
        _MODELS[key] = _load(replace(request, spec=spec))
    model = _MODELS[key]
    if request.role == "retrieval":
        return LiteImageText(model)
    if request.role == "saliency":
        return LiteDenseText(model)
    return LiteFeatures(model, request.rest or LAST)


# The last model that was built: encoders of several roles are built one after the other.
_MODELS: dict[tuple[str, Compute], LiteModel] = {}


def _load(request: BuildRequest) -> LiteModel:
    variant = int(request.row.arch[-1])
    located = find_weights(request.spec, request.row.source)
    with seeded():
        network = lite_network(variant, "meta" if located else "cpu")
    state = own = network.state_dict()
    if located is not None:
        state = read_state_dict(located.path)
        if state.keys() != own.keys():
            state = map_keys(state, own)
    backbone = LiteBackbone(network, state, request.compute)
    text = MiniLM(request.compute.device)
    rows, biases = backbone.classifier
    bridge = Bridge(_load_names(text), rows, biases)
    info = EncoderInfo(
        name=request.spec.name,
        weights=located.origin if located else "random",
        fingerprint=combine(fingerprint(state), TEXT_FINGERPRINT),
        dim=backbone.widths[LAST],
        stride=STRIDE,
        file=located.own_file if located else "",
    )
    return LiteModel(backbone, text, bridge, info, _SIZES[variant])


def _load_names(text: MiniLM) -> Float[Tensor, "1000 384"]:
    """Embeddings of the classifier's class names, kept in the cache folder."""
    prompts = prompt_set("short5")
    key = combine(TEXT_FINGERPRINT, prompts.templates)
    path = weights_folder().parent / f"lite-names-{key}.safetensors"
    try:
        return read_tensors(path)[0]["names"].to(text.device)
    except (FileError, KeyError):
        pass  # the file does not exist yet, or is damaged
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

    names = embed_names(text.embed, IMAGENET_CLASSNAMES, prompts)
    with contextlib.suppress(OSError):  # a cache that cannot be written costs only time
        write_tensors(path, {"names": names}, {})
    return names
