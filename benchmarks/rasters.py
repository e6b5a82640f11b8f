"""Time, memory and seams of rasters: a mosaic of photos as one GeoTIFF.

python benchmarks/rasters.py mosaic PHOTOS big.tif --size 30000 20000
python benchmarks/rasters.py time BANK big.tif OUT [--window 640 ...]
python benchmarks/rasters.py seams BANK small.tif [--windows 320 640]
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
from recoseg.regions import axes

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
        arguments.bank, resize=arguments.resize, window=arguments.window, refine=arguments.refine
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

    def combine(window, starts, pixels):
        length, cells = window.shape
        place = torch.arange(length) + 0.5
        depth = torch.minimum(place, length - place)
        weight = {"mean": torch.ones(length), "taper": depth, "deepest": depth**40.0}[form]
        weight = (weight / weight.max()).clamp(min=1e-30)[:, None]
        matrix = window.new_zeros(pixels, len(starts) * cells)
        sums = window.new_zeros(pixels, 1)
        for number, start in enumerate(starts):
            matrix[start : start + length, number * cells : (number + 1) * cells] = window * weight
            sums[start : start + length] += weight
        return matrix / sums

    return combine


def seams(arguments):
    """Pixels that change when the grid of windows is shifted, near its borders and elsewhere."""
    with rasterio.open(arguments.raster) as file:
        photo = file.read().transpose(1, 2, 0)
    step = arguments.window // 2
    shift = step // 2
    for form in ("deepest", "mean", "taper"):
        axes._mean_of_windows = weighted(form)
        axes._kept_axis_matrix.cache_clear()
        segmenter = recoseg.open_segmenter(arguments.bank, resize=0, window=arguments.window)
        first = segmenter(photo).labels[shift:, shift:]
        second = segmenter(np.ascontiguousarray(photo[shift:, shift:])).labels
        inside = np.s_[step:-2 * step, step:-2 * step]  # borders of the raster are no seams
        differs = (first != second)[inside]
        rows, columns = (
            (np.arange(side) + shift) % step for side in first.shape
        )
        near = [np.minimum(one, step - one) < NEAR for one in (rows, columns)]
        shifted = [np.minimum(np.arange(s) % step, step - np.arange(s) % step) < NEAR for s in first.shape]
        is_near = (near[0] | shifted[0])[:, None] | (near[1] | shifted[1])[None]
        is_near = is_near[inside]
        change = [
            np.abs(np.diff(labels.astype(int), axis=1))[:, columns[1:] == 0].astype(bool).mean()
            for labels in (first,)
        ]
        usual = np.abs(np.diff(first.astype(int), axis=1))[:, columns[1:] == step // 2].astype(bool).mean()
        print(
            json.dumps(
                {
                    "form": form,
                    "near": round(float(differs[is_near].mean()), 4),
                    "far": round(float(differs[~is_near].mean()), 4),
                    "changes at a border of windows": round(float(change[0]), 4),
                    "half a step beside it": round(float(usual), 4),
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
    for name, run in (("time", measure), ("seams", seams)):
        one = commands.add_parser(name)
        one.add_argument("bank")
        one.add_argument("raster")
        one.add_argument("--window", type=int, default=320)
        if name == "time":
            one.add_argument("out")
            one.add_argument("--resize", type=int)
            one.add_argument("--refine", default="none")
        one.set_defaults(run=run)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
