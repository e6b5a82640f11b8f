"""Segment photos into classes that a user merely names (ReCo, NeurIPS 2022)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recoseg.archive.build import build_index
    from recoseg.archive.index import ArchiveIndex
    from recoseg.classes import ClassNames, parse_class, read_classes
    from recoseg.concepts import ConceptBank
    from recoseg.cosegmentation import cosegment
    from recoseg.encoders.bundle import Encoders
    from recoseg.labels import Segmentation
    from recoseg.learning.learner import learn
    from recoseg.segmentation.bank_segmenter import bank_segmenter
    from recoseg.segmentation.result import Result
    from recoseg.segmentation.segmenter import Segmenter

# Imported on first use, so that the command line answers at once.
_EXPORTS = {
    "ArchiveIndex": "recoseg.archive.index",
    "ClassNames": "recoseg.classes",
    "ConceptBank": "recoseg.concepts",
    "Encoders": "recoseg.encoders.bundle",
    "Segmentation": "recoseg.labels",
    "Result": "recoseg.segmentation.result",
    "Segmenter": "recoseg.segmentation.segmenter",
    "bank_segmenter": "recoseg.segmentation.bank_segmenter",
    "build_index": "recoseg.archive.build",
    "cosegment": "recoseg.cosegmentation",
    "learn": "recoseg.learning.learner",
    "parse_class": "recoseg.classes",
    "read_classes": "recoseg.classes",
}

__all__ = [
    "ArchiveIndex",
    "ClassNames",
    "ConceptBank",
    "Encoders",
    "Result",
    "Segmentation",
    "Segmenter",
    "bank_segmenter",
    "build_index",
    "cosegment",
    "learn",
    "parse_class",
    "read_classes",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'recoseg' has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)
