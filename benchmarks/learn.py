"""Time of `learn` compared with learning class by class, and of a second bank with a cache.

    python benchmarks/learn.py INDEX --classes cityscapes27 --timed 6

Class by class, as published, each class (and context class) reads its k photos, encodes them with
phi and the dense CLIP, weighs the patches, and takes the maxima of its whole adjacency matrix. The
first `--timed` classes, of which the first five are the context, are timed at the precision of
`learn` and in fp32, with PyTorch alone (without `recoseg.onednn`), and the rest is extrapolated.
Texts have no prompts, since their cost is the same. `by class` learns the context once; `context
anew` learns it again for each class, as a run for one class does.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import torch
import torch.nn.functional as F
from measuring import machine, print_head, print_row
from torch import Tensor

from recoseg.allocator import keep_freed_memory
from recoseg.archive.index import ArchiveIndex
from recoseg.concepts import Concept
from recoseg.config import BankSettings, LearnSettings
from recoseg.datasets.spaces import classes_of
from recoseg.device import Compute, resolve_compute
from recoseg.encoders.bundle import Encoders
from recoseg.encoders.encoder_table import build_phi, build_retrieval, build_saliency
from recoseg.learning.feature_cache import FeatureCache
from recoseg.learning.learner import learn_bank
from recoseg.photos.frame import Frame
from recoseg.photos.load import load_frame

SIZE = 224


class Clock:
    """Measures elapsed and CPU seconds since it was created."""

    def __init__(self) -> None:
        self._start = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        """Elapsed and CPU seconds, in this order."""
        return time.perf_counter() - self._start[0], time.process_time() - self._start[1]


def batches(photos: Tensor) -> Sequence[Tensor]:
    """The photos in batches of the size that `learn` uses."""
    return photos.split(16)


def encode(
    index: ArchiveIndex, positions: Sequence[int], encoders: Encoders
) -> tuple[Tensor, Tensor]:
    """Features of a class's photos from phi and from the dense CLIP."""
    photos = torch.stack(
        [load_frame(index.photo(position), Frame(SIZE)).pixels for position in positions]
    )
    features = torch.cat([encoders.phi[0].features(part) for part in batches(photos)]).cpu()
    dense = torch.cat([encoders.saliency.features(part) for part in batches(photos)]).cpu()
    return features, dense


def published(features: Tensor, dense: Tensor, text: Tensor, context: Tensor) -> Tensor:
    """The reference of one class, computed from its features as published."""
    k, channels, h, w = features.shape
    scores = torch.einsum("kdyx,d->kyx", F.normalize(dense, dim=1), text)
    weights = F.interpolate(torch.sigmoid(10 * scores)[:, None], (h, w), mode="bilinear")
    unit = F.normalize(features, dim=1).permute(1, 0, 2, 3).reshape(channels, -1)
    weights = weights.flatten()
    for other in context:
        weights = weights * (1 - torch.sigmoid(other @ unit))
    adjacency = unit.T @ unit
    adjacency *= weights
    support = adjacency.view(-1, k, h * w).amax(2).mean(1).view(k, h * w)
    seeds = features.flatten(2)[torch.arange(k), :, support.argmax(1)]
    return F.normalize(seeds.mean(0), dim=0)


@dataclass(frozen=True)
class Published:
    """Result of the published way for one class.

    Attributes:
        reference: Reference from the features as they are computed.
        rounded: Reference from the features in fp16, as `learn` stores them, with context
            references computed in the same way.
        seconds: Elapsed and CPU seconds of computing `reference`.
    """

    reference: Tensor
    rounded: Tensor
    seconds: tuple[float, float]


def class_by_class(
    index: ArchiveIndex, concepts: Sequence[Concept], context: int, encoders: Encoders
) -> list[Published]:
    """Learn concepts in the published way; the first `context` of them are the context."""
    positions = {index.photo_id(position): position for position in range(len(index))}
    done: list[Published] = []
    for concept in concepts:
        known = torch.zeros(2, context, encoders.phi[0].info.dim)[:, : min(context, len(done))]
        for place, other in enumerate(done[:context]):
            known[0, place], known[1, place] = other.reference, other.rounded
        found = [positions[photo.photo_id] for photo in concept.retrieved]
        text = concept.text_positive[0]
        clock = Clock()
        features, dense = encode(index, found, encoders)
        reference = published(features, dense, text, known[0])
        seconds = clock.read()
        rounded = published(features.half().float(), dense.half().float(), text, known[1])
        done.append(Published(reference, rounded, seconds))
    return done


