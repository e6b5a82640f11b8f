"""Load open_clip models; encoders with the same model share it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from recoseg.device import Compute
from recoseg.encoders.clip_arch import ClipArch, build_open_clip, open_clip_config
from recoseg.encoders.normalisation import Normalisation, normalisation
from recoseg.encoders.spec import EncoderSpec
from recoseg.encoders.tokenizers import load_tokenizer
from recoseg.encoders.weight_sources import WeightSource
from recoseg.encoders.weights import find_weights, fingerprint, load_into, read_state_dict, seeded
from recoseg.errors import RecosegError
from recoseg.photos.frame import Frame, Resize

_RESIZE: dict[str, Resize] = {"shortest": "short", "squash": "squash", "longest": "fit"}
_TEXT_BATCH = 256
# Numbers that OpenAI's files hold beside the weights.
_SURPLUS = ("input_resolution", "context_length", "vocab_size", "logit_bias")


@dataclass(frozen=True, eq=False)
class LoadedClip:
    """An open_clip model in evaluation mode, with all that is needed to use it.

    Attributes:
        model: The module of open_clip, on its device, frozen.
        frame: Input size and resizing.
        statistics: Input normalisation.
        tokenize: From texts to token ids; the tokenizer is loaded on first use.
        name: The encoder's name.
        origin: Where the weights came from.
        fingerprint: Hash of weights, activation, and input.
        dim: Length of an embedding.
        file: The weights file if the user named one; see `EncoderInfo.file`.
    """

    model: nn.Module
    frame: Frame
    statistics: Normalisation
    tokenize: Callable[[Sequence[str]], Tensor]
    name: str
    origin: str
    fingerprint: str
    dim: int
    file: str = ""

    @property
    def visual(self) -> nn.Module:
        """The image tower."""
        return cast(nn.Module, self.model.visual)

    def embed_texts(self, texts: Sequence[str], compute: Compute) -> Float[Tensor, "n d"]:
        """Embeddings of texts, fp32, rows L2-normalised."""
        if not texts:
            raise RecosegError("Expected at least one text to embed, got none.")
        rows = []
        encode = cast(Callable[[Tensor], Tensor], self.model.encode_text)
        for start in range(0, len(texts), _TEXT_BATCH):
            tokens = self.tokenize(list(texts[start : start + _TEXT_BATCH])).to(compute.device)
            with torch.no_grad(), compute.autocast():
                rows.append(encode(tokens).float())
        return F.normalize(torch.cat(rows), dim=-1)


class ModelPool:
    """The open_clip models in use; encoders that ask for the same one get the same object.

    The references are weak: a model is freed with the last encoder that uses it.
    """

    def __init__(self) -> None:
        self._models: weakref.WeakValueDictionary[tuple[object, ...], LoadedClip] = (
            weakref.WeakValueDictionary()
        )
        self._lock = threading.Lock()

    def get(
        self,
        spec: EncoderSpec,
        arch: ClipArch,
        compute: Compute,
        source: WeightSource | None = None,
    ) -> LoadedClip:
        """The model of a spec on a device at a precision; see `load_clip`."""
        key = (spec, arch, compute, _file_state(spec))
        with self._lock:
            loaded = self._models.get(key)
            if loaded is None:
                loaded = load_clip(spec, arch, compute, source)
                self._models[key] = loaded
            return loaded

    def __len__(self) -> int:
        return len(self._models)


def load_clip(
    spec: EncoderSpec, arch: ClipArch, compute: Compute, source: WeightSource | None = None
) -> LoadedClip:
    """Build an architecture and load its weights; open_clip itself downloads nothing.

    The activation is QuickGELU where open_clip says so, as for OpenAI's weights. A local file is
    expected to be trained like the published weights.

    Args:
        spec: Name and weights.
        arch: Architecture and training.
        compute: Device and precision.
        source: Where the weights are published; None asks open_clip.

    Raises:
        MissingWeightsError: The weights or the text tower's configuration are not available.
    """
    if spec.weights is None and source is None:
        source = arch.source
    located = find_weights(spec, source)
    with seeded():
        model = build_open_clip(arch, spec.name)
    if located is not None:
        state = _adapt(model, read_state_dict(located.path))
        load_into(model, state, str(located.path), heads=_SURPLUS)
    frame, statistics = frame_of(arch, _image_size(model))
    settings = (_uses_quick_gelu(model), statistics, frame)
    identity = fingerprint(model, *settings)
    model.requires_grad_(False).eval().to(compute.device)
    compute.place(cast(nn.Module, model.visual))  # texts are few and stay in fp32
    if hasattr(model.visual, "attnpool"):
        model.visual.to(memory_format=torch.channels_last)
    return LoadedClip(
        model=model,
        frame=frame,
        statistics=statistics,
        tokenize=load_tokenizer(arch.arch, spec.name),
        name=spec.name,
        origin="random" if located is None else located.origin,
        fingerprint=identity,
        dim=int(open_clip_config(arch.arch)["embed_dim"]),
        file="" if located is None else located.own_file,
    )


def frame_of(arch: ClipArch, size: int) -> tuple[Frame, Normalisation]:
    """How photos are resized and normalised for an architecture, as open_clip records it.

    Args:
        arch: Architecture and training.
        size: Side of the model's input, pixels.
    """
    config = arch.config
    frame = Frame(
        size,
        _RESIZE[config["resize_mode"]],
        "bilinear" if config["interpolation"] == "bilinear" else "bicubic",
    )
    return frame, normalisation(config["mean"], config["std"])


def _adapt(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Bring older and foreign checkpoints to the names and shapes of this open_clip."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    adapted: dict[str, Tensor] = convert_state_dict(model, state)
    if "positional_embedding" in adapted and not hasattr(model, "positional_embedding"):
        adapted = convert_to_custom_text_state_dict(adapted)
    own = model.state_dict()
    for key in ("logit_scale", "logit_bias"):
        if key in adapted and key in own:
            adapted[key] = adapted[key].reshape(own[key].shape)
    if "logit_bias" in own:
        adapted.setdefault("logit_bias", own["logit_bias"])
    return adapted


def _image_size(model: nn.Module) -> int:
    size = cast(nn.Module, model.visual).image_size
    if isinstance(size, int):
        return size
    height, width = cast(tuple[int, int], size)
    if height != width:
        raise RecosegError(f"Expected a model with square input, got {height} x {width}.")
    return height


def _uses_quick_gelu(model: nn.Module) -> bool:
    from open_clip.transformer import QuickGELU

    return any(isinstance(module, QuickGELU) for module in model.modules())


def _file_state(spec: EncoderSpec) -> tuple[int, int] | None:
    if spec.weights is None or spec.is_random or not Path(spec.weights).expanduser().is_file():
        return None
    stat = Path(spec.weights).expanduser().stat()
    return stat.st_mtime_ns, stat.st_size
