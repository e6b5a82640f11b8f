"""Kills every command at random moments, runs it again, and compares with an undisturbed run.

    python benchmarks/kill.py --kills 20
    python benchmarks/kill.py --folder /dev/shm/kills --temporary /tmp/kills segment train

Every second kill falls into a run that replaces an earlier one, which was made with other settings.
Afterwards the command is run again with `--resume`, or, where it was killed before it had replaced
the earlier settings, with `--overwrite`. Each file must then be that of an undisturbed run, apart
from recorded times, paths and digests of runs, and no unfinished file may be left, neither in the
folder nor among the temporary files. It exits with 1 on any difference.

Commands run in forks of this process, so that no kill is spent on its imports. All photos are
generated, and the encoders are those of `lite`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # forks must not inherit threads

import numpy as np
from PIL import Image

import recoseg
import recoseg.cli
from recoseg.archive.index import ArchiveIndex
from recoseg.storage.tensors import read_tensors

PHOTOS = 24
FAST = ("--device", "cpu", "--precision", "fp32")
TIMES = {"run", "seconds", "created", "written", "version", "checksum", "line"}
"""Fields that differ between equal runs: times, digests of runs, and checksums that cover those."""


@dataclass
class Case:
    """A command, and the same with other settings, which an earlier run was made with.

    Attributes:
        arguments: What is killed; `OUT` stands for the output.
        earlier: The earlier run; empty where there is none.
        resumable: Whether the command has the options `--resume` and `--overwrite`.
        read: From the output to what is compared.
    """

    arguments: tuple[str, ...]
    earlier: tuple[str, ...] = ()
    resumable: bool = True
    read: Callable[[Path], dict[str, Any]] = field(default=lambda out: files_in(out))


def cases(root: Path) -> dict[str, Case]:
    """The cases by command, in the order in which they need each other's results."""
    photos, index, bank = (str(root / name) for name in ("photos", "index", "bank.safetensors"))
    segmenting = ("--resize", "64", "--out", "OUT", *FAST)
    masks = ("segment", bank, photos, "--no-overlays", *segmenting)
    data = ("--dataset", "folder", "--root", str(root / "data"), "--resize", "64", *FAST)
    learn = ("learn", index, "-k", "3", "--context", "sky", "--image-size", "96", *FAST)
    labelling = ("pseudo-label", bank, photos, *segmenting)
    tiny = ("--recipe", "short", "--encoder", "efficientnet-lite0", "--batch-size", "2")
    tiny += ("--crop", "64", "--short-side", "64", "--device", "cpu", "--out", "OUT")
    training = ("train", "--masks", str(root / "pseudo"), *tiny)
    classes = str(root / "classes.txt")
    return {
        "index": Case(
            ("index", photos, "--out", "OUT", *FAST, "--shard-size", "5"),
            ("index", str(root / "few"), "--out", "OUT", *FAST, "--shard-size", "5"),
            resumable=False,
            read=index_in,
        ),
        "learn": Case(
            (*learn, "--classes", classes, "--out", "OUT/bank.safetensors"),
            (*learn, "--classes", str(root / "other.txt"), "--out", "OUT/bank.safetensors"),
            resumable=False,
        ),
        "segment": Case(masks, ("segment", bank, photos, "--threshold", "0.2", *segmenting)),
        "pseudo-label": Case(
            (*labelling, "--min-confidence", "0.2"), (*labelling, "--threshold", "0.2")
        ),
        "evaluate": Case(("evaluate", bank, *data, "--out", "OUT"), ("evaluate", bank, *data,
            "--threshold", "0.2", "--out", "OUT")),
        "train": Case(
            (*training, "--iterations", "6", "--checkpoint-every", "2"),
            (*training, "--iterations", "4", "--checkpoint-every", "2"),
            read=model_in,
        ),
    }  # fmt: skip


def files_in(out: Path) -> dict[str, Any]:
    """The content of each file, without what differs between equal runs."""
    found: dict[str, Any] = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_dir() or path.name.endswith(".lock"):
            continue
        data: Any = path.read_bytes()
        if path.suffix == ".jsonl":
            data = sorted(str(_timeless(json.loads(line), out)) for line in data.splitlines())
        elif path.suffix == ".json":
            data = _timeless(json.loads(data), out)
        elif path.suffix == ".md":
            data = re.sub(r"; \d+ s\.", "", data.decode())
        found[name] = data
    return found


def index_in(out: Path) -> dict[str, Any]:
    """The embedding of each photo, and the names of unfinished files."""
    index = ArchiveIndex.open(out)
    found = {
        index.path(at): np.asarray(index.embeddings([at])).tobytes() for at in range(len(index))
    }
    return {**found, "failures": index.failures(), "left": _left_over(out)}


def model_in(out: Path) -> dict[str, Any]:
    """The weights of the trained model, and the names of unfinished files."""
    tensors, _ = read_tensors(out / "model.safetensors")
    weights = {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}
    return {**weights, "left": _left_over(out)}


def _timeless(value: Any, out: Path) -> Any:
    if isinstance(value, dict):
        return {k: _timeless(v, out) for k, v in sorted(value.items()) if k not in TIMES}
    if isinstance(value, list):
        return [_timeless(item, out) for item in value]
    return value.replace(str(out), "OUT") if isinstance(value, str) else value


def _left_over(out: Path) -> list[str]:
    names = (".tmp", ".unfinished")
    return [str(path.relative_to(out)) for path in out.rglob("*") if path.name.startswith(names)]


