"""`recoseg segment --video` with a real bank, and what it refuses."""

import shutil

import numpy as np
import pytest
from PIL import Image

from recoseg.writers.folder import read_segmentations
from tests.command import run
from tests.video.films import write_film


@pytest.fixture(scope="module")
def clip(session, tmp_path_factory):
    pixels = np.asarray(Image.open(session / "photos/dog.jpg").resize((96, 64)))
    moved = [np.roll(pixels, 2 * number, 1) for number in range(3)]
    return write_film(tmp_path_factory.mktemp("films") / "dog.mp4", moved)


def test_a_film_is_segmented_frame_by_frame(session, clip, tmp_path):
    out = tmp_path / "masks"
    found = run(
        *("segment", session / "bank.safetensors", clip, "--video", "--tracker", "none"),
        *("--out", out, "--resize", 64, "--precision", "fp32"),
    )
    assert found.code == 0, found.err
    assert "Masks of 3 frames (3 key frames)" in found.out
    assert f"Preview: {out / 'previews/dog.mp4'}" in found.out
    lines = list(read_segmentations(out))
    assert [(line["frame"], line["key"]) for line in lines] == [(0, True), (1, True), (2, True)]
    shared = set.intersection(*({one["id"] for one in line["identities"]} for line in lines))
    assert shared
    labels = np.asarray(Image.open(out / lines[0]["files"]["labels"]))
    assert labels.shape == (64, 96)


def test_films_where_photos_are_expected(session, clip, tmp_path):
    def told(source, *options):
        found = run(
            *("segment", session / "bank.safetensors", source, "--out", tmp_path / "out", *options),
        )
        assert found.code == 1
        return found.err

    for source in (clip, clip.parent / "*.mp4"):
        assert f"{clip} is a film. Expected photos; " in told(source)
    (tmp_path / "only/day").mkdir(parents=True)
    film = shutil.copy(clip, tmp_path / "only/day/A.MOV")
    advice = f"Found 1 film, such as {film}. Films are segmented by `recoseg segment --video`"
    for options in ((), ("--video", "--tracker", "none")):
        assert advice in told(tmp_path / "only", *options)
    assert advice in run("index", tmp_path / "only", "--out", tmp_path / "index").err
    (tmp_path / "list.txt").write_text(str(clip))
    assert f"Left out: {clip}: a film, not a photo; films are" in told(tmp_path / "list.txt")


def test_options_that_do_not_fit(session, clip, tmp_path):
    def told(*options):
        found = run(
            "segment", session / "bank.safetensors", clip, "--out", tmp_path / "out", *options
        )
        assert found.code != 0
        return found.err

    assert "--tracker would have no effect without --video" in told("--tracker", "sam2")
    assert "--scores, --report would have no effect with --video" in told(
        "--video", "--scores", "--report"
    )
    assert "Unknown tracker 'sam9'" in told("--video", "--tracker", "sam9")
    assert "every is 0 (--key-every); expected 1" in told("--video", "--key-every", "0")
    assert "--key-every would have no effect with --tracker none" in told(
        "--video", "--tracker", "none", "--key-every", "5"
    )
    (tmp_path / "bad.mp4").write_bytes(b"no film")
    found = run(
        *("segment", session / "bank.safetensors", tmp_path / "bad.mp4", "--video"),
        *("--tracker", "none", "--out", tmp_path / "bad"),
    )
    assert found.code == 1
    assert "Left out: " in found.err
    assert "cannot be read as a film" in found.err
