"""all-MiniLM-L6-v2: L2-normalised embeddings of names and short sentences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor

DIM = 384
_BATCH = 256
_MAX_TOKENS = 128
_BUFFER = "embeddings.position_ids"  # stored by old versions of transformers, computed by new ones


class MiniLM:
    """The sentence encoder; it always runs in fp32, because names are short and few.

    Args:
        folder: Contains `model.safetensors`, `config.json` and `tokenizer.json`.
        device: Where it runs.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        from tokenizers import Tokenizer
        from transformers import BertConfig, BertModel

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
        self._tokenizer.enable_truncation(_MAX_TOKENS)
        model = BertModel(BertConfig.from_json_file(str(folder / "config.json")))
        state = load_file(str(folder / "model.safetensors"))
        state.pop(_BUFFER, None)
        model.load_state_dict(state)
        self.state = state
        self._model = model.eval().to(device)
        self.device = device

    def unknown(self, texts: Sequence[str]) -> list[str]:
        """The texts of which no token is known."""
        nothing = {self._tokenizer.token_to_id(token) for token in ("[UNK]", "[PAD]")}
        coded = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [text for text, item in zip(texts, coded, strict=True) if nothing >= set(item.ids)]

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> Float[Tensor, "n 384"]:
        """The mean of the token embeddings, L2-normalised."""
        chunks = [torch.empty(0, DIM, device=self.device)]
        for start in range(0, len(texts), _BATCH):
            coded = self._tokenizer.encode_batch(list(texts[start : start + _BATCH]))
            ids = torch.tensor([item.ids for item in coded], device=self.device)
            mask = torch.tensor([item.attention_mask for item in coded], device=self.device)
            tokens = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
            weights = mask[..., None].float()
            chunks.append(F.normalize((tokens * weights).sum(1) / weights.sum(1), dim=-1))
        return torch.cat(chunks)
