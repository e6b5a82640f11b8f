"""How far masks of simplified polygons may differ from the exact ones, as the guide states it."""

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import distance_transform_cdt, gaussian_filter
from scipy.ndimage import label as connected

from recoseg.classes import class_list
from recoseg.formats.regions import parts_of
from recoseg.pipeline.convert import convert
from tests.formats.photos import NAMES
from tests.formats.slow_readers import READERS

pytestmark = pytest.mark.slow

POLYGONS = ("coco", "coco-stuff", "yolo", "labelme", "cvat", "label-studio")
COUNT = 6


def smooth_map(number):
    """Large regions with round borders, holes of 3 pixels and more, and lines of one pixel."""
    rng = np.random.default_rng(number)
    height, width = rng.integers(70, 110, 2)
    fields = [gaussian_filter(rng.normal(size=(height, width)), 9) for _ in range(4)]
    labels = np.argmax(fields, 0).astype(np.uint8)
    y, x = np.mgrid[:height, :width]
    for _ in range(5):
        row, column, radius = rng.integers(6, 64), rng.integers(6, 64), rng.integers(2, 5)
        labels[(y - row) ** 2 + (x - column) ** 2 <= radius**2] = 255
    labels[height // 3, 5:-5] = 4
    labels[np.arange(60), np.arange(60)] = 5
    return labels


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    pytest.importorskip("shapely")
    root = tmp_path_factory.mktemp("smooth")
    found = {f"{number}": smooth_map(number) for number in range(COUNT)}
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    for name, labels in found.items():
        Image.fromarray(labels).save(root / "masks" / f"{name}.png")
        Image.new("RGB", labels.shape[::-1]).save(root / "images" / f"{name}.png")
    (root / "masks/classes.txt").write_text(class_list(NAMES[:6]), encoding="utf-8")
    return root, found


@pytest.fixture(scope="module", params=[1.0, 2.0])
def simplified(request, maps):
    out = maps[0] / f"out-{request.param}"
    options = {"images": maps[0] / "images", "photos": "copy", "polygons": True}
    convert(maps[0] / "masks", list(POLYGONS), out, tolerance=request.param, **options)
    return out, request.param


def from_border(labels):
    """Of each pixel how many rows or columns away the nearest one of another label is.

    The photo ends with such pixels, too, since outlines of regions run along its sides.
    """
    padded = np.pad(labels, 1, constant_values=254)
    found = np.zeros(padded.shape, int)
    for label in np.unique(padded):
        inside = padded == label
        found[inside] = distance_transform_cdt(inside, "chessboard")[inside]
    return found[1:-1, 1:-1]


@pytest.mark.parametrize("name", POLYGONS)
def test_pixels_change_only_within_the_tolerance_of_a_border(maps, simplified, name):
    out, tolerance = simplified
    found = READERS[name](out / name, 6)
    changed = {photo: found[photo] != labels for photo, labels in maps[1].items()}
    assert any(where.any() for where in changed.values())  # outlines are simplified indeed
    for photo, labels in maps[1].items():
        assert from_border(labels)[changed[photo]].max(initial=0) <= tolerance + 1


@pytest.mark.parametrize("name", POLYGONS)
def test_thin_parts_and_holes_survive(maps, simplified, name):
    found = READERS[name](simplified[0] / name, 6)
    for photo, labels in maps[1].items():
        kept = [
            (found[photo] == labels)[region.whole(*labels.shape)].mean()
            for region in parts_of(labels, 255).each()
        ]
        assert min(kept) >= 0.5
        holes, count = connected(labels == 255)
        assert count
        assert all((found[photo][holes == hole] == 255).any() for hole in range(1, count + 1))


@pytest.mark.parametrize("name", POLYGONS)
def test_a_larger_tolerance_needs_fewer_bytes(maps, simplified, name):
    exact = maps[0] / "exact"
    if not exact.exists():
        options = {"images": maps[0] / "images", "photos": "none", "polygons": True}
        convert(maps[0] / "masks", list(POLYGONS), exact, tolerance=0, **options)

    def size(folder):
        texts = [p for p in folder.rglob("*") if p.suffix in (".json", ".txt", ".xml")]
        return sum(path.stat().st_size for path in texts)

    assert size(simplified[0] / name) < size(exact / name)
