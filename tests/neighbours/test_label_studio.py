"""A backend of Label Studio: its protocol, exact brushes, and photos from Label Studio alone."""

import base64
import http.server
import io
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import recoseg
from recoseg.errors import BadImageError, FileError, OptionError
from recoseg.formats.reading.pixels import from_brush
from recoseg.neighbours.label_studio import TaskPhotos, control_of, predictions
from tests.neighbours.conftest import NAMES, options

KEY = "key-of-ann"
BRUSHES = (
    '<View><Image name="photo" value="$picture"/><BrushLabels name="tag" toName="photo">'
    '<Label value="red"/><Label value="blue"/><Label value="other"/></BrushLabels></View>'
)
POLYGONS = BRUSHES.replace("BrushLabels", "PolygonLabels")


def png(pixels):
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


@contextmanager
def web(files, seen, leads_to=None):
    """A server with files by path; it notes the requests with their tokens."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            seen.append((self.path, self.headers.get("Authorization")))
            if self.path == "/storage":
                self.send_response(303)
                self.send_header("Location", leads_to)
                self.end_headers()
                return
            is_open = seen[-1][1] == f"Token {KEY}" or leads_to is None
            data = files.get(self.path, b"")
            self.send_response((200 if data else 404) if is_open else 401)
            self.end_headers()
            self.wfile.write(data if is_open else b"")

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def studio(photo, monkeypatch):
    """Label Studio with a photo, and a store that it leads on to: address and requests of both."""
    monkeypatch.setenv("no_proxy", "*")
    seen, stored = [], []
    with (
        web({"/bucket/a.png": png(photo)}, stored) as store,
        web({"/data/upload/1/a.png": png(photo)}, seen, f"{store}/bucket/a.png") as address,
    ):
        yield address, seen, store, stored


@pytest.fixture(scope="module")
def segmenter(bank):
    return recoseg.open_segmenter(bank, **options())


def task(address, number=1):
    return {"id": number, "data": {"picture": address}}


def inline(photo):
    return f"data:image/png;base64,{base64.b64encode(png(photo)).decode()}"


def test_photos_come_from_label_studio_and_its_storage(studio, photo):
    address, seen, store, stored = studio
    photos = TaskPhotos(address, KEY)
    for place in ("/data/upload/1/a.png", f"{address}/data/upload/1/a.png", "/storage"):
        assert photos.read(task(place), "picture") == png(photo)
    assert [token for _, token in seen] == [f"Token {KEY}"] * 3
    assert stored == [("/bucket/a.png", None)]
    assert photos.read(task(inline(photo)), "picture") == png(photo)
    for place, text in (
        (f"{store}/bucket/a.png", "is not Label Studio's. Let Label Studio serve it"),
        ("file:///etc/passwd", "is not Label Studio's"),
        ("s3://bucket/a.png", "is not Label Studio's"),
        ("//169.254.169.254/latest", "is not Label Studio's"),
        ("/nothing.png", "Label Studio answers 404"),
        ("data:text/plain,x", "no base64"),
        ("data:image/png;base64,???", "no base64"),
        ("", "have no photo in the field 'picture'"),
    ):
        with pytest.raises(BadImageError, match=text):
            photos.read(task(place), "picture")
    assert len(stored) == 1
    with pytest.raises(BadImageError, match="Set LABEL_STUDIO_API_KEY to a token"):
        TaskPhotos(address, "").read(task("/data/upload/1/a.png"), "picture")
    with pytest.raises(BadImageError, match="more than 100 bytes"):
        TaskPhotos(address, KEY, 100).read(task("/data/upload/1/a.png"), "picture")
    for wrong in ("localhost:8080", "file:///x", "ftp://a"):
        with pytest.raises(OptionError, match="Expected one such as http://localhost:8080"):
            TaskPhotos(wrong)


def test_brushes_are_exact(studio, segmenter, photo, result, caplog):
    address, *_ = studio
    tasks = [task("/data/upload/1/a.png"), task("/nothing.png", 2), task(inline(photo), 3)]
    first, missing, third = predictions(
        tasks, control_of(BRUSHES), segmenter, TaskPhotos(address, KEY), "v7"
    )
    assert missing == {"model_version": "v7", "score": 0.0, "result": []}
    assert "No prediction for task 2: Label Studio answers 404" in caplog.text
    assert first == third
    height, width = result.labels.shape
    assert {one["value"]["brushlabels"][0] for one in first["result"]} == {"red", "blue"}
    for one in first["result"]:
        assert (one["from_name"], one["to_name"], one["type"]) == ("tag", "photo", "brushlabels")
        assert (one["original_height"], one["original_width"]) == (height, width)
        [name] = one["value"]["brushlabels"]
        brush = from_brush(one["value"]["rle"], height, width)
        assert np.array_equal(np.asarray(brush, bool), result.mask(name))
        assert one["score"] == result.confidence()[name]
    assert first["score"] == pytest.approx(np.mean([one["score"] for one in first["result"]]))


def test_polygons_where_the_interface_asks_for_them(segmenter, photo):
    pytest.importorskip("shapely")
    [found] = predictions(
        [task(inline(photo))], control_of(POLYGONS), segmenter, TaskPhotos("http://a"), "v"
    )
    kinds = {(one["type"], one["value"]["polygonlabels"][0]) for one in found["result"]}
    assert kinds == {("polygonlabels", "red"), ("polygonlabels", "blue")}
    assert all(len(one["value"]["points"]) > 2 for one in found["result"])


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ("<View>", "cannot be read"),
        ("<View><Image name='i' value='$i'/></View>", "takes no masks. Expected <BrushLabels>"),
        ("<View>" + " " * (1 << 20), "has more than 1,048,576 characters"),
    ],
)
def test_interfaces_without_masks(config, text):
    with pytest.raises(FileError, match=text):
        control_of(config)


def test_the_protocol_at_a_server(bank, photo, result, caplog):
    pytest.importorskip("fastapi")
    pytest.importorskip("python_multipart")
    from fastapi.testclient import TestClient

    from recoseg.serving.limits import Limits

    app = recoseg.make_app(bank, label_studio="http://localhost:8080", **options())
    with TestClient(app, base_url="http://localhost") as client:
        assert client.get("/label-studio/health").json()["status"] == "UP"
        asked = {"project": "1.17", "schema": BRUSHES, "hostname": "http://evil"}
        setup = client.post("/label-studio/setup", json=asked).json()
        assert setup == {"model_version": bank.fingerprint}
        refused = client.post("/label-studio/setup", json={**asked, "schema": "<View/>"})
        assert refused.status_code == 422
        assert "takes no masks" in refused.json()["error"]
        request = {"tasks": [task(inline(photo))], "label_config": BRUSHES, "project": "1.17"}
        answer = client.post("/label-studio/predict", json=request).json()
        assert answer["model_version"] == bank.fingerprint
        [prediction] = answer["results"]
        for one in prediction["result"]:
            [name] = one["value"]["brushlabels"]
            brush = from_brush(one["value"]["rle"], *result.labels.shape)
            assert np.array_equal(np.asarray(brush, bool), result.mask(name))
        assert len(prediction["result"]) == 2
        app.state.service.stop()  # what is only refused for now is no empty prediction
        assert client.post("/label-studio/predict", json=request).status_code == 503
        for wrong in ({**request, "tasks": "x"}, {"tasks": [1], "label_config": BRUSHES}):
            assert client.post("/label-studio/predict", json=wrong).status_code == 422
        assert client.post("/label-studio/webhook", json={"action": "TRAIN"}).json() == {}
    limits = Limits(pixels=100)
    app = recoseg.make_app(bank, label_studio="http://a", limits=limits, **options())
    with TestClient(app, base_url="http://localhost") as client:
        request = {"tasks": [task(inline(photo))], "label_config": BRUSHES}
        [prediction] = client.post("/label-studio/predict", json=request).json()["results"]
        assert prediction["result"] == []
        assert "No prediction for task 1: more than 100 pixels: 48 x 36" in caplog.text
    with TestClient(recoseg.make_app(bank, **options()), base_url="http://localhost") as client:
        assert client.post("/label-studio/setup", json=asked).status_code == 404


def test_what_is_corrected_there_is_read_again(segmenter, photo, result, tmp_path):
    import json

    from recoseg.formats.reading.shapes import read_label_studio

    config = BRUSHES.replace('"other"', '"green"')
    [found] = predictions(
        [task(inline(photo))], control_of(config), segmenter, TaskPhotos("http://a"), "v"
    )
    exported = {"id": 1, "data": {"image": "/a.png"}, "annotations": [{"result": found["result"]}]}
    (tmp_path / "project.json").write_text(json.dumps([exported]))
    read = read_label_studio(tmp_path / "project.json", Path(tmp_path))
    labels = read.read["a"]()
    for name in NAMES:
        assert np.array_equal(labels == read.names.index(name), result.mask(name))
