"""Where decoders are published: models that find what a word names, beside the encoders."""

from __future__ import annotations

from recoseg.encoders.library_models import LibraryModel
from recoseg.encoders.weight_sources import HubModel

DECODERS = {
    "sam3": LibraryModel(
        "SAM 3",
        ("Sam3Model", "Sam3Processor"),
        "5.0",
        "config.json, weights, tokenizer and the image processor's settings",
        HubModel(
            "facebook/sam3",
            otherwise="name a folder with them: --decoder sam3=/path/to/folder (they are given out "
            "on request), or do without: --decoder none",
        ),
    )
}
"""The decoders by name."""

NO_DECODER = "none"
"""Asks for no decoder, whatever the bank's settings say."""
