"""Segmentation with SAM 3 as decoder, tiny and random, by the command."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.command import run
from tests.decoders.tiny import SIDE, tiny_sam3


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    return f"sam3={tiny_sam3(tmp_path_factory.mktemp('decoder'))}"


@pytest.mark.parametrize("options", [[], ["--fusion", "product"]])
def test_masks_by_a_decoder(session, decoder, tmp_path, options):
    out, photo = tmp_path / "masks", session / "photos/dog.jpg"
    found = run(
        *("segment", session / "bank.safetensors", photo, "--out", out),
        *("--decoder", decoder, "--precision", "fp32", *options),
    )
    assert found.code == 0, found.err
    labels = np.asarray(Image.open(out / "labels/dog.png"))
    assert labels.shape == np.asarray(Image.open(photo)).shape[:2]
    assert set(np.unique(labels)) <= {0, 1}
    settings = json.loads((out / "settings.json").read_text())
    assert settings["decoder"]["name"] == "sam3"
    assert (settings["resize"] == SIDE) == (not options)


def test_a_decoder_that_is_not_there(session, tmp_path):
    found = run(
        *("segment", session / "bank.safetensors", session / "photos/dog.jpg"),
        *("--out", tmp_path / "masks", "--decoder", "sam3=/no/such"),
    )
    assert found.code != 0
    assert "No folder was found at '/no/such'" in found.err
