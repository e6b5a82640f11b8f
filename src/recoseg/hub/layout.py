"""The files of a repository on the Hub, by what it holds.

    OWNER/NAME
      README.md                the model card
      bank.safetensors         a concept bank; or
      model.safetensors        a trained model; or
      manifest.json  shards/  photos/  regions/  keys/  values/     a region memory
      figures/                 pictures that the card shows

Other files are never downloaded, whatever they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Literal

Kind = Literal["bank", "model", "memory"]

MAIN: dict[Kind, str] = {
    "bank": "bank.safetensors",
    "model": "model.safetensors",
    "memory": "manifest.json",
}
"""The file by which a repository is recognised."""

WHAT: dict[Kind, str] = {
    "bank": "a concept bank",
    "model": "a trained model",
    "memory": "a region memory",
}

CARD = "README.md"
FIGURES = "figures"
SUMMARY = ("manifest.json", "shards/shard_*.json")
"""The files of a region memory that say what it holds."""

FILES: dict[Kind, tuple[str, ...]] = {
    "bank": (MAIN["bank"],),
    "model": (MAIN["model"],),
    "memory": (
        *SUMMARY,
        *("photos/photos_*.parquet", "regions/regions_*.parquet"),
        *("keys/keys_*.npy", "values/values_*.npy"),
    ),
}
"""Patterns of the files that are downloaded."""

PICKLES = (".bin", ".ckpt", ".h5", ".joblib", ".msgpack", ".pickle", ".pkl", ".pt", ".pth")
"""Suffixes of files of weights that can hold code, or that recoseg does not read."""


def kind_in(names: Iterable[str]) -> Kind | None:
    """What a repository with files of these names holds; None if nothing of recoseg.

    Example:
        >>> kind_in(["README.md", "bank.safetensors"]), kind_in(["pytorch_model.bin"])
        ('bank', None)
    """
    present = set(names)
    return next((kind for kind, main in MAIN.items() if main in present), None)


def is_ours(name: str) -> bool:
    """Whether recoseg may have written a file of this name, beside the card."""
    patterns = [pattern for several in FILES.values() for pattern in several]
    return any(fnmatchcase(name, pattern) for pattern in (*patterns, f"{FIGURES}/*"))
