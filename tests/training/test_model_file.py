"""The file of a trained model: no changed bit and no impossible value goes unnoticed."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from recoseg.encoders.normalisation import Normalisation
from recoseg.errors import RecosegError
from recoseg.storage.tensors import write_tensors
from recoseg.storage.verification import Verification
from recoseg.training.model import FORMAT, TrainedModel
from recoseg.training.verify_model import verify_model


def written(path, info, tensors):
    metadata = {"format": FORMAT, "info": info if isinstance(info, str) else json.dumps(info)}
    write_tensors(path, tensors, metadata)
    return path


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data(), part=st.sampled_from(["length", "header", "tensors"]))
def test_every_flipped_bit_is_noticed(run, tmp_path, draw, part):
    content = bytearray((run.out / "model.safetensors").read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    first, last = {"length": (0, 8), "header": (8, header), "tensors": (header, len(content))}[part]
    at = draw.draw(st.integers(8 * first, 8 * last - 1))
    content[at // 8] ^= 1 << at % 8
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(RecosegError) as caught:
        TrainedModel.load(path)
    assert "\n" not in str(caught.value)
    found = verify_model(path)
    assert (found.checked, found.problems) == (1, (str(caught.value),))


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 0.9999))
@example(share=0.0)
def test_every_cut_is_noticed(run, tmp_path, share):
    content = (run.out / "model.safetensors").read_bytes()
    path = tmp_path / "model.safetensors"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(RecosegError, match="damaged"):
        TrainedModel.load(path)


def test_the_name_of_the_checksum_counts(run, tmp_path):
    content = (run.out / "model.safetensors").read_bytes()
    assert content.count(b'"checksum"') == 1
    path = tmp_path / "model.safetensors"
    path.write_bytes(content.replace(b'"checksum"', b'"checksuo"'))
    with pytest.raises(RecosegError, match="its checksum has another name"):
        TrainedModel.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": []}, "1 to 255 classes"),
        ({"names": ["red", "green"]}, "a colour for each class"),
        ({"palette": [[0, 0, 256]] * 3}, "from 0 to 255"),
        ({"palette": [[0, 0]] * 3}, "expected 3 values"),
        ({"statistics": {"mean": [0, 0, 0], "std": [1, 0, 1]}}, "deviation above 0"),
        ({"statistics": {"mean": [0, float("nan"), 0], "std": [1, 1, 1]}}, "a finite mean"),
        ({"statistics": {"mean": [0, 0], "std": [1, 1]}}, "expected 3 values"),
        ({"output_stride": 7}, "an output stride of 8 or 16"),
        ({"short_side": 0}, "a short side of 1 to 16,384"),
        ({"short_side": 10**9}, "a short side of 1 to 16,384"),
        ({"short_side": "48"}, "expected int, got '48'"),
        ({"encoder": None}, "expected str, got None"),
        ({"more": 1}, "unknown field more"),
        (None, "expected a JSON object, got 'null'"),
        ([], "expected a JSON object"),
        ("[" * 100_000, "it is not JSON"),
    ],
)
def test_descriptions_that_cannot_be_used(run, tmp_path, changes, message):
    info = asdict(run.model.info) | changes if isinstance(changes, dict) else changes
    path = written(tmp_path / "m.safetensors", info, run.model.network.state_dict())
    with pytest.raises(RecosegError, match="damaged or not a trained model") as caught:
        TrainedModel.load(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda name, t: t.fill_(float("nan")) if "running_mean" in name else t, "not finite"),
        (lambda name, t: t.fill_(-1) if "running_var" in name else t, "variances below 0"),
        (lambda name, t: t[:1] if t.ndim and len(t) > 1 else t, "expected"),
        (lambda name, t: t.half() if t.is_floating_point() else t, "torch.float16, expected"),
        (lambda name, t: None if name.endswith("running_var") else t, "lacks the tensor"),
    ],
)
def test_tensors_that_no_training_gives(run, tmp_path, change, message):
    tensors = {k: change(k, v.clone()) for k, v in run.model.network.state_dict().items()}
    tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    path = written(tmp_path / "m.safetensors", asdict(run.model.info), tensors)
    with pytest.raises(RecosegError) as caught:
        TrainedModel.load(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_values_out_of_range_cannot_be_saved(run):
    with pytest.raises(RecosegError, match="deviation above 0"):
        replace(run.model.info, statistics=Normalisation((0.5,) * 3, (0.0,) * 3))


def test_verification(run, tmp_path):
    assert verify_model(run.out) == Verification("model", 1, 0, ())
    with safe_open(run.out / "model.safetensors", "pt") as file:
        metadata = {key: text for key, text in file.metadata().items() if key != "checksum"}
    # As early versions wrote it, without a checksum.
    save_file(run.model.network.state_dict(), tmp_path / "old.safetensors", metadata)
    assert verify_model(tmp_path / "old.safetensors") == Verification("model", 0, 1, ())
    loaded = TrainedModel.load(tmp_path / "old.safetensors")
    assert all(
        torch.equal(tensor, loaded.network.state_dict()[name])
        for name, tensor in run.model.network.state_dict().items()
    )
    [problem] = verify_model(tmp_path / "gone").problems
    assert "No trained model at" in problem
