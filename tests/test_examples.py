"""The examples run: an encoder of one's own, another program's embeddings, the notebook."""

import runpy
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import recoseg
from recoseg.errors import ArchiveError
from tests.snippets import ROOT, blocks, lines_of_code

EXAMPLES = ROOT / "examples"
SIZE, SQUARE = 96, 32
COLOURS = {"red": (230, 20, 30), "blue": (20, 30, 230), "lime": (20, 230, 30)}


def make_photo(seed, colour):
    """Grey noise with a square of a colour, in whole cells of 8 pixels, and where the square is."""
    draw = np.random.default_rng(seed)
    pixels = draw.integers(110, 146, (SIZE, SIZE, 3))
    y, x = 8 * draw.integers(2, 6, 2)
    inside = np.zeros((SIZE, SIZE), bool)
    inside[y : y + SQUARE, x : x + SQUARE] = True
    pixels[inside] = np.array(COLOURS[colour]) + draw.integers(-15, 16, (SQUARE**2, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), inside


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, colour in enumerate(COLOURS):
        for seed in range(5):
            make_photo(10 * number + seed, colour)[0].save(folder / f"{colour}{seed}.png")
    return folder


@pytest.fixture
def encoder():
    return runpy.run_path(str(EXAMPLES / "own_encoder.py"))["ColourEncoder"]()


def test_own_encoder_is_short():
    assert lines_of_code((EXAMPLES / "own_encoder.py").read_text(encoding="utf-8")) < 20


def test_own_encoder_from_photos_to_masks(tmp_path, photos, monkeypatch, capsys):
    image, inside = make_photo(77, "red")
    image.save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(EXAMPLES)
    _, snippet, *_ = blocks(ROOT / "docs/guides/own-encoder.md", "python")
    names = {}
    try:
        exec(snippet, names)
    finally:
        sys.modules.pop("own_encoder", None)
    found = names["segmenter"](image)
    assert (found.names, set(found.areas())) == (("red", "blue", "gray"), {"red", "gray"})
    overlap = (found.mask("red") & inside).sum() / (found.mask("red") | inside).sum()
    assert overlap > 0.8
    assert f"'red': {found.areas()['red']}" in capsys.readouterr().out


def test_own_encoder_keeps_to_the_protocols(encoder):
    images = torch.randint(0, 256, (2, 3, 37, 50), dtype=torch.uint8)
    features = encoder.features(images)
    assert features.shape == (2, encoder.info.dim, 5, 7)
    for vectors in (features.movedim(1, -1), encoder.embed_texts(["red", "#00f"])):
        assert torch.allclose(vectors.norm(dim=-1), torch.ones(()))
    photos = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    assert encoder.embed_images(photos).shape == (3, encoder.info.dim)


def test_own_network_as_phi(photos, encoder, monkeypatch):
    """The guide's wrapper of a network; its other encoders would be those of `lite`."""
    *_, snippet = blocks(ROOT / "docs/guides/own-encoder.md", "python")
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 512, 32, 32), torch.nn.ReLU())
    load = recoseg.load_encoders
    monkeypatch.setattr(
        recoseg,
        "load_encoders",
        lambda preset, phi: load(preset, phi=phi, retrieval=encoder, saliency=encoder),
        raising=False,
    )
    names = {"network": network}
    exec(snippet, names)
    index = recoseg.build_index(photos, photos.parent / "index", retrieval=encoder)
    bank = recoseg.learn(
        index, ["red", "blue"], encoders=names["encoders"], k=4, prompts="none", context=()
    )
    [info] = bank.encoders.phi
    assert (info.name, info.dim, len(info.fingerprint)) == ("my-phi", 512, 16)
    segmenter = recoseg.open_segmenter(bank, encoders=names["encoders"], resize=0)
    assert segmenter(photos / "red0.png").labels.shape == (SIZE, SIZE)


def test_embeddings_of_clip_retrieval(tmp_path, photos, encoder):
    """A folder as clip-retrieval writes it, which has no manifest, is searched and learnt from."""
    folder = tmp_path / "embeddings"
    (folder / "img_emb").mkdir(parents=True)
    (folder / "metadata").mkdir()
    paths = sorted(photos.glob("*.png"))
    for shard, part in enumerate((paths[:7], paths[7:])):
        pixels = [np.asarray(Image.open(path).resize((64, 64))) for path in part]
        images = torch.from_numpy(np.stack(pixels)).movedim(3, 1)
        embedded = encoder.embed_images(images).numpy().astype(np.float16)
        np.save(folder / f"img_emb/img_emb_{shard}.npy", embedded)
        table = {"image_path": [str(path) for path in part], "caption": [""] * len(part)}
        pq.write_table(pa.table(table), folder / f"metadata/metadata_{shard}.parquet")

    index = recoseg.open_index(folder)
    assert (len(index), index.info) == (15, None)
    found = recoseg.retrieve(index, ["red", "blue"], k=5, retrieval=encoder, prompts="none")
    for name, hits in found.hits.items():
        assert {index.path(hit.position) for hit in hits} == {
            str(path) for path in paths if path.name.startswith(name)
        }
    encoders = recoseg.load_encoders(retrieval=encoder, saliency=encoder, phi=encoder)
    bank = recoseg.learn(
        folder, ["red", "gray"], encoders=encoders, k=5, prompts="none", context=()
    )
    image, inside = make_photo(77, "red")
    found = recoseg.open_segmenter(bank, encoders=encoders)(image)
    assert (found.mask("red") & inside).sum() / (found.mask("red") | inside).sum() > 0.8
    with pytest.raises(ArchiveError, match="does not say which encoder made it"):
        recoseg.retrieve(index, ["red"])


@pytest.mark.slow
def test_notebook_runs(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    for package in ("ipykernel", "skimage", "sklearn", "foolbox", "matplotlib"):
        pytest.importorskip(package)
    notebook = nbformat.read(EXAMPLES / "five_minutes.ipynb", as_version=4)
    assert not [cell for cell in notebook.cells if cell.get("outputs")], "strip the outputs"
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(
        notebook, timeout=280, kernel_name="python3", resources=resources
    ).execute()
    assert (tmp_path / "masks/segmentations.jsonl").is_file()
    pictures = [
        output.data["image/png"]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= 2
