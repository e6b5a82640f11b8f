"""A trained model where a bank would be: in Python, on the command line, without open_clip."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import recoseg
from recoseg.device import resolve_compute
from recoseg.errors import BadImageError, MissingExtraError, OptionError, RecosegError
from recoseg.segmentation.presence import PresenceRule
from recoseg.training.export import CHECKED, TOLERANCE, Exported, export_onnx, largest_difference
from recoseg.training.model import is_model
from recoseg.training.model_segmenter import model_segmenter
from tests.command import run as command
from tests.segmentation.fakes import make_bank
from tests.segmentation.test_voting import Stripes, slow_mean
from tests.training.runs import NAMES, blocks

CPU = resolve_compute("cpu", "fp32")


def build(run, **options):
    return model_segmenter(run.model, compute=CPU, **options)


def slow_log_probs(model, image):
    """Scores of a photo at its own size, step by step: pad, network, up-sample, crop, softmax."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
    mean = torch.tensor(model.info.statistics.mean).view(1, 3, 1, 1)
    std = torch.tensor(model.info.statistics.std).view(1, 3, 1, 1)
    h, w = pixels.shape[2:]
    padded = F.pad((pixels - mean) / std, (0, -w % 16, 0, -h % 16), mode="replicate")
    with torch.no_grad():
        grid = model.network(padded)[:, :, : -(-h // 4), : -(-w // 4)]
        large = F.interpolate(grid, scale_factor=4, mode="bilinear")[:, :, :h, :w]
    return large[0].log_softmax(0)


def test_labels_and_scores_of_an_odd_photo(run):
    image = blocks(9)[0].crop((0, 0, 83, 61))
    found = build(run, resize=0, keep_scores=True)(image)
    expected = slow_log_probs(run.model, image)
    np.testing.assert_allclose(found.scores, expected.numpy(), atol=0.02)  # kept in fp16
    assert (found.labels == expected.argmax(0).numpy()).mean() > 0.999
    assert (found.names, found.palette) == (NAMES, run.data.palette)


def test_the_confidence_of_a_class_is_its_mean_probability(run):
    image = blocks(9)[0].crop((0, 0, 83, 61))
    found = build(run, resize=0)(image)
    probabilities = slow_log_probs(run.model, image).exp().numpy()
    for index, name in enumerate(NAMES):
        if (own := found.labels == index).any():
            expected = pytest.approx(probabilities[index][own].mean(), abs=2e-3)
            assert found.confidence()[name] == expected


def test_it_has_learnt_something(run):
    image, labels = blocks(0)
    found = build(run)(image)
    assert found.labels.shape == labels.shape
    assert (found.labels == labels).mean() > 0.6


def test_windows_refinement_and_background(run):
    image = blocks(5, 6, 8)[0]
    plain = build(run, resize=0, keep_scores=True)(image)
    large = build(run, resize=0, window=1000)(image)
    np.testing.assert_array_equal(plain.labels, large.labels)
    windows = build(run, resize=0, window=64, window_step=32)(image)
    assert (windows.labels == plain.labels).mean() > 0.6
    refined = build(run, resize=0, refine="pamr")(image)
    assert refined.labels.shape == plain.labels.shape
    assert (refined.labels == plain.labels).mean() > 0.6
    best = np.exp(plain.scores.astype(np.float32).max(0))
    sure = build(run, resize=0, background_threshold=0.7)(image)
    clear = np.abs(best - 0.7) > 0.01
    np.testing.assert_array_equal((sure.labels == 255)[clear], (best < 0.7)[clear])
    likely = np.exp(plain.scores.astype(np.float32).max((1, 2)))
    least = float(np.sort(likely)[:2].mean())
    present = build(run, resize=0, presence=PresenceRule(least))(image)
    assert (present.labels != likely.argmin()).all()
    kept = plain.labels != likely.argmin()
    np.testing.assert_array_equal(present.labels[kept], plain.labels[kept])
    without = build(run, resize=0, background=["red"])(image)
    np.testing.assert_array_equal(without.labels == 255, plain.labels == 0)


def test_bad_photos_and_settings(run):
    segmenter = build(run)
    results = list(segmenter.stream([blocks(1)[0], "gone.jpg", blocks(2)[0]]))
    assert [result.failure == "" for result in results] == [True, False, True]
    with pytest.raises(BadImageError, match=r"gone.jpg"):
        segmenter("gone.jpg")
    for options, message in (
        ({"background_threshold": 2}, "probabilities, expected 0 to 1"),
        ({"background": ["cow"]}, "cow"),
        ({"presence": PresenceRule(2)}, "presence is 2; a model's scores are probabilities"),
        ({"batch_size": 0}, "batch_size is 0"),
    ):
        with pytest.raises(RecosegError, match=message):
            build(run, **options)


def test_commands_take_a_run_for_a_bank(run, tmp_path):
    photos = run.root / "images"
    done = command("segment", run.out, photos, "--out", tmp_path / "masks", "--refine", "pamr")
    assert done.code == 0, done.err
    settings = json.loads((tmp_path / "masks/settings.json").read_text())
    assert settings["model"] == run.model.fingerprint
    assert settings["min_area"] == 0.0003  # edges are refined
    with Image.open(tmp_path / "masks/labels/0.png") as mask:
        assert mask.size == (96, 72)
    done = command(
        *("evaluate", run.out / "model.safetensors", "--dataset", "folder", "--root", run.root),
        *("--out", tmp_path / "scores"),
    )
    assert done.code == 0, done.err
    assert "mIoU" in done.out
    done = command(
        *("pseudo-label", run.out, photos, "--out", tmp_path / "pseudo", "--quantile", 0.1),
        *("--min-area", 9),
    )
    assert done.code == 0, done.err
    assert (
        json.loads((tmp_path / "pseudo/pseudo_labels.json").read_text())["provenance"]["min_area"]
        == 9
    )
    done = command("segment", run.out, photos, "--out", tmp_path / "x", "--fusion", "text")
    assert done.code == 2
    assert "--fusion would have no effect" in done.err
    options = ("--names", "cosine", "--ambiguity", 0.3)
    done = command("segment", run.out, photos, "--out", tmp_path / "x", *options)
    assert "--names, --ambiguity would have no effect" in done.err
    done = command(
        *("train", "--masks", tmp_path / "pseudo", "--out", tmp_path / "next", "--recipe", "short"),
        *("--encoder", "timm:test_efficientnet=random", "--iterations", 2, "--batch-size", 2),
        *("--crop", 32, "--short-side", 48, "--workers", 0, "--device", "cpu", "--confidence"),
    )
    assert done.code == 0, done.err
    assert "Model of 3 classes from 6 photos" in done.out
    done = command("train", "--out", tmp_path / "y")
    assert done.code == 2
    assert "either masks or a data set" in done.err
    assert not (tmp_path / "y").exists()


def test_a_bank_is_no_model(run, tmp_path):
    make_bank().save(tmp_path / "bank.safetensors")
    assert not is_model(tmp_path / "bank.safetensors")
    assert not is_model(tmp_path / "gone.safetensors")
    assert is_model(run.out)
    assert is_model(run.out / "model.safetensors")
    with pytest.raises(RecosegError, match="is not a trained model: expected the format"):
        model_segmenter(str(tmp_path / "bank.safetensors"))


ALONE = """
import sys
sys.modules["open_clip"] = None  # importing it fails
from recoseg.cli import main
sys.argv = ["recoseg", "segment", *sys.argv[1:]]
main()
"""


def test_a_model_needs_no_clip(run, tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            ALONE,
            str(run.out),
            str(run.root / "images"),
            "--out",
            str(tmp_path),
        ],
        env=os.environ | {"PYTHONPATH": str(Path(recoseg.__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "labels").iterdir())) == 6


class TestOnnx:
    def test_scores_are_the_models(self, run, tmp_path):
        pytest.importorskip("onnxruntime")
        import onnx
        import onnxruntime

        path = tmp_path / "model.onnx"
        done = command("export", run.out, "--onnx", "--out", path)
        assert done.code == 0, done.err
        data = path.read_bytes()
        exported = Exported(run.model).eval()
        assert len(set(CHECKED)) == 3
        sizes = [*CHECKED, (1, 64, 64), (3, 33, 47), (1, 16, 200)]
        assert largest_difference(exported, data, sizes) <= TOLERANCE
        image = blocks(4)[0].crop((0, 0, 83, 61))
        session = onnxruntime.InferenceSession(data)
        [scores] = session.run(None, {"image": np.array(image).transpose(2, 0, 1)[None]})
        found = build(run, resize=0)(image)
        assert (scores[0].argmax(0) == found.labels).mean() > 0.99
        notes = {item.key: item.value for item in onnx.load_from_string(data).metadata_props}
        assert json.loads(notes["recoseg.classes"]) == list(NAMES)
        assert notes["recoseg.fingerprint"] == run.model.fingerprint
        assert notes["recoseg.short_side"] == "48"

    def test_a_wrong_file_is_not_written(self, run, tmp_path, monkeypatch):
        pytest.importorskip("onnxruntime")
        from onnx import TensorProto, helper

        # A file of the right form whose scores are all zero.
        image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 3, "h", "w"])
        scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", "c", "h", "w"])
        size = helper.make_node("Shape", ["image"], ["size"])
        zeros = helper.make_node("ConstantOfShape", ["size"], ["scores"])
        graph = helper.make_graph([size, zeros], "wrong", [image], [scores])
        wrong = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        monkeypatch.setattr("recoseg.training.export._converted", lambda _: wrong)
        with pytest.raises(RecosegError, match=r"differ from the model's by .*was not written"):
            export_onnx(run.model, tmp_path / "model.onnx")
        assert not list(tmp_path.iterdir())

    def test_a_missing_extra_says_what_to_install(self, run, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "onnxscript", None)
        with pytest.raises(MissingExtraError, match=r"pip install 'recoseg\[onnx\]'"):
            export_onnx(run.model, tmp_path / "model.onnx")
        done = command("export", run.out)
        assert done.code == 2
        assert "--onnx" in done.err


