"""Classes are searched, tried, kept and removed as the library does it."""

import io
import shutil
import threading
import time

import numpy as np
import pytest
from PIL import Image

import recoseg
from recoseg.concepts import ConceptBank
from recoseg.pipeline.preview import preview
from recoseg.serving.limits import Limits
from recoseg.serving.turns import Turns
from recoseg.storage.locks import lock_file
from tests.banks import assert_same_references
from tests.serving.conftest import NAMES, SETTINGS, make_encoders, photo, post, served


def started(client, name, **fields):
    answer = client.post("/learn", json={"name": name, **fields})
    assert answer.status_code == 202, answer.text
    return answer.json()["job"]


def ended(client, job):
    for _ in range(500):
        state = client.get(f"/jobs/{job}").json()
        if state["state"] not in ("queued", "running"):
            return state
        time.sleep(0.01)
    raise AssertionError(state)


def names_of(client):
    return [one["name"] for one in client.get("/classes").json()["classes"]]


@pytest.fixture
def client(file, archive):
    with served(file, archive, writable=True) as client:
        yield client


def test_retrieval(client, archive):
    found = client.post("/retrieve", json={"name": "sea; -sky", "k": 5}).json()
    expected = recoseg.retrieve(
        archive, ["sea; -sky"], k=5, retrieval=make_encoders().retrieval, prompts="none"
    )
    assert [(one["row"], one["path"]) for one in found["photos"]] == [
        (hit.position, archive.path(hit.position)) for hit in expected.hits["sea"]
    ]
    scores = [hit.score for hit in expected.hits["sea"]]
    assert [one["score"] for one in found["photos"]] == pytest.approx(scores)
    assert found["verdict"] is None
    assert "too small to tell" in found["advice"]


@pytest.mark.parametrize("name", ["sea", "rose", "xyz"])
def test_the_verdict_before_learning_is_that_after_it(archive, bank, name, monkeypatch):
    monkeypatch.setattr("recoseg.evidence.LEAST_ARCHIVE", 5)
    monkeypatch.setattr("recoseg.evidence.STANDS_OUT", 2.0)
    learnt = recoseg.learn(archive, [f"{name}-2: {name}"], encoders=make_encoders(), **SETTINGS)
    words = learnt.classes[0].words
    before = preview(archive, words, make_encoders().retrieval, bank.settings.learn, 2)
    assert before.verdict == learnt.classes[0].verdict
    assert before.verdict.judgement != "unknown"
    assert len(before.hits) == 2


def test_photos_of_the_index(client, archive):
    found = client.get("/photos/3?size=24")
    image = Image.open(io.BytesIO(found.content))
    assert found.headers["content-type"] == "image/jpeg"
    assert (image.format, image.size) == ("JPEG", (24, 24))
    mean = np.asarray(image).mean((0, 1))
    assert np.abs(mean - np.asarray(archive.read(3)).mean((0, 1))).max() < 6
    for row in (-1, len(archive), 10**30):
        assert client.get(f"/photos/{row}").status_code in (404, 422)
    assert client.get("/photos/%2e%2e%2fbank").status_code in (404, 422)
    assert client.get("/photos/3?size=100000").status_code == 422


def test_photos_that_the_selection_leaves_out_are_not_shown(file, archive):
    kept = archive.without({archive.photo_id(3): "blurred"})
    assert (archive.left_out, kept.left_out) == (0, 1)
    with served(file, kept, writable=True) as client:
        answer = client.get("/photos/3")
        assert answer.status_code == 404
        assert "The selection of this server leaves out photo 3." in answer.json()["error"]
        assert client.get("/photos/4").status_code == 200
        refused = client.post("/learn", json={"name": "sea", "rejected": [3]})
        assert refused.status_code == 404


def test_a_photo_that_is_gone(file, archive, tmp_path):
    shutil.copytree(archive.root, tmp_path / "index")
    index = recoseg.open_index(tmp_path / "index")
    gone = index.photo(0)
    with served(file, index) as client, pytest.MonkeyPatch.context() as patch:
        patch.setattr("recoseg.archive.index.read_photo", lambda _: b"no photo")
        answer = client.get("/photos/0")
    assert answer.status_code == 404
    assert "Photo 0 of the index cannot be used" in answer.json()["error"]
    assert gone.path not in answer.text