def start(arguments: tuple[str, ...], out: Path, log: Path) -> int:
    """Run a command in a fork of this process; returns its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        with log.open("wb") as file:
            for stream in (1, 2):
                os.dup2(file.fileno(), stream)
        sys.argv = ["recoseg", *(part.replace("OUT", str(out)) for part in arguments)]
        code = 0
        recoseg.cli.main()
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        code = stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        code = 3
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def run(arguments: tuple[str, ...], out: Path, log: Path) -> int:
    """Run a command to its end; returns its exit code."""
    _, status = os.waitpid(start(arguments, out, log), 0)
    return os.waitstatus_to_exitcode(status)


def must(arguments: tuple[str, ...], out: Path, log: Path) -> float:
    """Run a command that has to succeed; returns its seconds."""
    started = time.perf_counter()
    if run(arguments, out, log):
        sys.exit(f"{' '.join(arguments)} failed:\n{log.read_text(errors='replace')[-2000:]}")
    return time.perf_counter() - started


def make_inputs(root: Path, log: Path, training: bool) -> None:
    """Photos, masks, lists of classes, an index, a bank and pseudo-labels."""
    random_ = np.random.default_rng(0)
    for folder in ("photos", "few", "data/images", "data/masks"):
        (root / folder).mkdir(parents=True)
    for number in range(PHOTOS):
        blocks = random_.integers(0, 256, (6, 8, 3), np.uint8).repeat(16, 0).repeat(16, 1)
        labels = random_.integers(0, 2, (6, 8), np.uint8).repeat(16, 0).repeat(16, 1)
        photo = Image.fromarray(blocks)
        photo.save(root / f"photos/{number}.png")
        photo.save(root / f"data/images/{number}.png")
        Image.fromarray(labels).save(root / f"data/masks/{number}.png")
        if number < 8:
            photo.save(root / f"few/{number}.png")
    (root / "classes.txt").write_text("dog\ncar\n")
    (root / "other.txt").write_text("bird\ntree\n")
    (root / "data/classes.txt").write_text("dog\ncar\n")
    made = cases(root)
    must(made["index"].arguments, root / "index", log)
    must(made["learn"].arguments, root, log)
    if training:
        must(made["pseudo-label"].arguments, root / "pseudo", log)


def campaign(name: str, case: Case, root: Path, kills: int, moments: random.Random) -> list[str]:
    """Kill a command; returns what differs afterwards."""
    log, places = root / "log.txt", root / f"killed-{name}"
    places.mkdir()
    expected, first = places / "expected", places / "first"
    for folder in (expected, first):
        if name == "learn":
            folder.mkdir()
    seconds = must(case.arguments, expected, log)
    wanted = case.read(expected)
    if case.earlier:
        must(case.earlier, first, log)
    problems, killed = [], 0
    replace, resume = (("--overwrite",), ("--resume",)) if case.resumable else ((), ())
    for number in range(kills):
        out = places / "out"
        shutil.rmtree(out, ignore_errors=True)
        replacing = bool(number % 2 and case.earlier)
        if replacing:
            shutil.copytree(first, out)
        elif name == "learn":
            out.mkdir()
        child = start((*case.arguments, *(replace if replacing else ())), out, log)
        time.sleep(moments.uniform(0, seconds))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        killed += os.WIFSIGNALED(status)
        again = run((*case.arguments, *resume), out, log)
        if again and replacing and "made with other settings" in log.read_text(errors="replace"):
            again = run((*case.arguments, *replace), out, log)
        where = f"{name}, kill {number + 1}{', replacing' if replacing else ''}"
        if again:
            problems.append(f"{where}: {log.read_text(errors='replace').strip()[-300:]}")
            continue
        found = case.read(out)
        different = sorted(
            key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)
        )
        if name == "index" and replacing:  # photos of the earlier run stay
            different = [key for key in different if key in wanted]
        problems += [f"{where}: {key} differs" for key in different[:5]]
        problems += [f"{where}: {left} is left over" for left in _left_over(out)]
    print(f"| {name} | {seconds:.1f} | {kills} | {killed} | {len(problems)} |", flush=True)
    return problems


def main() -> None:
    """Run the campaign, and print a table and what differs."""
    names = list(cases(Path()))
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("commands", nargs="*", help=f"by default all: {', '.join(names)}")
    parser.add_argument("--kills", type=int, default=20, help="kills of each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="folder for all outputs; it must not exist")
    parser.add_argument("--temporary", type=Path, help="folder for temporary files")
    chosen = parser.parse_args()
    unknown = set(chosen.commands) - set(names)
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}")
    root = chosen.folder or Path(tempfile.mkdtemp(prefix="kills-"))
    root.mkdir(parents=True, exist_ok=chosen.folder is None)
    temporary = chosen.temporary or root / "temporary"
    temporary.mkdir(parents=True, exist_ok=True)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(root / "inductor")  # PyTorch's own, never removed
    os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
    before = set(temporary.iterdir())
    problems: list[str] = []
    try:
        for module in ("ablate", "evaluate", "learn", "pseudo_label", "segment"):
            import_module(f"recoseg.pipeline.{module}")  # once, not in each fork
        recoseg.load_encoders("lite", device="cpu", precision="fp32")
        training = not chosen.commands or "train" in chosen.commands
        make_inputs(root, root / "log.txt", training)
        print("| command | seconds undisturbed | runs | killed | problems |\n|---|---|---|---|---|")
        moments = random.Random(chosen.seed)
        for name, case in cases(root).items():
            if not chosen.commands or name in chosen.commands:
                problems += campaign(name, case, root, chosen.kills, moments)
        left = sorted(path.name for path in set(temporary.iterdir()) - before)
        problems += [f"left in the temporary folder: {name}" for name in left]
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print("\n".join(problems))
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
