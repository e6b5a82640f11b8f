"""Weights files: find, read safely, load into a model, fingerprint."""

from __future__ import annotations

import argparse
import hashlib
import logging
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recoseg.encoders.download import check_not_empty, locate
from recoseg.encoders.spec import EncoderSpec
from recoseg.encoders.weight_sources import Located, WeightSource
from recoseg.errors import MissingWeightsError, RecosegError

RANDOM_SEED = 0

_log = logging.getLogger(__name__)
_NESTS = ("state_dict", "model", "teacher", "student")
# In a checkpoint with several networks, the encoder is the one under such a prefix.
_CHOSEN_PREFIXES = ("encoder_q.", "backbone.")
_WRAPPER_PREFIXES = ("module.", "_orig_mod.")
_SAMPLES_PER_TENSOR = 64


def find_weights(spec: EncoderSpec, source: WeightSource | None) -> Located | None:
    """Find the weights file of a spec; None if the weights are random.

    Raises:
        MissingWeightsError: There is no such file and it cannot be downloaded.
    """
    if spec.is_random:
        return None
    if spec.weights is None:
        if source is None:
            raise RecosegError(
                f"{spec.name} has no published weights. Name a file: {spec.name}=/path/to/file."
            )
        return locate(source, spec.name)
    path = Path(spec.weights).expanduser()
    if not path.is_file():
        raise MissingWeightsError(
            f"No weights file was found at {str(path)!r} (asked for by {str(spec)!r}).\n"
            f"Name an existing file, or ask for {spec.name} to use the published weights."
        )
    check_not_empty(path, spec.name)
    return Located(path, f"file {path.name}", is_own=True)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a weights file to the CPU, under the names of the architecture.

    Reads safetensors, and PyTorch files with `weights_only=True`. State dicts may be nested under
    `state_dict`, `model`, `teacher` or `student`; the prefixes `module.`, `_orig_mod.`,
    `backbone.` and `encoder_q.` (the query network of MoCo) are removed.

    Raises:
        RecosegError: The file cannot be read without running its code, or contains no tensors.
    """
    content: Any = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    for nest in _NESTS:
        if isinstance(content, Mapping) and isinstance(content.get(nest), Mapping):
            content = content[nest]
    tensors = _tensors_of(content)
    if not tensors:
        raise RecosegError(f"{path} contains no named tensors. Expected a state dict.")
    return _strip_prefixes(tensors)


def load_into(
    module: nn.Module,
    state: Mapping[str, Tensor],
    origin: str,
    *,
    heads: Sequence[str] = (),
) -> None:
    """Load weights into a model; the file must contain every tensor of the model.

    Args:
        module: The encoder.
        state: Tensors by name; those that the model does not have are ignored.
        origin: The file, for error messages.
        heads: Prefixes of the names that only the file is expected to have, such as classifiers;
            other ignored names are logged as a warning.

    Raises:
        RecosegError: Tensors are missing or have other shapes; the message lists them.
    """
    own = module.state_dict()
    missing = [k for k in own if k not in state and not k.endswith("num_batches_tracked")]
    if missing:
        raise RecosegError(
            f"{origin} lacks {len(missing)} of the {len(own)} tensors of "
            f"{type(module).__name__}: {_some(missing)}.\n"
            f"It contains {len(state)}: {_some(list(state))}. "
            "Is it a file for another architecture or another library?"
        )
    wrong = [
        f"{k} (expected {tuple(own[k].shape)}, got {tuple(state[k].shape)})"
        for k in own
        if k in state and state[k].shape != own[k].shape
    ]
    if wrong:
        raise RecosegError(
            f"{origin} has tensors of other shapes than {type(module).__name__}: {_some(wrong)}. "
            "Is it a file for another architecture?"
        )
    surplus = [k for k in state if k not in own and not k.startswith(tuple(heads))]
    if surplus:
        _log.warning("%s: %d tensors not used: %s", origin, len(surplus), _some(surplus))
    module.load_state_dict({k: state[k] for k in own if k in state}, strict=False)


def fingerprint(weights: nn.Module | Mapping[str, Tensor], *settings: object) -> str:
    """16 hex digits that identify weights, whatever file they came from.

    SHA-256 of the sorted names, the shapes and up to 64 evenly spaced values (as fp32) of each
    tensor; the counters of batch normalisation are left out.

    Args:
        weights: A model or its state dict.
        settings: What else decides the features (activation, input normalisation); see `combine`.
    """
    state = weights.state_dict() if isinstance(weights, nn.Module) else weights
    digest = hashlib.sha256()
    for name in sorted(state):
        if name.endswith("num_batches_tracked"):
            continue
        tensor = state[name].detach()
        digest.update(f"{name} {tuple(tensor.shape)} ".encode())
        flat = tensor.reshape(-1)
        count = min(flat.numel(), _SAMPLES_PER_TENSOR)
        if count:
            steps = torch.arange(count, device=flat.device) * (flat.numel() - 1)
            at = steps // max(count - 1, 1)
            digest.update(flat[at].to("cpu", torch.float32).numpy().tobytes())
    return combine(digest.hexdigest()[:16], *settings)


def combine(identity: str, *settings: object) -> str:
    """The fingerprint of the same weights used in another way.

    Settings count by their `repr`, which must stay the same for as long as the features do: ids,
    numbers, and dataclasses that are never renamed. Without settings the identity is returned.
    """
    if not settings:
        return identity
    return hashlib.sha256(repr((identity, settings)).encode()).hexdigest()[:16]


@contextmanager
def seeded(seed: int = RANDOM_SEED) -> Iterator[None]:
    """Fix the random numbers on the CPU in a block; those after it are not affected."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise RecosegError(f"{path} is not a valid safetensors file: {error}") from error


def _read_torch(path: Path) -> object:
    # The checkpoints of DeiT and DINO hold the options of their training as this plain class.
    torch.serialization.add_safe_globals([argparse.Namespace])
    try:
        # Mapped tensors are read when they are copied into the model, and so are in memory once.
        # Files that PyTorch wrote before version 1.6 are no zip archives, and cannot be mapped.
        mapped = zipfile.is_zipfile(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # damaged pickles raise errors of many types
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RecosegError(
            f"{path} cannot be read as plain tensors: {reason}\n"
            "recoseg does not run code from weights files (pickles, TorchScript). If you "
            "trust the file, convert it once:\n"
            "  python -c \"import torch, sys; x = torch.load(sys.argv[1], 'cpu', "
            "weights_only=False); x = x.state_dict() if hasattr(x, 'state_dict') else x; "
            f"torch.save(x.get('state_dict', x), sys.argv[2])\" {path} {path.stem}-plain.pth"
        ) from error


def _tensors_of(content: object) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        return {}
    return {str(k): v for k, v in content.items() if isinstance(v, Tensor)}


def _strip_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _WRAPPER_PREFIXES:
        if all(k.startswith(prefix) for k in tensors):
            tensors = {k.removeprefix(prefix): v for k, v in tensors.items()}
    for prefix in _CHOSEN_PREFIXES:
        chosen = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        tensors = chosen or tensors
    return tensors


def _some(names: Sequence[str], limit: int = 8) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
