"""Photos that are sent are segmented as the segmenter segments them."""

import io
import json
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

import recoseg
from recoseg.formats.format_table import FORMATS
from recoseg.regions.rle import mask_of, run_lengths
from recoseg.segmentation.certainty import certainty, keep_certain
from recoseg.serving.limits import Limits
from tests.learning.fakes import make_photo
from tests.serving.conftest import as_file, make_encoders, photo, post, served


@pytest.fixture(scope="module")
def client(bank):
    with served(bank) as client:
        yield client


@pytest.fixture(scope="module")
def segmenter(bank):
    return recoseg.open_segmenter(bank, encoders=make_encoders())


def pixels(response):
    return np.asarray(Image.open(io.BytesIO(response.content)))


def test_every_form_has_the_masks_of_the_segmenter(client, segmenter):
    data = photo()
    expected = segmenter(data)
    assert len(expected.areas()) == 2
    found = post(client, data, format="palette")
    assert found.headers["content-type"] == "image/png"
    np.testing.assert_array_equal(pixels(found), expected.labels)
    found = post(client, data).json()
    assert (found["width"], found["height"]) == (48, 48)
    assert [one["name"] for one in found["classes"]] == list(expected.areas())
    for one in found["classes"]:
        mask = mask_of(run_lengths(one["rle"]["counts"], (48, 48)), (48, 48))
        np.testing.assert_array_equal(mask, expected.mask(one["name"]))
        assert one["share"] == expected.areas()[one["name"]]
        assert one["confidence"] == expected.confidence()[one["name"]]
        assert one["colour"] == "#" + bytes(expected.palette[one["label"]]).hex()
    for one in post(client, data, format="polygons").json()["classes"]:
        assert "rle" not in one
        corners = np.array(one["polygons"][0]).reshape(-1, 2)
        assert (corners.min() >= 0) & (corners.max() <= 48)


def test_layers_are_labels_and_certainty(client, segmenter):
    expected = segmenter(photo()).segmentation
    found = post(client, photo(), format="layers").json()
    assert "rle" not in found["classes"][0]
    labels, sure = (pixels(client.get(found[name])) for name in ("labels", "confidence"))
    np.testing.assert_array_equal(labels, expected.labels)
    np.testing.assert_array_equal(sure, certainty(expected))


def test_what_is_less_certain_becomes_background(client, segmenter):
    expected = segmenter(photo()).segmentation
    middle = float(np.median(certainty(expected))) / 255
    labels = pixels(post(client, photo(), format="palette", threshold=middle))
    np.testing.assert_array_equal(labels == 255, certainty(expected) < middle * 255)
    np.testing.assert_array_equal(labels, keep_certain(expected, middle).labels)
    assert post(client, photo(), threshold=2).status_code == 422
    assert post(client, photo(), threshold="nan").status_code == 422


def test_twenty_clients_get_their_own_results(client, segmenter):
    photos = [as_file(make_photo(n, ("rose", "grass", "sky")[n % 3])) for n in range(20)]
    expected = [segmenter(one).labels for one in photos]
    service = client.app.state.service
    with ThreadPoolExecutor(20) as pool:
        with service._turns:  # nothing is segmented until most have come
            found = [pool.submit(post, client, data, format="palette") for data in photos]
            while len(service._batcher._waiting) < 12:
                time.sleep(0.001)
        found = [one.result() for one in found]
    for one, labels in zip(found, expected, strict=True):
        np.testing.assert_array_equal(pixels(one), labels)
    lines = client.get("/metrics").text.splitlines()
    batches = int(
        next(line for line in lines if line.startswith("recoseg_batches_total")).split()[1]
    )
    assert batches < 20, "none were segmented together"


def test_downloads_have_the_name_of_the_photo(client):
    for name, expected in {
        "Straße 7.jpeg": "Stra%C3%9Fe%207",
        "C:\\Users\\me\\a.b.png": "a.b",
        "../../etc/x;y.jpg": "x%3By",
        "..": "image",
    }.items():
        sent = {"photo": (name, photo(), "image/png")}
        answer = client.post("/segment", files=sent, data={"format": "layers"})
        address = answer.json()["labels"].removesuffix("labels.png")
        found = client.get(f"{address}download?format=overlay")
        ending = found.headers["content-disposition"].partition("''")[2]
        assert ending == f"{expected}-overlay.jpg"
    found = client.get(f"{address}download?format=labelme")
    with zipfile.ZipFile(io.BytesIO(found.content)) as archive:
        assert "labelme/image.json" in archive.namelist()


