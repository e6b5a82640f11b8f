"""Runs that are interrupted or killed leave a whole checkpoint, and nothing else."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

import recoseg
from recoseg.errors import RecosegError
from recoseg.training.trainer import Machines, train
from recoseg.training.training_set import readable
from tests.training.runs import CPU, ENCODER, files, quick, resume, same, write_pairs

PROGRAM = """
import os, random, signal, sys, threading, time
import torch
from recoseg.cli import main
from recoseg.training.module import TrainingModule

moment, plain, save = sys.argv.pop(1), TrainingModule.training_step, torch.save

def interrupt():
    os.killpg(0, signal.SIGINT)  # as a terminal does

def step(self, batch, index):
    if moment == "step" and self.trainer.global_step == 3:
        interrupt()
    return plain(self, batch, index)

def saving(content, file):
    save(content, file)
    if moment == "checkpoint" and content["global_step"] == 4:
        interrupt()

def start(self):
    def end():
        time.sleep(float(moment))
        os.kill(os.getpid(), signal.SIGKILL)
    threading.Thread(target=end, daemon=True).start()

TrainingModule.training_step, torch.save = step, saving
if moment[0].isdigit():
    TrainingModule.on_train_start = start
main()
"""


TEMPORARY = "recoseg-test-"


def temporary(root):
    """A temporary folder that belongs to another folder; its name has to be short for sockets."""
    name = hashlib.blake2b(str(root).encode(), digest_size=6).hexdigest()
    folder = Path(tempfile.gettempdir(), f"{TEMPORARY}{os.getpid()}-{name}")
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="module", autouse=True)
def _remove_temporary():
    yield
    for folder in Path(tempfile.gettempdir()).glob(f"{TEMPORARY}{os.getpid()}-*"):
        shutil.rmtree(folder)


def test_a_temporary_folder_with_a_long_name_is_refused(tmp_path, monkeypatch):
    deep = tmp_path / ("x" * 80)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with pytest.raises(RecosegError, match="Set TMPDIR to one of at most 75 characters, or"):
        Machines("cpu", workers=1).check(4)
    Machines("cpu").check(4)


def command(root, moment, *more):
    """The command in a session of its own, with a temporary folder of its own."""
    paths = [str(Path(recoseg.__file__).parents[1]), str(Path(__file__).parents[2])]
    given = {
        "--out": root / "run",
        "--masks": root / "masks",
        "--images": root / "images",
        "--recipe": "short",
        "--encoder": ENCODER,
        "--iterations": 40,
        "--batch-size": 4,
        "--crop": 32,
        "--short-side": 48,
        "--device": "cpu",
        "--checkpoint-every": 2,
    }
    options = [str(part) for pair in given.items() for part in pair]
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(moment), "train", *options, *more],
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join(paths),
            "TMPDIR": str(temporary(root)),
            "OMP_NUM_THREADS": str(torch.get_num_threads()),  # sums of other parts differ
        },
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=300,
    )


def left_in(root):
    """What is in the temporary folder, apart from torch's empty cache."""
    return {path.name for path in temporary(root).iterdir()} - {"torchinductor_root"}


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "workers", "step"), [("step", 2, 2), ("checkpoint", 0, 4)])
def test_ctrl_c_says_what_is_kept(tmp_path, moment, workers, step):
    write_pairs(tmp_path)
    done = command(tmp_path, moment, "--workers", str(workers))
    assert done.returncode == 130, done.stderr
    assert done.stderr.splitlines()[-1] == (
        f"Interrupted. {tmp_path / 'run'} keeps the checkpoint of step {step}; continue with "
        "--resume."
    )
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run/model.safetensors").exists()
    # Ctrl-C waited until the checkpoint was whole; the one before it was not removed any more.
    names = {path.name for path in (tmp_path / "run/checkpoints").iterdir()}
    assert names == {f"step={step}.ckpt", "step=2.ckpt"}
    assert not left_in(tmp_path)


@pytest.mark.slow
def test_killed_at_a_random_moment_and_resumed(tmp_path):
    data, _ = readable(write_pairs(tmp_path))
    chance = random.Random(0)
    done = command(tmp_path, chance.uniform(0, 2), "--workers", "1", "--resume")
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert same(
        resume(tmp_path / "run", data, iterations=40, keep="ema"),
        train(data, quick(iterations=40, keep="ema"), tmp_path / "whole", machines=CPU),
    )
    names = files(tmp_path / "run")
    assert not {name for name in names if ".tmp-" in name}
    assert {name for name in names if "checkpoints" in name} == {"checkpoints/step=40.ckpt"}
    assert not left_in(tmp_path)
    assert json.loads((tmp_path / "run/settings.json").read_text())["format"] == (
        "recoseg-training-1"
    )
