"""Runs as a whole: what is written, killed and resumed, chosen, refused."""

import csv
import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image

import recoseg
from recoseg.errors import MissingExtraError, MissingWeightsError, RecosegError
from recoseg.training.model import TrainedModel
from recoseg.training.module import TrainingModule
from recoseg.training.rounds import train_rounds
from recoseg.training.trainer import Machines, train
from recoseg.training.training_set import in_folders
from tests.training.runs import NAMES, quick, write_pairs

CPU = Machines("cpu")


def tensors(model):
    return model.network.state_dict()


def largest_difference(one, other):
    one, other = tensors(one), tensors(other)
    assert one.keys() == other.keys()
    return max(float((one[key].double() - other[key].double()).abs().max()) for key in one)


def rows(out):
    with next((out / "logs").glob("*/metrics.csv")).open() as file:
        return list(csv.DictReader(file))


def test_what_a_run_leaves(run):
    names = {path.relative_to(run.out).as_posix() for path in run.out.rglob("*") if path.is_file()}
    events = {name for name in names if "events.out" in name}
    assert len(events) == 1
    assert names - events == {
        "model.safetensors",
        "settings.json",
        "checkpoints/step=40.ckpt",
        "logs/from_0/metrics.csv",
        "logs/from_0/hparams.yaml",
        "previews/000001.jpg",
        "previews/000010.jpg",
        "previews/000020.jpg",
        "previews/000040.jpg",
        "left_out.json",
        ".lock",
        "classes.txt",
    }
    with Image.open(run.out / "previews/000001.jpg") as picture:
        assert picture.size == (3 * 32, 4 * 32)  # photo, mask, labels; four of the batch
    assert (run.out / "classes.txt").read_text().split() == list(NAMES)


def test_the_logged_learning_rates_are_the_papers_formula(run):
    logged = [row for row in rows(run.out) if row["lr/decoder"]]
    assert [int(row["step"]) for row in logged] == [9, 19, 29, 39]
    for row in logged:
        rate = 2e-3 * (1 - int(row["step"]) / 40) ** 0.9
        assert float(row["lr/decoder"]) == pytest.approx(rate, rel=1e-5)
        assert float(row["lr/encoder"]) == pytest.approx(rate / 10, rel=1e-5)
    losses = [float(row["loss"]) for row in rows(run.out) if row["loss"]]
    assert losses[-1] < 0.5 * losses[0]


def test_the_models_file(run):
    loaded = TrainedModel.load(run.out)
    assert largest_difference(loaded, run.model) == 0
    assert loaded.info == run.model.info
    assert loaded.fingerprint == run.model.fingerprint
    assert not loaded.network.training
    info = loaded.info
    assert (info.names, info.palette) == (NAMES, run.data.palette)
    assert (info.short_side, info.output_stride, info.separable) == (48, 16, True)
    assert info.provenance["recipe"]["lr"] == 2e-3
    assert info.provenance["encoder_weights"] == "random"
    assert info.provenance["photos"] == 6


def test_damaged_and_other_files(run, tmp_path):
    with pytest.raises(RecosegError, match="No trained model at"):
        TrainedModel.load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(RecosegError, match="damaged or not a trained model"):
        TrainedModel.load(tmp_path)
    whole = (run.out / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(
        whole.replace(b"recoseg-model-1", b"recoseg-model-9")
    )
    with pytest.raises(
        RecosegError, match="expected the format recoseg-model-1, got recoseg-model-9"
    ):
        TrainedModel.load(tmp_path)


KILLED = """
import os, random, signal, sys
from pathlib import Path
import torch
from recoseg.training.module import TrainingModule
from recoseg.training.module import TrainingModule
from recoseg.training.training_set import in_folders
from recoseg.training.trainer import Machines, train
from tests.training.runs import quick

root, last, keep = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(int(sys.argv[4]))  # sums of other parts differ in the last bits
plain = TrainingModule.training_step

def step(self, batch, index):
    if self.trainer.global_step == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(self, batch, index)

TrainingModule.training_step = step
data = in_folders(root / "images", root / "masks")
train(data, quick(keep=keep), root / "killed", machines=Machines("cpu"), checkpoint_every=2)
"""


def test_a_killed_run_goes_on_to_the_same_weights(tmp_path):
    last, keep = 3, "ema"
    data = write_pairs(tmp_path)
    paths = [str(Path(recoseg.__file__).parents[1]), str(Path(__file__).parents[2])]
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            KILLED,
            str(tmp_path),
            str(last),
            keep,
            str(torch.get_num_threads()),
        ],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    out = tmp_path / "killed"
    assert not (out / "model.safetensors").exists()
    assert [path.name for path in (out / "checkpoints").iterdir()] == [f"step={last // 2 * 2}.ckpt"]
    with pytest.raises(RecosegError, match=r"holds the checkpoints of an earlier run.*--resume"):
        train(data, quick(keep=keep), out, machines=CPU)
    with pytest.raises(RecosegError, match=r"made with other settings \(recipe\.lr\)"):
        train(data, quick(keep=keep, lr=1.0), out, machines=CPU, resume=True)
    resumed = train(data, quick(keep=keep), out, machines=CPU, checkpoint_every=2, resume=True)
    whole = train(data, quick(keep=keep), tmp_path / "whole", machines=CPU, checkpoint_every=2)
    assert largest_difference(resumed, whole) <= 1e-6
    assert {path.name for path in (out / "logs").iterdir()} == {"from_0", f"from_{last // 2 * 2}"}
    finished = train(data, quick(keep=keep), out, machines=CPU, resume=True)  # nothing left to do
    assert largest_difference(finished, whole) <= 1e-6


