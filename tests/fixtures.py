"""Numbers of other programs' own code, from the folder that RECOSEG_TEST_FIXTURES names."""

import os
from pathlib import Path

import pytest
from safetensors import safe_open

FOLDER = os.environ.get("RECOSEG_TEST_FIXTURES", "")

needed = pytest.mark.skipif(not FOLDER, reason="needs RECOSEG_TEST_FIXTURES")
"""Marks a test that uses them."""


def load(name):
    """The tensors and the metadata of a fixture."""
    with safe_open(Path(FOLDER) / f"{name}.safetensors", "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
