"""Seconds until the first mask of a new process, by part, beside the bare load of the weights.

    python benchmarks/startup.py BANK PHOTO [--repeats 5]

BANK is one of the preset `lite`, whose weights lie in a package. The bare load is a process that
imports torch and timm, builds the network of `lite` and reads its file; `and a pass` lets it encode
one photo of the bank's input size as well. Ours opens the bank, segments the photo without any file
that is written, and then with the command. All processes run in turns; the fastest of each counts.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
import time

import torch
from measuring import machine, print_head, print_row

from recoseg.encoders.download import locate
from recoseg.encoders.encoder_table import find_row

BARE = """
import sys, time
import torch, timm
imported = time.time()
model = timm.create_model("tf_efficientnet_lite2", pretrained=False).eval()
state = torch.load(sys.argv[1], weights_only=True)
for mine, theirs in zip(model.state_dict().values(), state.values(), strict=True):
    mine.copy_(theirs)
loaded = time.time()
with torch.inference_mode():
    model(torch.zeros(1, 3, 320, 480))
print(imported, loaded, time.time())
"""

OURS = """
import sys, time
import recoseg
from recoseg.pipeline.segment import open_segmenter
import torch, timm
imported = time.time()
segmenter = open_segmenter(sys.argv[1])
opened = time.time()
result = segmenter(sys.argv[2])
assert result.labels.size
print(imported, opened, time.time())
"""


def times_of(script: str, *arguments: str) -> list[float]:
    """Seconds from the start of a process to each of the moments that it prints."""
    start = time.time()
    command = [sys.executable, "-W", "ignore", "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(moment) - start for moment in done.stdout.split()]


def command(bank: str, photo: str) -> list[float]:
    """Seconds of `recoseg segment` of one photo."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["segment", bank, photo, "--out", f"{folder}/masks"]
        start = time.time()
        run = [sys.executable, "-m", "recoseg", *arguments]
        subprocess.run(run, capture_output=True, check=True)
        return [time.time() - start]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bank")
    parser.add_argument("photo")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()

    weights = str(locate(find_row("lite", "phi")[0].source, "lite").path)
    print(f"{machine(torch.get_num_threads())}\n")
    runs = {
        "bare": lambda: times_of(BARE, weights),
        "ours": lambda: times_of(OURS, given.bank, given.photo),
        "command": lambda: command(given.bank, given.photo),
    }
    found: dict[str, list[list[float]]] = {name: [] for name in runs}
    for _ in range(given.repeats):
        for name, run in runs.items():
            found[name].append(run())
    bare, ours, whole = (min(found[name], key=lambda times: times[-1]) for name in runs)
    print_head(
        ["", "imports", "weights", "pass, or the first mask", "in all", "of bare", "with a pass"]
    )
    for name, moments in (("bare load", bare), ("recoseg in Python", ours)):
        parts = [after - before for before, after in itertools.pairwise([0.0, *moments])]
        compared = [moments[-1] / bare[1], moments[-1] / bare[2]]
        print_row([name, *(f"{value:.2f}" for value in [*parts, moments[-1], *compared])])
    compared = [whole[0] / bare[1], whole[0] / bare[2]]
    print_row(
        ["`recoseg segment`", "", "", "", *(f"{value:.2f}" for value in [whole[0], *compared])]
    )


if __name__ == "__main__":
    main()
