"""How often the intervals of `recoseg compare` hold the true difference, and how often p < 0.05.

    python benchmarks/bootstrap.py [--sets 400] [--resamples 500]

Each set is a draw of photos from a world in which the mIoU of two runs is known: 8 classes, of
which each photo shows three, some photos harder than others for both runs. The difference of the
runs is 0, or about 2 points. Intervals are meant to hold it in 95 % of the sets, and where there is
none, p < 0.05 is meant to be seen in 5 %.
"""

from __future__ import annotations

import argparse

import numpy as np
from measuring import machine, print_head, print_row

from recoseg.comparison.bootstrap import paired_bootstrap
from recoseg.evaluation.metrics import class_iou

CLASSES, SHOWN = 8, 3
LARGE = 200_000  # photos that stand for all photos


def draw(random: np.random.Generator, photos: int, better: float) -> list[np.ndarray]:
    """Counts of two runs on photos; the recall of the second one is higher by `better`."""
    shown = random.random((photos, CLASSES)).argsort(1) < SHOWN
    true = shown * random.integers(500, 5000, (photos, CLASSES))
    hard = random.normal(0, 0.15, (photos, 1))
    runs = []
    for shift in (0.0, better):
        recall = np.clip(0.6 + shift + hard + random.normal(0, 0.1, true.shape), 0, 1)
        right = np.round(recall * true).astype(np.int64)
        predicted = right + np.round((1 - recall) * random.integers(0, 3000, true.shape)).astype(
            np.int64
        )
        runs.append(np.stack([right, true, predicted], -1))
    return runs


def miou(counts: np.ndarray) -> float:
    """The mIoU of all photos together."""
    return float(np.nanmean(class_iou(counts.sum(0))))


def main() -> None:
    """Print the coverage for several numbers of photos."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=400)
    parser.add_argument("--resamples", type=int, default=500)
    given = parser.parse_args()
    print(machine(1))
    print_head(["photos", "true difference", "interval holds it", "p < 0.05"])
    for photos in (20, 50, 100, 300):
        for better in (0.0, 0.02):
            one, other = draw(np.random.default_rng(0), LARGE, better)
            truth = 0.0 if not better else miou(other) - miou(one)
            held = small = 0
            for seed in range(given.sets):
                runs = draw(np.random.default_rng(1000 + seed), photos, better)
                found = paired_bootstrap(*runs, resamples=given.resamples, seed=seed)
                held += bool(found.low[-1] <= truth <= found.high[-1])
                small += bool(found.p_value[-1] < 0.05)
            shares = [f"{100 * count / given.sets:.1f} %" for count in (held, small)]
            print_row([str(photos), f"{100 * truth:.2f}", *shares])


if __name__ == "__main__":
    main()
