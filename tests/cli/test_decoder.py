"""Segmentation with SAM 3 as decoder, tiny and random, by the command."""

import json

import numpy as np
import pytest
from PIL import Image
from torch.nn import functional as F

from recoseg.decoders.sam3 import load_decoder
from recoseg.device import resolve_compute
from recoseg.photos.images import to_tensor
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
    assert settings["instances"] == "decoder"
    numbers = np.asarray(Image.open(out / "instances/dog.png"))
    assert numbers.shape == labels.shape
    line = json.loads((out / "segmentations.jsonl").read_text().splitlines()[-1])
    assert len(line["instances"]) == numbers.max()
    assert line["files"]["instances"] == "instances/dog.png"


def test_instances_of_regions(session, tmp_path):
    photo, bank = session / "photos/dog.jpg", session / "bank.safetensors"
    command = ("segment", bank, photo, "--out", tmp_path / "masks")
    refused = run(*command, "--instances", "regions", "--regions", "none")
    assert refused.code != 0
    assert "such as --regions sam2" in refused.err
    options = ("--instances", "regions", "--regions", "superpixels", "--stuff", "dog")
    found = run(*command, *options, "--format", "panoptic")
    assert found.code == 0, found.err
    masks = tmp_path / "masks"
    labels = np.asarray(Image.open(masks / "labels/dog.png"))
    assert ((np.asarray(Image.open(masks / "instances/dog.png")) > 0) == (labels != 255)).all()
    fields = json.loads((masks / "formats/panoptic/panoptic.json").read_text())
    things = {one["id"]: one["isthing"] for one in fields["categories"]}
    [own] = fields["annotations"]
    of_stuff = [info for info in own["segments_info"] if not things[info["category_id"]]]
    assert len(of_stuff) == (0 in labels)
    assert len(own["segments_info"]) > 2


def test_a_decoder_that_is_not_there(session, tmp_path):
    found = run(
        *("segment", session / "bank.safetensors", session / "photos/dog.jpg"),
        *("--out", tmp_path / "masks", "--decoder", "sam3=/no/such"),
    )
    assert found.code != 0
    assert "No folder was found at '/no/such'" in found.err


def masks_by(decoder, word, photos, out):
    """Photos with masks of what a decoder of random weights finds most by a word."""
    model = load_decoder(decoder, resolve_compute("cpu", "fp32"))
    for folder in ("images", f"masks/{word}"):
        (out / folder).mkdir(parents=True)
    for photo in photos:
        image = Image.open(photo).convert("RGB").resize((80, 60))
        image.save(out / f"images/{photo.stem}.png")
        found = model.maps(to_tensor(image)[None], model.prompts([word]))
        at_pixels = F.interpolate(found, (60, 80), mode="bilinear")[0, 0]
        mask = at_pixels > at_pixels.quantile(0.6)
        Image.fromarray(mask.numpy()).save(out / f"masks/{word}/{photo.stem}.png")


def test_prompts_are_learnt_shown_and_used(session, decoder, tmp_path):
    bank, photo = tmp_path / "bank.safetensors", session / "photos/dog.jpg"
    masks_by(decoder, "dog", [photo, session / "photos/bird.jpg"], tmp_path / "own")
    found = run(
        *("learn", session / "index", "--classes", "dog: dog; cat, car", "--out", bank),
        *("-k", 2, "--context", "none", "--image-size", 160, "--precision", "fp32"),
        *("--decoder", decoder, "--support", tmp_path / "own"),
    )
    assert found.code == 0, found.err
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in run("inspect", bank).out.splitlines()
    ]
    [start] = [place for place, row in enumerate(rows) if row[:2] == ["dog", "dog"]]
    first, second = rows[start : start + 2]
    assert second[:2] == ["", "cat"]
    assert float(first[3]) + float(second[3]) == pytest.approx(1, abs=0.011)
    assert float(first[5]) > 0.6  # of all pixels it would be 0.57
    assert first[6] == "2"
    assert "prompts learnt for: sam3, fingerprint" in found.out
    given = ("--decoder", decoder, "--precision", "fp32")
    masks = run("segment", bank, photo, "--out", tmp_path / "masks", *given)
    assert masks.code == 0, masks.err
    settings = json.loads((tmp_path / "masks/settings.json").read_text())
    assert settings["background_threshold"] == 0.5
    data = tmp_path / "data"
    for folder in ("images", "masks"):
        (data / folder).mkdir(parents=True)
    Image.open(photo).resize((60, 50)).save(data / "images/a.png")
    Image.new("L", (60, 50)).save(data / "masks/a.png")
    (data / "classes.txt").write_text("dog\ncar\n")
    scored = run(
        *("evaluate", bank, "--dataset", "folder", "--root", data),
        *("--out", tmp_path / "scores", *given),
    )
    assert scored.code == 0, scored.err
    assert '"background_threshold": null' in (tmp_path / "scores/settings.json").read_text()
