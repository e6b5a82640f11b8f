"""Prompts that a run keeps for the next one, so that an interrupted run goes on where it ended."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from recoseg.classes import ClassNames
from recoseg.decoder_prompts import ARE_WORDS, TOKENS, DecoderPrompt, PromptRecord
from recoseg.decoders.prompt_learning import MARGIN, QUANTILES, TEMPERATURE
from recoseg.decoders.sam3 import Sam3Decoder
from recoseg.errors import RecosegError
from recoseg.learning.supports import Support
from recoseg.storage.fields import read_fields
from recoseg.storage.tensors import read_tensors, write_tensors

_log = logging.getLogger(__name__)


class PromptCache:
    """Learnt prompts in a folder, one file for each class with its supports.

    Args:
        folder: The folder; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = None if folder is None else folder / "prompts"

    def get(
        self, decoder: Sam3Decoder, words: ClassNames, supports: Sequence[Support]
    ) -> DecoderPrompt | None:
        """The prompt that was learnt of the same; None if it is absent or damaged."""
        if self._folder is None:
            return None
        try:
            tensors, metadata = read_tensors(self._file(self._folder, decoder, words, supports))
            record = read_fields(PromptRecord, json.loads(metadata["record"]))
            return DecoderPrompt.of(record, tensors[TOKENS], tensors[ARE_WORDS])
        except (RecosegError, OSError, ValueError, LookupError):
            return None

    def put(
        self,
        decoder: Sam3Decoder,
        words: ClassNames,
        supports: Sequence[Support],
        prompt: DecoderPrompt,
    ) -> None:
        """Keep a prompt; a folder that cannot be written to is told in a warning."""
        if self._folder is None:
            return
        metadata = {"record": json.dumps(asdict(prompt.record))}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = self._file(self._folder, decoder, words, supports)
            write_tensors(file, prompt.tensors(), metadata)
        except (RecosegError, OSError) as error:
            _log.warning("Prompts are no longer kept for the next run: %s", error)
            self._folder = None

    @staticmethod
    def _file(
        folder: Path, decoder: Sam3Decoder, words: ClassNames, supports: Sequence[Support]
    ) -> Path:
        decides = (
            decoder.fingerprint,
            decoder.compute.precision,
            (MARGIN, TEMPERATURE, QUANTILES),
            (words.prompts, words.negatives),
            [support.key for support in supports],
        )
        text = repr(decides).encode("utf-8", "backslashreplace")
        return folder / f"{hashlib.blake2b(text, digest_size=16).hexdigest()}.safetensors"
