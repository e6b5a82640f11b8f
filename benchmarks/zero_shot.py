"""Quality of each part of the method on a folder of photos and masks.

Learns four banks (guidance and context each on and off) and scores six rows: dense text alone,
phi alone, fused, + guidance, + context, + both. Masks are `masks/<id>.png` beside
`images/<id>.jpg`; a value is the line of `classes.txt`, counted from 0, and 255 is left out.

    python benchmarks/zero_shot.py INDEX --data FOLDER [--classes CLASSES] [--out RESULTS.json]
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from recoseg.archive.store import ArchiveIndex
from recoseg.classes import read_classes
from recoseg.concepts import ConceptBank
from recoseg.device import resolve_compute
from recoseg.encoders.registry import build_phi, build_retrieval, build_saliency
from recoseg.learning import Encoders, learn
from recoseg.memory import keep_freed_memory
from recoseg.presets import pair_settings, preset
from recoseg.segmentation.segmenter import Segmenter


def confusion(labels: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """Counts (classes, classes) of truth by prediction over the labelled pixels."""
    known = truth < classes
    pairs = truth[known].astype(np.int64) * classes + labels[known]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def measures(counts: np.ndarray) -> tuple[float, float, list[float]]:
    """Pixel accuracy, mIoU over the classes in truth or prediction, IoU per class; in percent."""
    hits = np.diag(counts).astype(float)
    union = counts.sum(0) + counts.sum(1) - hits
    iou = np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0)
    return 100 * hits.sum() / counts.sum(), 100 * np.nanmean(iou), (100 * iou).tolist()


def evaluate(segmenter: Segmenter, images: list[Path], masks: Path) -> tuple[np.ndarray, float]:
    """The confusion matrix over all photos, and the seconds it took."""
    classes = len(segmenter.bank.classes)
    counts = np.zeros((classes, classes), np.int64)
    started = time.perf_counter()
    for outcome in segmenter.stream(images):
        truth = np.asarray(Image.open(masks / f"{Path(str(outcome.photo)).stem}.png"))
        counts += confusion(outcome.segmentation.labels, truth, classes)
    return counts, time.perf_counter() - started


def main() -> None:
    """Print the table; write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("index", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--classes", type=Path, help="names and aliases; FOLDER/classes.txt")
    parser.add_argument("--preset", default="lite")
    parser.add_argument("--phi", help="instead of the preset's")
    parser.add_argument("--resize", type=int, help="short side; by default the bank's")
    parser.add_argument("-k", type=int, default=50)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    keep_freed_memory()
    compute = resolve_compute(given.device)
    chosen = preset(given.preset)
    encoders = Encoders(
        build_retrieval(chosen.retrieval, compute),
        build_saliency(chosen.saliency, compute),
        build_phi(given.phi or chosen.phi, compute),
    )
    index = ArchiveIndex.open(given.index)
    classes = read_classes(given.classes or given.data / "classes.txt")
    images = sorted((given.data / "images").glob("*.jpg"))
    settings = pair_settings(encoders.saliency.info.name, encoders.phi.info.name)
    fusion = settings.segment.fusion

    def bank(guidance: bool, context: bool) -> ConceptBank:
        names = settings.learn.context if context else ()
        changed = replace(settings.learn, guidance=guidance, context=names, k=given.k)
        return learn(index, classes, encoders, replace(settings, learn=changed))

    plain = bank(guidance=False, context=False)
    rows = [
        ("dense text alone", plain, "text"),
        ("phi alone", plain, "visual"),
        ("fused", plain, fusion.form),
        ("+ guidance", bank(guidance=True, context=False), fusion.form),
        ("+ context", bank(guidance=False, context=True), fusion.form),
        ("+ both", bank(guidance=True, context=True), fusion.form),
    ]
    results = []
    print(f"{'':20s} {'accuracy':>9s} {'mIoU':>6s} {'ms/image':>9s}")
    for name, learnt, form in rows:
        segmenter = Segmenter(
            learnt,
            phi=encoders.phi,
            saliency=encoders.saliency,
            fusion=replace(fusion, form=form),
            resize=given.resize,
        )
        counts, seconds = evaluate(segmenter, images, given.data / "masks")
        accuracy, miou, per_class = measures(counts)
        print(f"{name:20s} {accuracy:9.1f} {miou:6.1f} {1000 * seconds / len(images):9.0f}")
        per_name = {c.name: round(v, 1) for c, v in zip(classes, per_class, strict=True)}
        results.append({"row": name, "accuracy": accuracy, "miou": miou, "iou": per_name})
    if given.out is not None:
        record = {
            "photos": len(images),
            "archive": len(index),
            "encoders": [e.name for e in (plain.encoders.saliency, plain.encoders.phi)],
            "precision": compute.precision,
            "threads": torch.get_num_threads(),
            "results": results,
        }
        given.out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
