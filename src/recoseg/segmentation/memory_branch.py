"""Scores by a region memory: what the archive's similar regions say of the regions of a photo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from recoseg.concepts import Concept, ConceptBank
from recoseg.encoders.encoder_table import needs_features
from recoseg.encoders.protocols import DenseImageEncoder, EncoderInfo
from recoseg.errors import EncoderMismatchError
from recoseg.memory.describe import means_by_cells, numbered
from recoseg.memory.region_memory import NOT_FOUND, RegionMemory
from recoseg.memory.scores import memory_scores
from recoseg.regions.clusters import ClusterRegions, on_first_grid
from recoseg.segmentation.branches import Branch

QUERIES = ClusterRegions(clusters=24, least=1)
"""The regions of a photo that a memory is searched for: clusters of its features."""

NEIGHBOURS = 20
"""Regions of the memory that score each of them."""


def shared_phi(memory: RegionMemory, bank: ConceptBank) -> tuple[EncoderInfo, ...]:
    """The phi encoders of a bank whose keys a memory holds.

    Raises:
        EncoderMismatchError: There is none, or the memory has no values of the bank's text encoder.
    """
    manifest, text = memory.manifest, bank.encoders.saliency
    if text.key not in manifest.value_spans:
        why = ""
        if needs_features(text):
            why = " Its features also depend on the first phi, which has to be the bank's first."
        raise EncoderMismatchError(
            f"The region memory {memory.location} has values of {_names(manifest.texts)}; expected "
            f"values of {_names([text])}, the bank's text encoder.{why} Make one with `recoseg "
            f"remember --saliency {text.name}`, or learn the bank with an encoder of the memory."
        )
    shared = tuple(info for info in bank.encoders.phi if info.key in manifest.key_spans)
    if not shared:
        raise EncoderMismatchError(
            f"The region memory {memory.location} has keys of {_names(manifest.phi)}; expected "
            f"keys of {_names(bank.encoders.phi)}, a phi encoder of the bank. Make one with "
            f"`recoseg remember --phi {bank.encoders.phi[0].name}`, or learn the bank with an "
            "encoder of the memory."
        )
    return shared


def memory_branch(
    memory: RegionMemory,
    bank: ConceptBank,
    phis: Sequence[tuple[EncoderInfo, DenseImageEncoder]],
    concepts: Sequence[Concept],
) -> Branch:
    """The branch of a region memory, on the grid of the first phi that it shares with a bank.

    Args:
        memory: The memory.
        bank: The bank.
        phis: The bank's phi encoders, each with the bank's own description of it.
        concepts: The concepts that get scores.
    """
    shared = shared_phi(memory, bank)
    encoders = tuple(encoder for info, encoder in phis if info in shared)
    score = _MemoryScore(memory, [info.key for info in shared], bank.encoders.saliency, concepts)
    return Branch("memory", encoders[0], score, (memory, *concepts), others=encoders[1:])


def memory_settings(memory: RegionMemory) -> dict[str, Any]:
    """What decides the scores of a memory, as JSON fields."""
    return {
        "location": memory.location,
        "content": memory.content,
        "left_out": memory.left_out,
        "queries": QUERIES.key,
        "neighbours": NEIGHBOURS,
    }


class _MemoryScore:
    """Scores the cells of photos by a memory: each cell gets the score of its cluster."""

    def __init__(
        self,
        memory: RegionMemory,
        keys: Sequence[str],
        text: EncoderInfo,
        concepts: Sequence[Concept],
    ) -> None:
        self._memory = memory
        self._keys = keys
        self._text = text
        self._words = [(concept.text_positive, concept.text_negative) for concept in concepts]

    def __call__(self, *features: Float[Tensor, "n _ _ _"]) -> Float[Tensor, "n c gh gw"]:
        labels = QUERIES.regions_of(features)
        parts = zip(self._keys, on_first_grid(features), strict=True)
        queries = {key: means_by_cells(part, labels) for key, part in parts}
        _, positions = self._memory.search(queries, NEIGHBOURS)
        values = self._memory.values(positions, self._text.key)
        scores = memory_scores([values], [self._words], positions != NOT_FOUND)
        places, _ = numbered(labels)  # from 1, since every cell lies in a cluster
        cells = scores.T[:, places.cpu() - 1].to(features[0].device)
        shape = (len(scores.T), len(labels), *labels[0].shape)
        return torch.movedim(cells.view(shape), 0, 1)


def _names(infos: Sequence[EncoderInfo]) -> str:
    return ", ".join(f"{info.name} (fingerprint {info.fingerprint})" for info in infos)
