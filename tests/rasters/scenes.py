"""Small rasters in every form, and a segmenter of colours for them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, zoom

from recoseg.segmentation.bank_segmenter import bank_segmenter
from tests.segmentation.fakes import ColourEncoder, make_bank

TRANSFORM = (0.5, 0.0, 500_000.0, 0.0, -0.5, 5_000_000.0)


def rasterio():
    """The library; the test is skipped without it."""
    return pytest.importorskip("rasterio", reason="the extra `geo` is not installed")


def colours(height, width, seed=0):
    """A picture of soft spots, (h, w, 3) uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(-(-height // 20), -(-width // 20), 3))
    fields = zoom(gaussian_filter(coarse, (1.5, 1.5, 0)), (20, 20, 1), order=1)[:height, :width]
    return ((fields - fields.min()) / np.ptp(fields) * 255).astype(np.uint8)


def write(path, values, **profile):
    """Write bands (bands, h, w) as GeoTIFF with a place on the earth, unless said otherwise."""
    library = rasterio()
    count, height, width = values.shape
    usual = {
        "driver": "GTiff",
        "crs": "EPSG:32632",
        "transform": library.Affine(*TRANSFORM),
        "tiled": True,
        "blockxsize": 64,
        "blockysize": 64,
    }
    chosen = {**usual, **profile}
    kept = {name: value for name, value in chosen.items() if value is not None}
    after = {name: kept.pop(name) for name in ("colorinterp", "colormap", "mask") if name in kept}
    with library.open(
        path, "w", count=count, height=height, width=width, dtype=values.dtype.name, **kept
    ) as file:
        file.write(values)
        if "colorinterp" in after:
            file.colorinterp = after["colorinterp"]
        if "colormap" in after:
            file.write_colormap(1, after["colormap"])
        if "mask" in after:
            file.write_mask(after["mask"])
    return path


def segmenter(short_side=64, **options):
    """A segmenter into red, green and blue whose input has a short side."""
    return bank_segmenter(
        make_bank(short_side=short_side),
        phi=[ColourEncoder(4)],
        saliency=ColourEncoder(6),
        **options,
    )
