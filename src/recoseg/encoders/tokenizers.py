"""Tokenizers of open_clip, loaded on first use and without waiting for a network."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from recoseg.encoders.download import hub_is_offline, reachable
from recoseg.encoders.weight_sources import hub_endpoint
from recoseg.errors import MissingWeightsError


def load_tokenizer(arch: str, name: str) -> Callable[[Sequence[str]], Tensor]:
    """Make a function from texts to token ids (n, context length).

    OpenAI's vocabulary is part of open_clip; SigLIP and others have theirs on the Hub or in its
    cache. The tokenizer is loaded at the first call, because embedding photos needs none.

    Args:
        arch: The architecture in open_clip.
        name: The encoder's name, for error messages.
    """
    lock = threading.Lock()
    loaded: list[Any] = []

    def tokenize(texts: Sequence[str]) -> Tensor:
        with lock:
            if not loaded:
                loaded.append(_load(arch, name))
            ids: Tensor = loaded[0](list(texts))
            return ids

    return tokenize


def _load(arch: str, name: str) -> Any:
    import open_clip

    text_config = open_clip.get_model_config(arch)["text_cfg"]
    repo = text_config.get("hf_tokenizer_name")
    if not repo:
        return open_clip.get_tokenizer(arch)
    try:
        return open_clip.get_tokenizer(arch, local_files_only=True)
    except Exception as error:
        # transformers raises different errors for a tokenizer that is not in the cache.
        if hub_is_offline() or not reachable(hub_endpoint()):
            raise _missing(repo, name) from error
    try:
        return open_clip.get_tokenizer(arch)
    except Exception as error:
        raise _missing(repo, name) from error


def _missing(repo: str, name: str) -> MissingWeightsError:
    return MissingWeightsError(
        f"The tokenizer of {name!r} is not on this machine and cannot be downloaded now.\n"
        f"  files:   tokenizer.json, tokenizer_config.json of {repo}\n"
        f"  get it:  {hub_endpoint()}/{repo}\n"
        f"  put it:  into the cache of the Hub, with: huggingface-cli download {repo}\n"
        "  or work without any download: --preset lite"
    )
