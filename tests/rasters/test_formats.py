"""GeoTIFF and GeoPackage, read back by rasterio and pyogrio."""

import json
import sqlite3

import numpy as np
import pytest
from PIL import Image

from recoseg.classes import class_list
from recoseg.errors import BadImageError, DatasetError, MissingExtraError
from recoseg.formats.format_table import formats_of
from recoseg.formats.reading.open_format import open_format
from recoseg.pipeline.convert import convert
from tests.formats.photos import label_map

from .scenes import TRANSFORM, rasterio, write

NAMES = ("road", 'a & b <c> "q"', "日本語 🐈", *(f"class {number}" for number in range(3, 20)))


@pytest.fixture
def masks(tmp_path):
    """Masks, and their photos in a known place, in degrees, and nowhere."""
    rasterio()
    pytest.importorskip("pyogrio", reason="the extra `geo` is not installed")
    found = {}
    for number, (name, where) in enumerate(
        {
            "metres": {},
            "a;b, c/deg;rees": {"crs": "EPSG:4326", "transform": (1e-4, 0, 11, 0, -1e-4, 48)},
            "turned": {"transform": (0.4, 0.3, 500_000, 0.3, -0.4, 5_000_000)},
            "nowhere": {"crs": None, "transform": None},
        }.items(),
        start=3,
    ):
        labels = label_map(number, len(NAMES))
        for folder, values in (("masks", labels[None]), ("photos", np.stack([labels] * 3))):
            path = tmp_path / folder / f"{name}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            if folder == "masks":
                Image.fromarray(labels).save(path.with_suffix(".png"))
                continue
            place = where.get("transform", TRANSFORM)
            place = place if place is None else rasterio().Affine(*place)
            write(path, values, **{**where, "transform": place})
        found[name] = labels
    (tmp_path / "masks" / "classes.txt").write_text(class_list(NAMES), encoding="utf-8")
    return tmp_path, found


def converted(root, *to, **options):
    report = convert(
        root / "masks", to, root / "out", images=root / "photos", overwrite=True, **options
    )
    assert not report.failures
    return report.folders


def test_geotiff_holds_labels_names_colours_and_place(masks):
    root, found = masks
    folder = converted(root, "geotiff")["geotiff"]
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")} == {
        *(f"{name}.tif" for name in found),
        "classes.txt",
    }
    for name, labels in found.items():
        with (
            rasterio().open(folder / f"{name}.tif") as file,
            rasterio().open(root / "photos" / f"{name}.tif") as photo,
        ):
            assert np.array_equal(file.read(1), labels)
            assert (file.crs, file.transform) == (photo.crs, photo.transform)
            assert file.nodata == 255
            assert json.loads(file.tags()["CLASSES"]) == list(NAMES)
            assert [file.tags(1)[f"CLASS_{label}"] for label in range(20)] == list(NAMES)
            assert len({file.colormap(1)[label] for label in range(20)}) == 20


def painted(path, labels, transform):
    """Paint the polygons of a file, whose coordinates are those of a transform, over nothing."""
    import pyogrio
    import shapely
    from rasterio.features import rasterize

    _, _, outlines, (names, numbers, areas) = pyogrio.raw.read(path.read_bytes(), layer="regions")
    assert [NAMES[number] for number in numbers] == list(names)
    polygons = shapely.from_wkb(outlines)
    assert shapely.is_valid(polygons).all()
    image = np.full(labels.shape, 255, np.uint8)
    if len(polygons):
        shapes = zip(polygons, numbers.tolist(), strict=True)
        rasterize(shapes, out=image, transform=transform)
    return image, polygons, numbers, areas


def test_geopackage_holds_the_same_pixels_as_polygons(masks):
    import pyogrio
    import shapely

    root, found = masks
    folder = converted(root, "gpkg", tolerance=0)["gpkg"]
    for name, labels in found.items():
        path = folder / f"{name}.gpkg"
        with rasterio().open(root / "photos" / f"{name}.tif") as photo:
            crs, transform = photo.crs, photo.transform
        if name == "nowhere":
            transform = rasterio().Affine(1, 0, 0, 0, -1, 0)
        image, polygons, numbers, areas = painted(path, labels, transform)
        assert np.array_equal(image, labels)
        info = pyogrio.read_info(path.read_bytes(), layer="regions")
        assert (info["crs"] is None) == (crs is None)
        if crs is not None:
            assert info["crs"] == crs.to_string()
        if name == "a;b, c/deg;rees":
            side = np.pi / 180 * 1e-4 * 6_371_000  # of a pixel by a sphere, metres
            pixels = shapely.area(polygons) / 1e-8
            expected = pixels * side**2 * np.cos(np.radians(48))
            assert areas == pytest.approx(expected, rel=0.01)
        else:
            assert areas == pytest.approx(shapely.area(polygons), rel=1e-9)
            pixel = abs(transform.determinant)
            for label in np.unique(numbers):
                total = (labels == label).sum() * pixel
                assert areas[numbers == label].sum() == pytest.approx(total, rel=1e-9)