def test_a_class_is_tried_without_a_change(client, file, archive, bank):
    before = file.read_bytes()
    job = started(client, "sea")
    state = ended(client, job)
    assert (state["state"], state["progress"], state["error"]) == ("done", 1.0, None)
    result = state["result"]
    assert (result["name"], result["kept"], result["label"]) == ("sea", False, 2)
    expected = recoseg.learn(archive, ["sea"], encoders=make_encoders(), add_to=bank)
    assert [one["path"] for one in result["photos"]] == [
        one.path for one in expected.classes[2].retrieved
    ]
    for one, retrieved in zip(result["photos"], expected.classes[2].retrieved, strict=True):
        assert archive.path(one["row"]) == retrieved.path
        [(y, x)] = retrieved.seeds
        middle = [(8 * x + 4) / 48, (8 * y + 4) / 48]  # cells of 8 pixels
        assert one["seed"] == pytest.approx(middle, abs=1 / 48)
    tried = post(client, photo(7, "sea"), job=job).json()
    segmenter = recoseg.open_segmenter(expected, encoders=make_encoders())
    assert [one["name"] for one in tried["classes"]] == list(segmenter(photo(7, "sea")).areas())
    assert "sea" in [one["name"] for one in tried["classes"]]
    assert "sea" not in [one["name"] for one in post(client, photo(7, "sea")).json()["classes"]]
    assert names_of(client) == NAMES
    assert file.read_bytes() == before


def test_a_class_is_kept_learnt_again_and_removed(client, file, archive, bank):
    state = ended(client, started(client, "sea", keep=True))
    assert state["result"]["kept"]
    assert names_of(client) == [*NAMES, "sea"]
    expected = recoseg.learn(archive, ["sea"], encoders=make_encoders(), add_to=bank)
    assert_same_references(ConceptBank.load(file).classes[2], expected.classes[2])
    assert "sea" in [one["name"] for one in post(client, photo(7, "sea")).json()["classes"]]

    rows = [one["row"] for one in state["result"]["photos"]]
    state = ended(client, started(client, "grass; green", rejected=rows, keep=True))
    before = [one["row"] for one in state["result"]["photos"]]
    state = ended(client, started(client, "grass", rejected=before[:2], keep=True))
    assert not set(before[:2]) & {one["row"] for one in state["result"]["photos"]}
    assert names_of(client) == [*NAMES, "sea"]  # in its place
    assert [one.name for one in ConceptBank.load(file).classes] == [*NAMES, "sea"]

    assert client.delete("/classes/grass").status_code == 204
    assert names_of(client) == ["rose", "sea"] == [c.name for c in ConceptBank.load(file).classes]
    assert client.delete("/classes/cow").status_code == 404
    assert "no class 'cow/calf'" in client.delete("/classes/cow%2Fcalf").json()["error"]
    assert client.delete("/classes/rose").status_code == 204
    last = client.delete("/classes/sea")
    assert (last.status_code, "the bank has no class" in last.json()["error"]) == (422, True)
    with lock_file(file):
        locked = client.delete("/classes/sea")
        assert locked.status_code == 422  # what cannot be done is said first
        state = ended(client, started(client, "rose", keep=True))
    assert state["state"] == "failed"
    assert "Another process is writing" in state["error"]
    file.unlink()
    state = ended(client, started(client, "rose", keep=True))
    assert (state["state"], "No concept bank" in state["error"]) == ("failed", True)
    assert names_of(client) == ["sea"]


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"name": " "}, 422, "The name of the class is empty"),
        ({"name": "-sky"}, 422, "No class name"),
        ({"name": "a\0b"}, 422, "control character"),
        ({"name": "x" * 2000}, 422, "'name': string should have at most 1000"),
        ({"name": "sea", "rejected": [99]}, 404, "no photo 99. Expected 0 to 22"),
        ({"name": "sea", "rejected": ["a"]}, 422, "rejected.0"),
        ({"name": "sea", "rejected": list(range(23))}, 202, ""),
        ({}, 422, "the field 'name' is missing"),
    ],
)
def test_classes_that_cannot_be_learnt(client, fields, status, message):
    answer = client.post("/learn", json=fields)
    assert (answer.status_code, message in answer.text) == (status, True), answer.text
    if status == 202:
        state = ended(client, answer.json()["job"])
        assert (state["state"], "no photo for 'sea'" in state["error"]) == ("failed", True)


