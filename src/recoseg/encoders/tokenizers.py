"""Tokenizers of open_clip, loaded on first use and without waiting for a network."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from recoseg.encoders.download import locate
from recoseg.encoders.weight_sources import HubTokenizer
from recoseg.errors import RecosegError


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

    text = open_clip.get_model_config(arch)["text_cfg"]
    repo = text.get("hf_tokenizer_name")
    if not repo:
        return open_clip.get_tokenizer(arch)
    folder = locate(HubTokenizer(repo), name).path
    try:
        return open_clip.tokenizer.HFTokenizer(
            str(folder),
            context_length=text.get("context_length", open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH),
            tokenizer_mode=text.get("tokenizer_mode"),
            local_files_only=True,
            **text.get("tokenizer_kwargs", {}),
        )
    except Exception as error:  # transformers raises errors of many types
        reason = " ".join(str(error).split())[:200]
        raise RecosegError(
            f"The tokenizer of {name!r} cannot be read from {folder}: {reason}\nDelete the folder "
            f"and get it again from {HubTokenizer(repo).url}"
        ) from error