def test_a_checkpoint_runs_no_code(tmp_path):
    data = write_pairs(tmp_path)
    train(data, quick(iterations=2), tmp_path / "run", machines=CPU)
    [path] = (tmp_path / "run/checkpoints").iterdir()
    content = torch.load(path, weights_only=True)  # plain records and tensors only

    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "evil"),))

    torch.save(content | {"more": Evil()}, path)
    with pytest.raises(RecosegError, match="contains code, which is not run"):
        train(data, quick(iterations=2), tmp_path / "run", machines=CPU, resume=True)
    assert not (tmp_path / "evil").exists()


def test_a_run_that_could_not_begin_leaves_nothing(tmp_path):
    data = write_pairs(tmp_path)
    recipe = quick(encoder="timm:test_efficientnet=gone.pth")
    with pytest.raises(MissingWeightsError, match=r"gone\.pth"):
        train(data, recipe, tmp_path / "run", machines=CPU)
    assert not (tmp_path / "run").exists()


def test_the_seed_decides_the_weights(tmp_path):
    data = write_pairs(tmp_path)
    one, same, other = (
        train(data, quick(iterations=2, seed=seed), tmp_path / name, machines=CPU)
        for name, seed in (("one", 3), ("same", 3), ("other", 4))
    )
    assert largest_difference(one, same) == 0
    assert largest_difference(one, other) > 0


def test_a_step_in_parts_is_a_step(tmp_path, monkeypatch):
    data = write_pairs(tmp_path)
    recipe = quick(iterations=3, batch_size=8)
    plain, seen = TrainingModule.training_step, []

    def step(self, batch, index):
        seen.append((self.trainer.global_step, batch["positions"].tolist()))
        return plain(self, batch, index)

    monkeypatch.setattr(TrainingModule, "training_step", step)
    model = train(data, recipe, tmp_path / "parts", machines=Machines("cpu", accumulate=2))
    first = [(step, 8 * step + 4 * part) for step in range(3) for part in range(2)]
    assert seen == [(step, list(range(place, place + 4))) for step, place in first]
    counters = [t for k, t in tensors(model).items() if k.endswith("num_batches_tracked")]
    assert {int(counter) for counter in counters} == {6}
    assert (tmp_path / "parts/checkpoints/step=3.ckpt").exists()


def test_ground_truth_is_reported_and_chosen_by_only_when_asked(tmp_path):
    from recoseg.datasets.dataset_table import open_dataset

    data = write_pairs(tmp_path)
    truth = open_dataset("folder", tmp_path)
    recipe = quick(iterations=4, keep="best-on-ground-truth")
    with pytest.raises(RecosegError, match="needs ground truth"):
        train(data, recipe, tmp_path / "best", machines=CPU)
    with pytest.warns(UserWarning, match="chosen by their score on ground truth"):
        best = train(data, recipe, tmp_path / "best", machines=CPU, truth=truth, truth_every=2)
    scores = {
        int(r["step"]): float(r["ground_truth/miou"])
        for r in rows(tmp_path / "best")
        if r["ground_truth/miou"]
    }
    assert set(scores) == {2, 4}
    assert best.info.provenance["step"] == max(scores, key=scores.get)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*ground truth.*")
        plain = train(
            data, quick(iterations=4), tmp_path / "last", machines=CPU, truth=truth, truth_every=2
        )
        without = train(data, quick(iterations=4), tmp_path / "without", machines=CPU)
    assert largest_difference(plain, without) == 0  # looking changes nothing


def test_two_rounds(tmp_path):
    data = write_pairs(tmp_path)
    out = tmp_path / "out"
    model = train_rounds(data, quick(iterations=2), out, rounds=2, machines=CPU)
    assert largest_difference(TrainedModel.load(out), model) == 0
    assert largest_difference(TrainedModel.load(out / "round-2"), model) == 0
    first = TrainedModel.load(out / "round-1")
    manifest = json.loads((out / "round-2/pseudo/pseudo_labels.json").read_text())
    assert manifest["provenance"]["teacher"] == first.fingerprint
    assert all(photo["confidence"] for photo in manifest["photos"])
    assert model.info.provenance["masks"]["pseudo"]["teacher"] == first.fingerprint
    with pytest.raises(RecosegError, match="of an earlier run"):
        train_rounds(data, quick(iterations=2), out, rounds=2, machines=CPU)
    with pytest.raises(RecosegError, match="need a single device"):
        train_rounds(data, quick(), tmp_path / "x", rounds=2, machines=Machines("cpu", devices=2))


@pytest.mark.parametrize(
    ("machines", "message"),
    [
        (Machines("cpu", devices=3), "A batch of 4 photos cannot be divided among 3 x 1 devices"),
        (Machines("cpu", accumulate=4), "at least 2"),
        (Machines("cpu", precision="int8"), "Unknown precision 'int8'. Expected fp32, bf16, fp16"),
    ],
)
def test_machines_that_do_not_fit(tmp_path, machines, message):
    with pytest.raises(RecosegError, match=message):
        train(write_pairs(tmp_path), quick(), tmp_path / "x", machines=machines)
    assert not (tmp_path / "x").exists()


def test_a_missing_extra_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("recoseg.training.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'recoseg\[train\]'"):
        import recoseg.training.trainer  # noqa: F401


def test_masks_are_found_beside_their_photos(run):
    again = in_folders(run.root / "images", run.root / "masks")
    assert again.fingerprint == run.data.fingerprint
    assert [photo.name for photo in again.photos] == [str(number) for number in range(6)]