def test_what_the_server_was_not_started_for(file, bank, archive):
    with served(file, archive) as client:
        answer = client.post("/learn", json={"name": "sea", "keep": True})
        assert (answer.status_code, "--writable" in answer.json()["error"]) == (403, True)
        assert client.delete("/classes/rose").status_code == 403
    with served(bank) as client:
        for path in ("/learn", "/retrieve"):
            answer = client.post(path, json={"name": "sea"})
            assert (answer.status_code, "--index" in answer.json()["error"]) == (409, True)
        assert client.get("/photos/0").status_code == 404
    with served(file, archive, limits=Limits(classes=2)) as client:
        answer = client.post("/learn", json={"name": "sea"})
        assert (answer.status_code, "2 classes, which is the limit" in answer.text) == (422, True)
        assert client.post("/learn", json={"name": "rose"}).status_code == 202  # in its place


class Gate:
    """Holds encoders back until it is opened."""

    def __init__(self):
        self.encoders = make_encoders()
        self.reached, self.opened = threading.Event(), threading.Event()
        features = self.encoders.phi[0].features

        def held(images):
            self.reached.set()
            assert self.opened.wait(20)
            return features(images)

        self.encoders.phi[0].features = held


def test_jobs_are_bounded_and_cancelled(file, archive):
    gate, before = Gate(), file.read_bytes()
    limits = Limits(jobs=2, kept_jobs=1)
    with served(file, archive, writable=True, encoders=gate.encoders, limits=limits) as client:
        first, second = (started(client, name, keep=True) for name in ("sea", "road"))
        assert gate.reached.wait(20)
        assert client.get(f"/jobs/{first}").json()["state"] == "running"
        assert client.get(f"/jobs/{second}").json()["state"] == "queued"
        full = client.post("/learn", json={"name": "sun"})
        assert (full.status_code, full.headers["retry-after"]) == (429, "1")
        answer = post(client, photo(), job=second)
        assert (answer.status_code, "is queued. Wait" in answer.json()["error"]) == (409, True)
        assert client.delete(f"/jobs/{first}").status_code == 200
        assert client.delete(f"/jobs/{second}").status_code == 200
        gate.opened.set()
        for job in (first, second):
            state = ended(client, job)
            assert (state["state"], state["result"], state["error"]) == ("cancelled", None, None)
        assert file.read_bytes() == before
        assert ended(client, started(client, "sun"))["state"] == "done"
        assert client.get(f"/jobs/{first}").status_code == 404  # only the last are kept
        assert post(client, photo(), job=first).status_code == 404


def test_photos_are_segmented_while_a_class_is_learnt(file, archive):
    gate = Gate()
    with served(file, archive, encoders=gate.encoders) as client:
        job = started(client, "sea")
        assert gate.reached.wait(20)
        found = []
        thread = threading.Thread(target=lambda: found.append(post(client, photo())))
        thread.start()
        gate.opened.set()
        thread.join(20)
        assert found[0].status_code == 200
        assert ended(client, job)["state"] == "done"


def test_turns_are_given_in_order():
    turns, order, inside = Turns(), [], []

    def work(name):
        with turns:
            inside.append(name)
            assert len(inside) == 1
            order.append(name)
            inside.pop()

    with turns:
        threads = []
        for name in range(5):
            threads.append(threading.Thread(target=work, args=(name,)))
            threads[-1].start()
            while len(turns._line) < name + 2:
                time.sleep(0.001)
        turns.give_way()  # all five come before the turn is back
        assert order == list(range(5))
    for thread in threads:
        thread.join()