def test_both_are_read_as_label_maps(masks):
    root, found = masks
    folders = converted(root, "geotiff", "gpkg", tolerance=0)
    for form in ("geotiff", "gpkg"):
        opened = open_format(folders[form])
        assert (opened.form, opened.names) == (form, NAMES)
        assert opened.read.keys() == found.keys()
        for name, labels in found.items():
            own = opened.read[name]()
            assert own.dtype == labels.dtype
            assert np.array_equal(own, labels), (form, name)


def test_damaged_geotiffs_are_told(masks):
    root, found = masks
    folder = converted(root, "geotiff")["geotiff"]
    with rasterio().open(folder / "turned.tif", "r+") as file:
        file.write(np.full_like(found["turned"], 77), 1)
    (folder / "metres.tif").write_bytes(b"II*\0")
    opened = open_format(folder)
    assert np.array_equal(opened.read["nowhere"](), found["nowhere"])
    with pytest.raises(BadImageError, match="values that are no classes"):
        opened.read["turned"]()
    with pytest.raises(BadImageError, match=r"metres\.tif is damaged or no GeoTIFF of labels"):
        opened.read["metres"]()


def test_damaged_geopackages_are_told(masks):
    root, found = masks
    folder = converted(root, "gpkg")["gpkg"]
    damaged = folder / "turned.gpkg"
    damaged.write_bytes(damaged.read_bytes()[:5000])
    opened = open_format(folder)
    with pytest.raises(BadImageError, match=r"turned\.gpkg is damaged"):
        opened.read["turned"]()
    assert opened.read["metres"]().shape == found["metres"].shape
    with sqlite3.connect(damaged.with_name("nowhere.gpkg")) as file:
        file.execute("DELETE FROM gpkg_metadata")
    file.close()
    with pytest.raises(DatasetError, match="lacks the metadata CLASSES, SIZE, TRANSFORM"):
        open_format(folder)


def test_small_regions_are_left_out_and_equal_masks_give_equal_files(masks):
    root, found = masks
    folder = converted(root, "gpkg", min_area=10)["gpkg"]
    before = {path.name: path.read_bytes() for path in folder.rglob("*.gpkg")}
    place = rasterio().Affine(*TRANSFORM)
    _, _, _, areas = painted(folder / "metres.gpkg", found["metres"], place)
    assert areas.min() >= 10 * 0.25 * 0.8  # outlines of thin parts move a little
    folder = converted(root, "gpkg", min_area=10)["gpkg"]
    assert {path.name: path.read_bytes() for path in folder.rglob("*.gpkg")} == before


def test_an_empty_mask_and_many_classes(masks):
    import pyogrio

    root, _ = masks
    wide = tuple(f"class {number}" for number in range(300))
    for path in (root / "masks").rglob("*.png"):
        path.unlink()
    labels = np.full((30, 40), 65535, np.uint16)
    Image.fromarray(labels).save(root / "masks" / "nowhere.png")
    labels[2:9, 3:30] = 299
    Image.fromarray(labels).save(root / "masks" / "metres.png")
    (root / "masks" / "classes.txt").write_text(class_list(wide), encoding="utf-8")
    report = convert(root / "masks", ["geotiff", "gpkg"], root / "out", images=root / "photos")
    assert set(report.failures.values()) == {"no mask"}
    with rasterio().open(root / "out" / "geotiff" / "metres.tif") as file:
        assert (file.nodata, file.dtypes[0]) == (65535, "uint16")
        assert np.array_equal(file.read(1), labels)
    assert pyogrio.read_info(root / "out" / "gpkg" / "nowhere.gpkg")["features"] == 0
    assert pyogrio.read_info(root / "out" / "gpkg" / "metres.gpkg")["features"] == 1


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(
        "recoseg.formats.format_table.find_spec", lambda name: None if name == "pyogrio" else name
    )
    with pytest.raises(MissingExtraError, match=r"'pyogrio'.*\n.*recoseg\[geo\]"):
        formats_of(["gpkg"])
    assert list(formats_of(["geotiff"])) == ["geotiff"]
