"""How well the regions of supports fit true masks, and how many supports do not show their class.

Usage: python benchmarks/supports.py DATA INDEX [-k 20]

DATA is a folder with images/, masks/ and classes.txt as `recoseg evaluate --dataset folder` takes
it, INDEX an index of its images/. Classes are learnt from these photos by their names, with the
defaults of the index's preset; masks are only used to score. No decoder is needed.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from measuring import print_head, print_row
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

import recoseg
from recoseg.datasets.dataset_table import open_dataset
from recoseg.learning.archive_supports import archive_supports
from recoseg.learning.feature_store import FeatureStore
from recoseg.learning.one_class import LearnedClass
from recoseg.learning.seed_regions import seed_regions
from recoseg.learning.support_regions import distinct_region, distinction
from recoseg.learning.supports import region_at, typical
from recoseg.photos.images import center_crop, resize_short_side
from recoseg.pipeline.learn import choose_encoders

SIDE = 224  # pixels of the centre square in which regions are compared
SHOWN = 0.005  # share of the square from which a photo shows a class
VOID = 255


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("index")
    parser.add_argument("-k", type=int, default=20)
    options = parser.parse_args()
    names = [one.name for one in open_dataset("folder", options.data).space.classes]
    index = recoseg.open_index(options.index)
    encoders = recoseg.load_encoders(**choose_encoders(index, None, None))
    learnt: list[LearnedClass] = []
    bank = recoseg.learn(index, names, encoders=encoders, k=options.k, callback=learnt.append)
    scores: dict[str, list[list[float]]] = defaultdict(list)
    wrong: dict[str, list[float]] = defaultdict(list)
    phi, clusters = encoders.phi[0], seed_regions("clusters")
    with FeatureStore([phi], bank.settings.learn.image_size) as store:
        store.fill(index, sorted({at for one in learnt for at in one.positions}))
        for one in (one for one in learnt if one.concept.role == "class"):
            supports = archive_supports(index, one)
            label = names.index(one.concept.name)
            masks = [square(options.data, support.path, label) for support in supports]
            features = store.features(phi, [photo.photo_id for photo in one.concept.retrieved])
            reference = one.concept.references[phi.info.key][0]
            alike = distinction(features, reference, [])
            labels = torch.stack(clusters.regions_of([features]))
            shows = [float(mask.float().mean()) >= SHOWN for mask, _ in masks]
            of_class = defaultdict(list)
            for row, (mask, known) in enumerate(masks):
                if not shows[row]:
                    continue
                seeds = one.concept.retrieved[row].seeds
                found = {
                    "as learnt": supports[row].region,
                    "without context": distinct_region(alike[row], seeds),
                    "cluster of the seed": cluster_of(labels[row], seeds),
                    "the whole square": torch.ones(1, 1, dtype=torch.bool),
                }
                for name, region in found.items():
                    of_class[name].append(fit(region_at(region, (SIDE, SIDE)), mask, known))
            for name, rows in of_class.items():
                scores[name].append(np.mean(rows, 0).tolist())
            chosen = typical(supports, encoders.retrieval)
            picked = {
                "all": shows,
                "the first 10": shows[:10],
                "the 10 nearest to the mean": [shows[supports.index(own)] for own in chosen],
            }
            for name, those in picked.items():
                wrong[name].append(1 - float(np.mean(those)))
    print_head(["region", "Dice", "precision", "recall"])
    for name, rows in scores.items():
        print_row([name, *(f"{value:.3f}" for value in np.mean(rows, 0))])
    print()
    print_head(["supports", "that do not show their class"])
    for name, shares in wrong.items():
        print_row([name, f"{np.mean(shares):.1%}"])


def square(data: Path, photo: str, label: int) -> tuple[Bool[Tensor, "s s"], Bool[Tensor, "s s"]]:
    """Where the centre square of a photo shows a class, and which of its pixels have a label."""
    below = Path(photo).relative_to((data / "images").resolve())
    values = np.asarray(Image.open((data / "masks" / below).with_suffix(".png")))
    parts = []
    for part in (values == label, values != VOID):
        image = Image.fromarray(part.astype(np.uint8) * 255)
        framed = center_crop(resize_short_side(image.convert("RGB"), SIDE), SIDE)
        parts.append(torch.from_numpy(np.asarray(framed)[..., 0] >= 128))
    return parts[0], parts[1]


def cluster_of(labels: Tensor, seeds: tuple[tuple[int, int], ...]) -> Bool[Tensor, "a b"]:
    """The clusters that the seeds lie in, on a finer grid."""
    own = torch.isin(labels, torch.stack([labels[y, x] for y, x in seeds]))
    fine = F.interpolate(own[None, None].float(), scale_factor=8, mode="bilinear")
    return fine[0, 0] >= 0.5


def fit(
    region: Bool[Tensor, "s s"], mask: Bool[Tensor, "s s"], known: Bool[Tensor, "s s"]
) -> tuple[float, float, float]:
    """Dice, precision and recall of a region among the pixels with a label."""
    region, mask = region & known, mask & known
    both = int((region & mask).sum())
    total = int(region.sum()), int(mask.sum())
    return 2 * both / max(1, sum(total)), both / max(1, total[0]), both / max(1, total[1])


if __name__ == "__main__":
    main()
