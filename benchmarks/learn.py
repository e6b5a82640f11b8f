"""Times `learn` beside the same work done class by class, and a second bank with a feature cache.

    python benchmarks/learn.py INDEX --classes cityscapes27 --measured 6

Class by class, as published: each class (and context class) reads its k photos, passes them
through phi and through the dense CLIP, weighs the patches, and takes the maxima of its whole
adjacency matrix; `--measured` classes after the context are timed and the rest is extrapolated.
Both sides use the same encoders at the same precision, and texts without prompts, whose cost is
the same. `by class` learns the context once; `context anew` learns it again for each class, as a
run for one class does. Seconds are elapsed time; CPU seconds are printed too.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from measuring import machine, print_head, print_row
from torch import Tensor

from recoseg.archive import ArchiveIndex
from recoseg.concepts import ConceptBank
from recoseg.config import BankSettings, LearnSettings
from recoseg.datasets.spaces import classes_of
from recoseg.device import resolve_compute
from recoseg.encoders.registry import build_phi, build_retrieval, build_saliency
from recoseg.learning import Encoders, FeatureCache, learn
from recoseg.learning.patches import crop_for_learning
from recoseg.memory import keep_freed_memory

SIZE = 224


class Clock:
    """Elapsed and CPU seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        """Both, in this order."""
        return time.perf_counter() - self._start[0], time.process_time() - self._start[1]


def batches(photos: Tensor) -> Sequence[Tensor]:
    """As many at once as `learn` takes."""
    return photos.split(16)


def published(
    index: ArchiveIndex, positions: Sequence[int], text: Tensor, context: Tensor, encoders: Encoders
) -> Tensor:
    """One class's reference, from its photos to the mean of its seeds."""
    photos = torch.stack([crop_for_learning(index, position, SIZE) for position in positions])
    features = torch.cat([encoders.phi.features(part) for part in batches(photos)]).cpu()
    dense = torch.cat([encoders.saliency.features(part) for part in batches(photos)]).cpu()
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


def class_by_class(
    index: ArchiveIndex, bank: ConceptBank, encoders: Encoders, measured: int
) -> tuple[list[Tensor], list[tuple[float, float]]]:
    """References of the context and the first classes, and the seconds of each."""
    positions = {index.photo_id(position): position for position in range(len(index))}
    references: list[Tensor] = []
    times = []
    context = len(bank.context)
    for concept in bank.concepts[: context + measured]:
        clock = Clock()
        known = torch.stack(references[:context]) if references else torch.zeros(0, 384)
        found = [positions[photo.photo_id] for photo in concept.retrieved]
        text = concept.text_positive[0]
        references.append(published(index, found, text, known, encoders))
        times.append(clock.read())
    return references, times


def main() -> None:
    """Print one line per way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("index", type=Path)
    parser.add_argument("--classes", default="cityscapes27", help="label space or file")
    parser.add_argument("--saliency", default="RN50=random")
    parser.add_argument("--phi", default="deit-s16-sin=random")
    parser.add_argument("--measured", type=int, default=6, help="classes timed one by one")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    compute = resolve_compute("cpu", options.precision)
    index = ArchiveIndex.open(options.index)
    assert index.info is not None
    encoders = Encoders(
        build_retrieval(index.info.spec, compute),
        build_saliency(options.saliency, compute),
        build_phi(options.phi, compute),
    )
    settings = BankSettings(LearnSettings(prompts="none", image_size=SIZE))
    classes = [item for item in classes_of(options.classes, False) if len(item.prompts) == 1]
    print(f"{machine(options.threads)}, {compute.precision}\n")
    with tempfile.TemporaryDirectory() as folder:
        cache = FeatureCache(Path(folder), 10**10, compute.precision)
        clock = Clock()
        bank = learn(index, classes, encoders, settings, cache=cache)
        ours = clock.read()
        clock = Clock()
        again = learn(index, classes, encoders, settings, cache=cache)
        second = clock.read()
    references, times = class_by_class(index, bank, encoders, options.measured)
    context, tasks = len(bank.context), len({id(item.references) for item in bank.concepts})
    one = [sum(part) / len(times) for part in zip(*times, strict=True)]
    photos = {photo.photo_id for item in bank.concepts for photo in item.retrieved}
    uses = sum(len(item.retrieved) for item in bank.concepts)
    print(f"{len(index)} photos, {len(classes)} classes + {context} context, {options.phi}, ")
    print(f"{options.saliency}, k = 50: {len(photos)} photos retrieved {uses} times\n")
    print_head(("way", "s", "CPU s", "ratio", "photos encoded"))
    anew = (tasks - context) * (context + 1)
    for way, (elapsed, cpu), encoded in (
        ("`learn`", ours, len(photos)),
        ("`learn` again, from the cache", second, 0),
        (f"by class ({len(times)} measured)", (one[0] * tasks, one[1] * tasks), 50 * tasks),
        ("by class, context anew", (one[0] * anew, one[1] * anew), 50 * anew),
    ):
        ratio = f"{elapsed / ours[0]:.2f}"
        print_row((way, f"{elapsed:.1f}", f"{cpu:.1f}", ratio, encoded))
    difference = max(
        (mine.references[0] - theirs).abs().max().item()
        for mine, theirs in zip(bank.concepts, references, strict=False)
    )
    same = all(
        torch.equal(a.references, b.references)
        for a, b in zip(bank.concepts, again.concepts, strict=True)
    )
    print(f"\nLargest difference of a reference from the published way: {difference:.1e}; ")
    print(f"banks with and without cached features are {'equal' if same else 'different'}.")


if __name__ == "__main__":
    main()
