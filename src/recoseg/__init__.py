"""Segment photos into classes that a user merely names (ReCo, NeurIPS 2022).

index = recoseg.build_index("photos", "index")
bank = recoseg.learn(index, ["dog: dog; puppy", "sofa; couch"], out="pets.safetensors")
segmenter = recoseg.open_segmenter(bank)
result = segmenter("photo.jpg")
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version as _version
from typing import Any

# Imported on first use, so that the command line answers at once.
_EXPORTS = {
    "ArchiveIndex": "recoseg.archive.index",
    "ClassNames": "recoseg.classes",
    "ConceptBank": "recoseg.concepts",
    "Encoders": "recoseg.encoders.bundle",
    "Photo": "recoseg.photos.refs",
    "RecosegError": "recoseg.errors",
    "RegionMemory": "recoseg.memory.region_memory",
    "Result": "recoseg.segmentation.result",
    "Segmentation": "recoseg.labels",
    "Segmenter": "recoseg.segmentation.segmenter",
    "Selection": "recoseg.archive.selection",
    "ablate": "recoseg.pipeline.ablate",
    "build_index": "recoseg.pipeline.index",
    "compare": "recoseg.pipeline.compare",
    "convert": "recoseg.pipeline.convert",
    "cosegment": "recoseg.cosegmentation",
    "curate": "recoseg.pipeline.curate",
    "doctor": "recoseg.pipeline.doctor",
    "evaluate": "recoseg.pipeline.evaluate",
    "evaluate_suite": "recoseg.pipeline.suite",
    "export_onnx": "recoseg.pipeline.train",
    "fetch": "recoseg.pipeline.fetch",
    "forget": "recoseg.pipeline.forget",
    "learn": "recoseg.pipeline.learn",
    "load_encoders": "recoseg.encoders.bundle",
    "make_app": "recoseg.serving.app",
    "merge_memories": "recoseg.memory.build",
    "open_index": "recoseg.pipeline.index",
    "open_memory": "recoseg.memory.region_memory",
    "open_segmenter": "recoseg.pipeline.segment",
    "parse_class": "recoseg.classes",
    "pseudo_label": "recoseg.pipeline.pseudo_label",
    "read_classes": "recoseg.classes",
    "push": "recoseg.pipeline.push",
    "remember": "recoseg.pipeline.remember",
    "retrieve": "recoseg.pipeline.retrieve",
    "segment": "recoseg.pipeline.segment",
    "segment_video": "recoseg.pipeline.video",
    "serve": "recoseg.serving.server",
    "train": "recoseg.pipeline.train",
    "verify": "recoseg.pipeline.verify",
}

__version__ = _version("recoseg")
__all__ = [*_EXPORTS, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'recoseg' has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
