"""Time per photo of dividing it into regions, of means over regions and of their votes.

Usage: python benchmarks/regions.py [--repeats 3] [--sam2 MODEL] [--threads 1]

The photo is scikit-image's astronaut, resized. Features have 704 channels in cells of 16 pixels;
the clusters are also timed on 14 x 14 cells. The votes have 171 classes. The mean vote
takes the means of the cells' scores and spreads them to the pixels.
"""

from __future__ import annotations

import argparse
from functools import partial

import skimage.data
import torch
import torch.nn.functional as F
from measuring import machine, print_head, print_row, seconds
from PIL import Image

from recoseg.allocator import keep_freed_memory
from recoseg.photos.images import to_tensor
from recoseg.photos.refs import Photo
from recoseg.regions.clusters import ClusterRegions
from recoseg.regions.pooling import region_means, region_weights, spread, vote_mode
from recoseg.regions.providers import provider_of

SIZES = ((320, 427), (480, 640))
STRIDE, CHANNELS, CLASSES = 16, 704, 171


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sam2", help="a model of SAM 2.1: a name on the Hub, or a folder")
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(machine(options.threads), "\n")
    print_head(["what", *(f"{w} x {h}: ms" for h, w in SIZES), "regions"])
    photo = Image.fromarray(skimage.data.astronaut())
    pixels = [to_tensor(photo.resize((w, h))) for h, w in SIZES]
    grids = [(-(-h // STRIDE), -(-w // STRIDE)) for h, w in SIZES]
    features = [torch.randn(CHANNELS, *grid) for grid in grids]

    def row(name: str, runs: list[partial], count: object = "") -> None:
        spent = [1000 * seconds(run, options.repeats) for run in runs]
        print_row([name, *(f"{one:,.1f}" for one in spent), count])

    specs = ["superpixels", "slic", "clusters"]
    specs += [f"sam2:{options.sam2}"] if options.sam2 else []
    for spec in specs:
        provider = provider_of(spec)
        found = [
            partial(provider.regions, Photo(""), one, [part])
            for one, part in zip(pixels, features, strict=True)
        ]
        row(spec, found, ", ".join(str(int(run().max())) for run in found))
    clusters, small = ClusterRegions(), torch.randn(64, CHANNELS, 14, 14)
    spent = 1000 * seconds(partial(clusters.regions_of, [small]), options.repeats) / len(small)
    print_row(["clusters of 14 x 14 cells, 64 photos at once", f"{spent:.2f}", "", ""])

    provider = provider_of("superpixels")
    regions = [provider.regions(Photo(""), one) for one in pixels]
    weights = [
        region_weights(own, grid, STRIDE, size)
        for own, grid, size in zip(regions, grids, SIZES, strict=True)
    ]
    cells = [torch.rand(CLASSES, *grid) for grid in grids]
    scores = [
        F.interpolate(one[None], size, mode="bilinear")[0]
        for one, size in zip(cells, SIZES, strict=True)
    ]
    labels = [one.argmax(0) for one in scores]
    every = list(zip(regions, weights, cells, scores, labels, features, strict=True))
    places = list(zip(regions, grids, SIZES, strict=True))
    row("weights of cells", [partial(region_weights, r, g, STRIDE, s) for r, g, s in places])
    row("means of features", [partial(region_means, f, w) for _, w, _, _, _, f in every])
    row("mean vote", [partial(_mean_vote, *one[:4]) for one in every])
    row("mode vote", [partial(vote_mode, one, r) for r, _, _, _, one, _ in every])


def _mean_vote(
    regions: torch.Tensor, weights: torch.Tensor, cells: torch.Tensor, scores: torch.Tensor
) -> torch.Tensor:
    return spread(region_means(cells, weights, unit=False).T, regions, scores)


if __name__ == "__main__":
    main()