def test_downloads(client, segmenter):
    listed = client.get("/formats").json()
    assert [one["name"] for one in listed] == ["palette", "overlay", *FORMATS]
    assert all(one["title"] for one in listed)
    address = post(client, photo(), format="layers").json()["labels"].removesuffix("labels.png")
    expected = segmenter(photo())
    found = client.get(f"{address}download", params={"format": "palette"})
    np.testing.assert_array_equal(pixels(found), expected.labels)
    assert found.headers["content-disposition"] == "attachment; filename*=UTF-8''secret%20name.png"
    assert pixels(client.get(f"{address}download?format=overlay")).ndim == 3
    for name in ("coco", "labelme", "voc", "yolo"):
        found = client.get(f"{address}download", params={"format": name})
        assert found.headers["content-type"] == "application/zip"
        with zipfile.ZipFile(io.BytesIO(found.content)) as archive:
            names = archive.namelist()
            assert all(one.startswith(f"{name}/") for one in names)
            assert not any(one.endswith(".part") for one in names)
            if name == "coco":
                coco = json.loads(archive.read("coco/annotations.json"))
                assert [one["name"] for one in coco["categories"]] == list(expected.names)
    nothing = client.get(f"{address}download?format=labelme&threshold=1").content
    with zipfile.ZipFile(io.BytesIO(nothing)) as archive:
        [inner] = [one for one in archive.namelist() if one.endswith(".json")]
        assert json.loads(archive.read(inner))["shapes"] == []
    found = client.get(f"{address}download?format=tiff")
    assert (found.status_code, "Unknown format 'tiff'" in found.json()["error"]) == (422, True)


def test_only_the_last_results_are_kept(bank):
    with served(bank, limits=Limits(results=2)) as client:
        addresses = [post(client, photo(n), format="layers").json()["labels"] for n in range(3)]
        assert [client.get(one).status_code for one in addresses] == [404, 200, 200]
        assert "no longer kept" in client.get(addresses[0]).json()["error"]


def turned(image):
    exif = Image.Exif()
    exif[0x0112] = 6
    return as_file(image, "JPEG", exif=exif, quality=95)


def test_photos_of_all_kinds(client, segmenter):
    image = make_photo(3, "rose", "sky").resize((48, 30))
    frames = {"save_all": True, "append_images": [make_photo(8, "sea").resize((48, 30))]}
    deep = Image.fromarray((np.arange(48 * 30, dtype=np.uint16) * 45).reshape(30, 48))
    kinds = {
        "cmyk": as_file(image.convert("CMYK"), "JPEG"),
        "16 bits": as_file(deep),
        "turned": turned(image),
        "animated": as_file(image, "GIF", **frames),
        "transparent": as_file(image.convert("RGBA")),
    }
    for name, data in kinds.items():
        found = post(client, data, format="palette")
        assert found.status_code == 200, (name, found.text)
        np.testing.assert_array_equal(pixels(found), segmenter(data).labels)
    assert pixels(post(client, kinds["turned"], format="palette")).shape == (48, 30)


def test_what_is_served(client, bank):
    found = client.get("/classes").json()
    assert [one["name"] for one in found["classes"]] == ["rose", "grass"]
    assert [one["label"] for one in found["classes"]] == [0, 1]
    assert found["classes"][0]["photos"] == 3
    assert found["classes"][0]["verdict"] is None  # an archive too small to tell
    assert (found["index"], found["writable"], found["background"]) == (False, False, None)
    assert set(found["limits"]) == {"bytes", "pixels", "classes"}
    assert client.get("/health").json() == {
        "status": "ok",
        "version": recoseg.__version__,
        "bank": "bank",
        "device": "cpu",
    }
    described = client.get("/openapi.json").json()["paths"]
    assert {"/segment", "/classes", "/learn", "/jobs/{name}", "/retrieve"} <= set(described)