def largest_difference(concepts: Sequence[Concept], references: Sequence[Tensor]) -> float:
    """The largest absolute difference of an element between corresponding references."""
    pairs = zip(concepts, references, strict=True)
    return max(
        (next(iter(mine.references.values()))[0] - other).abs().max().item()
        for mine, other in pairs
    )


def build(options: argparse.Namespace, retrieval: str, compute: Compute) -> Encoders:
    """Build the retrieval encoder of the index and the two dense encoders."""
    return Encoders(
        build_retrieval(retrieval, compute),
        build_saliency(options.saliency, compute),
        (build_phi(options.phi, compute),),
    )


def main() -> None:
    """Print one row for each way of learning."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("index", type=Path)
    parser.add_argument("--classes", default="cityscapes27", help="data set or file of classes")
    parser.add_argument("--saliency", default="RN50=random")
    parser.add_argument("--phi", default="deit-s16-sin=random")
    parser.add_argument("--first", type=int, help="number of classes to use; by default all")
    parser.add_argument("--timed", type=int, default=6, help="number of classes timed one by one")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    compute = resolve_compute("cpu", options.precision)
    index = ArchiveIndex.open(options.index)
    assert index.info is not None
    encoders = build(options, index.info.spec, compute)
    settings = BankSettings(LearnSettings(prompts="none", image_size=SIZE))
    classes = [item for item in classes_of(options.classes, False) if len(item.prompts) == 1]
    classes = classes[: options.first]
    print(f"{machine(options.threads)}, {compute.precision}\n")
    with tempfile.TemporaryDirectory() as folder:
        cache = FeatureCache(Path(folder), 10**10, compute.precision)
        clock = Clock()
        bank = learn_bank(index, classes, encoders, settings, cache=cache)
        ours = clock.read()
        clock = Clock()
        again = learn_bank(index, classes, encoders, settings, cache=cache)
        second = clock.read()
    # A class with the name of a context class shares its reference, so it costs nothing.
    learnt = list({id(item.references): item for item in bank.concepts}.values())
    context, tasks = len(bank.context), len(learnt)
    photos = {photo.photo_id for item in learnt for photo in item.retrieved}
    uses = sum(len(item.retrieved) for item in learnt)
    print(f"{len(index)} photos, {len(classes)} classes + {context} context, {options.phi},")
    print(f"{options.saliency}, k = 50: {len(photos)} photos retrieved {uses} times\n")
    print_head(("way", "s", "CPU s", "ratio", "photos encoded", "reference differs by"))
    equal = all(
        a.references.keys() == b.references.keys()
        and all(torch.equal(a.references[key], b.references[key]) for key in a.references)
        for a, b in zip(bank.concepts, again.concepts, strict=True)
    )

    def row(way: str, times: Sequence[float], factor: int, encoded: int, difference: str) -> None:
        elapsed, cpu = (seconds * factor for seconds in times)
        ratio = f"{elapsed / ours[0]:.2f}"
        print_row((way, f"{elapsed:.1f}", f"{cpu:.1f}", ratio, encoded, difference))

    row("`learn`", ours, 1, len(photos), "-")
    row("`learn` again, from the cache", second, 1, 0, "0" if equal else "not 0")
    timed = learnt[: options.timed]
    anew = (tasks - context) * (context + 1)
    for precision in dict.fromkeys((compute.precision, "fp32")) if timed else ():
        other = build(options, index.info.spec, resolve_compute("cpu", precision))
        with patch("recoseg.device.OneDnnProducts", nullcontext):
            theirs = class_by_class(index, timed, context, other)
        one = [sum(part) / len(theirs) for part in zip(*(t.seconds for t in theirs), strict=True)]
        raw = largest_difference(timed, [item.reference for item in theirs])
        rounded = largest_difference(timed, [item.rounded for item in theirs])
        differs = f"{raw:.0e}; of features in fp16 {rounded:.0e}"
        row(f"by class, {precision}", one, tasks, 50 * tasks, differs)
        row(f"by class, context anew, {precision}", one, anew, 50 * anew, differs)


if __name__ == "__main__":
    main()
