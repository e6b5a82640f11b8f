"""Rasters through `segment`: the labels of the whole photo, where it lies, and interrupted runs."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from recoseg.errors import BadImageError, OptionError
from recoseg.photos.load import load_whole
from recoseg.pipeline.segment import segment
from recoseg.pipeline.verify import verify
from recoseg.rasters import boxes
from recoseg.rasters.label_files import read_label_raster
from recoseg.segmentation import raster_specks, rasters
from recoseg.segmentation.rasters import RasterSegmenter
from recoseg.segmentation.score_grids import score_grids
from recoseg.segmentation.voting import Voting
from recoseg.segmentation.windows import Windows
from tests.segmentation.fakes import Stripes

from .scenes import colours, rasterio, segmenter, write

HEIGHT, WIDTH = 180, 230
SIDE = 32  # of the windows


@pytest.fixture
def picture(monkeypatch):
    rasterio()
    monkeypatch.setattr(boxes, "ALIGNED", 64)
    monkeypatch.setattr(rasters, "ALIGNED", 64)
    monkeypatch.setattr(rasters, "_LARGEST_TILE", 64)  # 3 x 4 tiles
    monkeypatch.setattr(raster_specks, "_BLOCK", 128)
    return colours(HEIGHT, WIDTH)


def whole(photo, **options):
    """The segmentation of all pixels at once, with tapered windows over them."""
    own = segmenter(0, **options)
    item = load_whole(photo, 0)
    windows = replace(Windows.over(photo.shape[:2], SIDE, SIDE // 2), tapered=True)
    [grids] = score_grids(item.pixels[None], [own.branches], own.plan, windows)
    [found] = own.labeller.label([item], grids)
    return found


def line_of(folder):
    [line] = (folder / "segmentations.jsonl").read_text(encoding="utf-8").splitlines()
    return json.loads(line)


def labels_of(folder, name="a"):
    with rasterio().open(folder / "labels" / f"{name}.tif") as file:
        return file.read(1)


@pytest.mark.parametrize(
    "options",
    [
        {"background_threshold": 0.31},
        {"refine": "pamr", "specks": "20 pixels"},
        {"ambiguity": 0.1, "background": ["sky"]},
        {"voting": Voting(Stripes(), "mean")},
        {"voting": Voting(Stripes(), "mode"), "refine": "pamr", "specks": "20 pixels"},
    ],
)
def test_labels_are_those_of_the_whole_photo(picture, tmp_path, options):
    if "refine" in options:
        from recoseg.refinement.refiner import PamrSettings, RefineSettings
        from recoseg.segmentation.specks import SpeckRule

        fast = RefineSettings("pamr", pamr=PamrSettings(3, (1, 5)))
        options = {**options, "refine": fast, "specks": SpeckRule(20)}
    path = write(tmp_path / "a.tif", picture.transpose(2, 0, 1))
    report = segment(segmenter(SIDE, **options), path, tmp_path / "masks", raster=True)
    assert report.failures == {}
    expected = whole(picture, **options)
    found = labels_of(tmp_path / "masks")
    assert np.array_equal(found, expected.labels)
    assert len(np.unique(found)) >= (2 if "voting" in options else 3)
    line = line_of(tmp_path / "masks")
    assert (line["width"], line["height"], line["no_data"]) == (WIDTH, HEIGHT, 0)
    assert line["areas"] == pytest.approx(expected.areas(), abs=1e-6)
    for name, sure in expected.confidence().items():
        assert line["confidence"][name] == pytest.approx(sure, abs=0.02)
    assert verify(tmp_path / "masks").problems == ()
    assert not (tmp_path / "masks" / ".tiles").exists()
    with Image.open(tmp_path / "masks" / "overlays" / "a.jpg") as overlay:
        assert overlay.width == 3 * WIDTH  # small photos are enlarged


def test_specks_beside_pixels_without_data(picture, tmp_path):
    from recoseg.segmentation.specks import SpeckRule

    values = picture.transpose(2, 0, 1).clip(1)
    rng = np.random.default_rng(3)
    values[:, rng.random((HEIGHT, WIDTH)) < 0.3] = 0
    values[:, :70, 60:140] = 0  # a tile without any data, and what is around it
    path = write(tmp_path / "a.tif", values, nodata=0)
    segment(segmenter(SIDE), path, tmp_path / "with", raster=True)
    segment(segmenter(SIDE, specks=SpeckRule(9)), path, tmp_path / "without", raster=True)
    before, after = (labels_of(tmp_path / name) for name in ("with", "without"))
    valid = (values != 0).any(0)
    assert np.array_equal(after, SpeckRule(9).clean(before, valid))
    assert (after != before).sum() > 50
    assert (after[~valid] == 255).all()
    line = line_of(tmp_path / "without")
    for label, name in enumerate(("red", "green", "blue")):
        assert line["areas"].get(name, 0) == pytest.approx((after == label).mean(), abs=1e-6)
    assert line["no_data"] == pytest.approx((~valid).mean(), abs=1e-6)


def test_presence_is_decided_by_the_whole_raster(picture, tmp_path):
    from recoseg.segmentation.presence import PresenceRule

    plain = whole(picture, keep_scores=True)
    best = plain.scores.max((1, 2)).astype(float)
    limit = float(np.sort(best)[:2].mean())  # the weakest class falls below it
    area = sorted(plain.areas().values())[0] + 1e-4
    for rule in (PresenceRule(least_best=limit), PresenceRule(least_area=area)):
        path = write(tmp_path / "a.tif", picture.transpose(2, 0, 1))
        segment(
            segmenter(SIDE, presence=rule), path, tmp_path / "masks", raster=True, overwrite=True
        )
        expected = whole(picture, presence=rule)
        assert len(expected.areas()) == 2
        assert np.array_equal(labels_of(tmp_path / "masks"), expected.labels)


def test_a_coarser_scale(picture, tmp_path):
    path = write(tmp_path / "a.tif", picture.transpose(2, 0, 1))
    segment(segmenter(SIDE, window=2 * SIDE), path, tmp_path / "masks", raster=True)
    half = Image.fromarray(picture).resize((WIDTH // 2, HEIGHT // 2), Image.Resampling.BICUBIC)
    small = whole(np.asarray(half)).labels
    large = np.asarray(Image.fromarray(small).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST))
    assert (labels_of(tmp_path / "masks") == large).mean() > 0.97  # but for the edges of regions


def test_the_file_lies_where_the_raster_does(picture, tmp_path):
    values = picture.transpose(2, 0, 1).clip(1)
    values[:, :100, :70] = 0
    turned = rasterio().Affine(0.4, 0.3, 500_000, 0.3, -0.4, 5_000_000)
    path = write(tmp_path / "a.tif", values, nodata=0, transform=turned)
    segment(segmenter(SIDE), path, tmp_path / "masks", raster=True)
    with rasterio().open(tmp_path / "masks" / "labels" / "a.tif") as file:
        assert file.crs.to_epsg() == 32632
        assert file.transform.almost_equals(turned)
        assert (file.nodata, file.dtypes[0], file.compression.value) == (255, "uint8", "DEFLATE")
        assert file.block_shapes == [(512, 512)]
        assert file.overviews(1) == []
        assert json.loads(file.tags()["CLASSES"]) == ["red", "green", "blue"]
        assert file.tags(1)["CLASS_1"] == "green"
        colours_of = file.colormap(1)
        found = file.read(1)
    assert [colours_of[label][:3] for label in range(3)] == list(segmenter(SIDE).palette)
    empty = (values == 0).all(0)
    assert (found[empty] == 255).all()
    assert (found[~empty] != 255).all()
    assert line_of(tmp_path / "masks")["no_data"] == pytest.approx(empty.mean(), abs=1e-6)


def test_an_interrupted_run_goes_on(picture, tmp_path, monkeypatch):
    path = write(tmp_path / "a.tif", picture.transpose(2, 0, 1))
    segment(segmenter(SIDE), path, tmp_path / "whole", raster=True)
    label, done = RasterSegmenter.label, []

    def interrupted(self, box, presence):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(box)
        return label(self, box, presence)

    monkeypatch.setattr(RasterSegmenter, "label", interrupted)
    with pytest.raises(KeyboardInterrupt, match="go on with --resume"):
        segment(segmenter(SIDE), path, tmp_path / "masks", raster=True)
    assert not list((tmp_path / "masks").glob("labels/*"))
    assert len(list((tmp_path / "masks" / ".tiles").iterdir())) == 1
    again = []
    monkeypatch.setattr(
        RasterSegmenter, "label", lambda *given: again.append(given[1]) or label(*given)
    )
    segment(segmenter(SIDE), path, tmp_path / "masks", raster=True, resume=True)
    assert (len(done), len(again)) == (4, 8)
    assert set(done).isdisjoint(again)
    assert np.array_equal(labels_of(tmp_path / "masks"), labels_of(tmp_path / "whole"))
    segment(segmenter(SIDE), path, tmp_path / "masks", raster=True, resume=True)
    assert len(again) == 8  # all is done


def test_large_photos_are_rasters_by_themselves(picture, tmp_path, monkeypatch):
    monkeypatch.setattr("recoseg.photos.opening.MAX_PIXELS", 10_000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(picture).save(folder / "large.png")
    Image.fromarray(picture[:90, :80]).save(folder / "small.png")
    Image.fromarray(picture).save(folder / "other.webp")
    write(folder / "wide.tif", picture[:40, :50].transpose(2, 0, 1).astype(np.uint16) * 9)
    (folder / "broken.tif").write_bytes((folder / "wide.tif").read_bytes()[:2000])
    report = segment(segmenter(SIDE), folder, tmp_path / "masks")
    reasons = {path.rpartition("/")[2]: reason for path, reason in report.failures.items()}
    assert set(reasons) == {"other.webp", "broken.tif"}
    assert "more than 10,000 pixels" in reasons["other.webp"]
    assert reasons["broken.tif"].startswith("damaged: ")
    files = {path.name for path in (tmp_path / "masks" / "labels").iterdir()}
    assert files == {"large.tif", "small.png", "wide.tif"}
    expected = whole(picture)
    assert np.array_equal(labels_of(tmp_path / "masks", "large"), expected.labels)


def test_without_the_extra_the_reason_is_how_to_get_it(picture, tmp_path, monkeypatch):
    monkeypatch.setattr("recoseg.photos.opening.MAX_PIXELS", 10_000)
    monkeypatch.setattr("recoseg.segmentation.raster_to_folder.has_rasterio", lambda: False)
    Image.fromarray(picture).save(tmp_path / "large.png")
    report = segment(segmenter(SIDE), tmp_path / "large.png", tmp_path / "masks")
    [reason] = report.failures.values()
    assert reason.startswith(f"more than 10,000 pixels: {WIDTH} x {HEIGHT}. ")
    assert reason.endswith("pip install 'recoseg[geo]'")


def test_options_that_need_the_whole_photo_are_refused(picture, tmp_path):
    path = write(tmp_path / "a.tif", picture.transpose(2, 0, 1))
    with pytest.raises(OptionError, match="Leave out --scores"):
        segment(segmenter(SIDE, keep_scores=True), path, tmp_path / "masks", raster=True)
    with pytest.raises(OptionError, match="bands are 1, 2; expected three numbers from 1"):
        segment(segmenter(SIDE), path, tmp_path / "masks", bands=(1, 2))
    report = segment(segmenter(SIDE), path, tmp_path / "masks", bands=(1, 2, 4), overwrite=True)
    assert list(report.failures.values()) == ["has 3 bands, numbered from 1, and no band 4"]


def test_where_a_raster_lies_may_not_be_known(picture, tmp_path):
    path = write(tmp_path / "a.tif", picture[:80, :90].transpose(2, 0, 1), crs=None, transform=None)
    segment(segmenter(SIDE), path, tmp_path / "masks", raster=True, overlays=False)
    with rasterio().open(tmp_path / "masks" / "labels" / "a.tif") as file:
        assert file.crs is None
        assert file.transform.is_identity
    with pytest.raises(BadImageError, match="not a file of labels"):
        read_label_raster(path)