def test_regions_vote_where_they_need_no_phi(run):
    image, _ = blocks(9)
    pixels = np.array(image)
    plain, voted = (
        recoseg.open_segmenter(run.model, keep_scores=True, device="cpu", regions=regions)
        for regions in (None, Stripes())
    )
    regions = Stripes().regions(None, torch.from_numpy(pixels).permute(2, 0, 1)).numpy()
    expected = slow_mean(plain(image).scores, regions)
    np.testing.assert_allclose(voted(image).scores, expected, atol=0.02)  # kept in fp16
    assert voted.settings["regions"] == "stripes"
    assert "regions" not in plain.settings
    with pytest.raises(RecosegError, match="a trained model has no phi"):
        recoseg.open_segmenter(run.model, regions="clusters")
    with pytest.raises(RecosegError, match="lposs spreads scores between patches of phi"):
        recoseg.open_segmenter(run.model, refine="lposs")
    with pytest.raises(RecosegError, match="--memory would have no effect"):
        recoseg.open_segmenter(run.model, memory="memory")


def test_a_server_of_a_model(run):
    pytest.importorskip("fastapi")
    from tests.serving.conftest import as_file, post, served

    image = blocks(9)[0]
    options = {"encoders": None, "device": "cpu", "precision": "fp32"}
    with served(run.model, **options) as client:
        assert client.get("/health").json()["bank"] == "model"
        found = client.get("/classes").json()
        assert [one["name"] for one in found["classes"]] == list(NAMES)
        assert {(one["verdict"], one["photos"]) for one in found["classes"]} == {(None, None)}
        answer = post(client, as_file(image)).json()
    assert {one["name"]: one["share"] for one in answer["classes"]} == build(run)(image).areas()
    with pytest.raises(OptionError, match="learns no further classes"):
        recoseg.make_app(run.model, "an index that is not opened", **options)
