"""Time, memory and seams of rasters: a mosaic of photos as one GeoTIFF.

python benchmarks/rasters.py mosaic PHOTOS big.tif --size 30000 20000
python benchmarks/rasters.py time BANK big.tif OUT --window 1280
python benchmarks/rasters.py seams BANK small.tif
python benchmarks/rasters.py tiles BANK small.tif OUT --regions superpixels
"""

import argparse
import json
import resource
import shutil
import time
from pathlib import Path

import numpy as np
import rasterio
import torch
from PIL import Image
from rasterio.transform import from_origin
from rasterio.windows import Window

import recoseg
from recoseg.photos.load import load_whole
from recoseg.rasters.boxes import ALIGNED
from recoseg.rasters.label_files import read_label_raster
from recoseg.regions import axes
from recoseg.segmentation import rasters
from recoseg.segmentation.input_plan import InputPlan
from recoseg.segmentation.score_grids import score_grids

CELL = 1000
NEAR = 8  # pixels beside a border of windows that count as near it


def mosaic(arguments):
    """A GeoTIFF of photos, each enlarged to a square of CELL pixels."""
    photos = sorted(Path(arguments.photos).glob("*.jpg"))
    width, height = arguments.size
    rng = np.random.default_rng(0)
    rng.shuffle(photos)
    profile = {
        **{"driver": "GTiff", "width": width, "height": height, "count": 3, "dtype": "uint8"},
        **{"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "jpeg"},
        **{"photometric": "ycbcr", "crs": "EPSG:32632", "interleave": "pixel"},
        "transform": from_origin(500_000, 5_000_000, 0.2, 0.2),
    }
    pending = iter(photos * (1 + width * height // CELL**2 // len(photos)))
    with rasterio.Env(GDAL_CACHEMAX=512), rasterio.open(arguments.raster, "w", **profile) as file:
        for top in range(0, height, CELL):
            for left in range(0, width, CELL):
                with Image.open(next(pending)) as photo:
                    square = photo.convert("RGB")
                    side = min(square.size)
                    square = square.crop((0, 0, side, side)).resize((CELL, CELL))
                window = Window(left, top, min(CELL, width - left), min(CELL, height - top))
                pixels = np.asarray(square)[: window.height, : window.width]
                file.write(pixels.transpose(2, 0, 1), window=window)


def measure(arguments):
    """Seconds and peak memory of a run."""
    shutil.rmtree(arguments.out, ignore_errors=True)
    segmenter = recoseg.open_segmenter(
        arguments.bank,
        resize=arguments.resize,
        window=arguments.window,
        refine=arguments.refine,
        regions=arguments.regions,
    )
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    report = recoseg.segment(segmenter, arguments.raster, arguments.out, raster=True, progress=None)
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert not report.failures, report.failures
    print(
        json.dumps(
            {
                "window": arguments.window,
                "seconds": round(time.perf_counter() - start),
                "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime),
                "peak_gb": round(after.ru_maxrss * 1024 / 1e9, 2),
                "peak_gb_before": round(before.ru_maxrss * 1024 / 1e9, 2),
            }
        )
    )


def weighted(form):
    """What takes the place of the mean over windows."""

    def combine(window, starts, pixels, tapered):
        length, cells = window.shape
        place = torch.arange(length) + 0.5
        depth = torch.minimum(place, length - place)
        depth = depth / depth.max()
        weight = {"mean": torch.ones(length), "taper": depth, "deepest": depth**200}[form]
        weight = weight.clamp(min=1e-30)[:, None]
        matrix = window.new_zeros(pixels, len(starts) * cells)
        sums = window.new_zeros(pixels, 1)
        for number, start in enumerate(starts):
            matrix[start : start + length, number * cells : (number + 1) * cells] = window * weight
            sums[start : start + length] += weight
        return matrix / sums

    return combine


def seams(arguments):
    """Pixels whose labels change when the grid of windows is shifted by half a step."""
    segmenter = recoseg.open_segmenter(arguments.bank, resize=0, regions="none")
    with rasterio.open(arguments.raster) as file:
        photo = file.read().transpose(1, 2, 0)
    window, step = arguments.window, arguments.window // 2
    shift = step // 2
    plan = InputPlan.of(0, window, step, 8)
    loaded = [load_whole(np.ascontiguousarray(photo[start:, start:]), 0) for start in (0, shift)]
    grids = [score_grids(one.pixels[None], [segmenter.branches], plan)[0] for one in loaded]
    for form in arguments.forms:
        axes._mean_of_windows = weighted(form)
        axes._kept_axis_matrix.cache_clear()
        first, second = (
            segmenter.labeller.label([one], own)[0].labels
            for one, own in zip(loaded, grids, strict=True)
        )
        first = first[shift:, shift:]
        inside = (slice(step, -2 * step), slice(step, -2 * step))  # ends of the raster are no seams
        near = []
        for side in first.shape:
            places = np.arange(side)
            distances = [
                np.minimum(moved % step, -moved % step) for moved in (places, places + shift)
            ]
            near.append(np.minimum(*distances) < NEAR)
        is_near = (near[0][:, None] | near[1][None])[inside]
        differs = (first != second)[inside]
        changes = [(labels[:, 1:] != labels[:, :-1])[inside].mean(0) for labels in (first, second)]
        at = [
            (np.arange(1 + step, 1 + step + len(change)) + moved) % step == 0
            for change, moved in zip(changes, (shift, 0), strict=True)
        ]
        shares = {
            "form": form,
            "differ near borders": differs[is_near].mean(),
            "differ elsewhere": differs[~is_near].mean(),
            "label changes across a border": np.mean(
                [change[place].mean() for change, place in zip(changes, at, strict=True)]
            ),
            "label changes elsewhere": np.mean(
                [change[~place].mean() for change, place in zip(changes, at, strict=True)]
            ),
        }
        print(json.dumps({k: v if k == "form" else round(float(v), 5) for k, v in shares.items()}))


def tiles(arguments):
    """Pixels of a raster in small tiles whose labels are not those of the raster as one tile."""
    options = {"regions": arguments.regions, "refine": arguments.refine}
    own = recoseg.open_segmenter(arguments.bank, window=arguments.window, **options)
    rasters._MEMORY = 10**12
    labels = []
    for side in (100 * ALIGNED, ALIGNED):
        rasters._LARGEST_TILE = side
        recoseg.segment(own, arguments.raster, arguments.out, raster=True, overwrite=True)
        labels.append(read_label_raster(next((Path(arguments.out) / "labels").glob("*.tif"))))
    expected, found = labels
    differs = found != expected
    near = []
    for side in found.shape:
        places = np.arange(side)
        distance = np.minimum(places % ALIGNED, -places % ALIGNED)
        near.append((distance < NEAR) & (places >= NEAR) & (places < side - NEAR))
    is_near = near[0][:, None] | near[1][None]
    across = []
    for one in labels:  # along the same lines, which are borders of tiles in the second only
        sides = ((one[1:] != one[:-1]), (one[:, 1:] != one[:, :-1]).T)
        changes = [rows[ALIGNED - 1 :: ALIGNED].mean() for rows in sides]
        across.append(round(float(np.mean(changes)), 5))
    print(
        json.dumps(
            {
                **options,
                "label changes along the same lines without borders": across[0],
                "label changes across borders": across[1],
                "pixels": found.size,
                "differ": int(differs.sum()),
                "share near borders of tiles": round(float(differs[is_near].mean()), 5),
                "share elsewhere": round(float(differs[~is_near].mean()), 5),
            }
        )
    )


def main():
    """Read the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("mosaic")
    one.add_argument("photos")
    one.add_argument("raster")
    one.add_argument("--size", type=int, nargs=2, default=(30_000, 20_000))
    one.set_defaults(run=mosaic)
    for name, run in (("time", measure), ("seams", seams), ("tiles", tiles)):
        one = commands.add_parser(name)
        one.add_argument("bank")
        one.add_argument("raster")
        one.add_argument("--window", type=int, default=320)
        if name == "time":
            one.add_argument("--resize", type=int)
        if name != "seams":
            one.add_argument("out")
            one.add_argument("--regions")
            one.add_argument("--refine", default="none")
        else:
            one.add_argument("--forms", nargs="+", default=["deepest", "mean", "taper"])
        one.set_defaults(run=run)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
