import errno
import io
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from recoseg.drawing.cosegmentation_figure import cosegmentation_figure
from recoseg.drawing.overlay import draw_overlay
from recoseg.drawing.palette import default_palette
from recoseg.errors import OutputError, RecosegError, UnknownNameError
from recoseg.labels import Segmentation
from recoseg.photos.refs import Photo
from recoseg.writers import formats
from recoseg.writers.folder import OutputFolder, read_segmentations
from recoseg.writers.formats import encode_label_map, encode_scores
from recoseg.writers.names import output_names


def make(labels, names=("sky", "été"), scores=None):
    return Segmentation(np.array(labels, np.uint8), names, default_palette(len(names)), scores)


def test_areas_are_shares_of_the_photo_largest_first():
    result = make([[0, 1, 1], [255, 255, 1]], ("a", "b", "absent"))
    assert list(result.areas().items()) == [("b", 0.5), ("a", pytest.approx(1 / 6))]


def test_transformers_form():
    scores = np.array([[[0.5, 0.5, 0.0]], [[0.0, 0.25, 0.75]]], np.float16)
    found = make([[0, 255, 1]], scores=scores).to_transformers()
    assert [(item["label"], item["score"]) for item in found] == [("sky", 0.5), ("été", 0.75)]
    assert found[1]["mask"].mode == "L"
    assert np.asarray(found[1]["mask"]).tolist() == [[0, 0, 255]]
    assert make([[0]]).to_transformers()[0]["score"] is None


def test_label_map_png_keeps_labels_and_colours():
    result = make([[0, 1, 255]])
    image = Image.open(io.BytesIO(encode_label_map(result)))
    assert image.mode == "P"
    assert np.asarray(image).tolist() == [[0, 1, 255]]
    assert np.asarray(image.convert("RGB"))[0].tolist() == [
        list(result.palette[0]),
        list(result.palette[1]),
        [255, 255, 255],
    ]


def test_wide_label_map_is_16_bit():
    names = tuple(map(str, range(300)))
    result = Segmentation(np.array([[299, 65535]], np.uint16), names, default_palette(300))
    image = Image.open(io.BytesIO(encode_label_map(result)))
    assert np.asarray(image).tolist() == [[299, 65535]]
    overlay = draw_overlay(Image.new("RGB", (2, 1)), result)
    assert overlay.width >= 480


def test_scores_round_trip():
    scores = np.random.default_rng(0).random((2, 3, 5)).astype(np.float16)
    result = make(np.zeros((3, 5)), scores=scores)
    loaded = np.load(io.BytesIO(encode_scores(result)), allow_pickle=False)
    assert (loaded["scores"] == scores).all()
    assert loaded["names"].tolist() == ["sky", "été"]
    with pytest.raises(ValueError, match="keep_scores"):
        encode_scores(make([[0]]))


def test_names_by_hand(tmp_path):
    root = tmp_path
    names = output_names(
        [root / "a/dog.jpg", root / "b/dog.png", root / "b/dog.jpg", root / "cat.jpg"]
    )
    assert names == ["a/dog", "b/dog", "b/dog-2", "cat"]
    assert output_names(["x/Dog.jpg", "y/dog.jpg"]) == ["x/Dog", "y/dog"]
    assert output_names(["写真/犬.jpg"]) == ["犬"]
    assert output_names(["a/CON.png", "..", "a/<b>|.png"]) == ["_CON", "image", "_b_"]


@settings(max_examples=200)
@given(st.lists(st.text(st.characters(exclude_characters="\0"), max_size=300), max_size=8))
def test_names_never_collide_and_never_escape(paths):
    names = output_names(paths)
    assert len({name.casefold() for name in names}) == len(paths)
    for name in names:
        for part in name.split("/"):
            assert part
            assert part not in (".", "..")
            assert not set(part) & set('\\:*?"<>|\n')
            assert len(part.encode()) < 200


def output(folder, **options):
    return OutputFolder(folder, ("sky", "été"), default_palette(2), **options)


def test_output_folder(tmp_path):
    scores = np.zeros((2, 3, 5), np.float16)
    result = make([[0, 1, 1, 1, 255]] * 3, scores=scores)
    photo = Image.new("RGB", (5, 3))
    out = tmp_path / "out"
    with output(out, writers=["labels", "overlays", "scores"]) as folder:
        folder.write("été", Photo("in/été.jpg"), photo, result)
        folder.write("../../evil", Photo("in/evil.jpg"), photo, result)
        folder.write_failure("in/bad.jpg", "the file is empty")
    lines = list(read_segmentations(out))
    assert lines[0]["path"] == "in/été.jpg"
    assert (lines[0]["width"], lines[0]["height"]) == (5, 3)
    assert lines[0]["areas"] == {"été": 0.6, "sky": 0.2}
    assert lines[0]["background"] == 0.2
    assert lines[2] == {"path": "in/bad.jpg", "error": "the file is empty"}
    for line in lines[:2]:
        assert set(line["files"]) == {"labels", "overlays", "scores"}
        for name in line["files"].values():
            assert (out / name).resolve().is_relative_to(out.resolve())
            assert (out / name).stat().st_size > 0
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    assert not [path for path in out.rglob("*") if path.name.startswith(".tmp")]


def test_lines_survive_an_error(tmp_path):
    def fail():
        with output(tmp_path, writers=["labels"]) as folder:
            folder.write("a", Photo("a.jpg"), Image.new("RGB", (1, 1)), make([[0]]))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert len((tmp_path / "segmentations.jsonl").read_text().splitlines()) == 1


def test_figure_shows_five_images_and_their_seeds():
    images = [Image.new("RGB", (224, 224), (0, 0, 255)) for _ in range(6)]
    support = torch.zeros(6, 7, 7)
    support[:, 2, 5] = 1
    seeds = torch.tensor([[[2, 5]]] * 6)
    figure = np.asarray(cosegmentation_figure(images, support, seeds, "zebra", height=112))
    assert figure.shape[1] > 5 * 112
    assert figure.shape[1] < 6 * 112
    lime = (figure == (0, 255, 0)).all(2)
    ys, xs = np.nonzero(lime)
    top = figure.shape[0] - 112 - 4
    assert abs(ys.mean() - top - 2.5 * 16) < 1.5
    assert abs(xs[xs < 116].mean() - 4 - 5.5 * 16) < 1.5
    red = (figure[..., 0] > 60) & (figure[..., 1] == 0) & (figure[..., 2] < 250)
    red[:top] = False
    assert abs(np.nonzero(red)[0].mean() - top - 2.5 * 16) < 4


@pytest.mark.wrong_shapes
def test_figure_of_fewer_images_and_flat_support():
    figure = cosegmentation_figure(
        [Image.new("RGB", (30, 60))], torch.ones(1, 4, 2), torch.zeros(1, 3, 2).long(), "x" * 80
    )
    assert figure.height > 224
    with pytest.raises(ValueError, match="got 2 images"):
        cosegmentation_figure(
            [Image.new("RGB", (3, 3))] * 2, torch.ones(1, 1, 1), torch.zeros(2, 1, 2).long(), ""
        )


class Names:
    """A writer of one file with the names of all photos."""

    kind = "names"

    def __init__(self, **settings):
        self.settings = settings
        self.calls = []

    def files(self, name):
        return {"names": "names.txt"}

    def begin(self, folder, names, palette):
        self.calls.append(("begin", names, len(palette)))
        self.file = (folder / "names.txt").open("w", encoding="utf-8")

    def write(self, name, image, segmentation):
        self.calls.append(("write", name))
        self.file.write(f"{name}\n")

    def close(self):
        self.calls.append(("close",))
        self.file.close()


def test_a_writer_of_ones_own(tmp_path):
    own = Names(form="list")
    photo = Image.new("RGB", (1, 1))
    with output(tmp_path, writers=["labels", own]) as folder:
        fields = folder.write("été", Photo("été.jpg"), photo, make([[0]]))
    assert own.calls == [("begin", ("sky", "été"), 2), ("write", "été"), ("close",)]
    assert fields["files"] == {"labels": "labels/été.png", "names": "names.txt"}
    assert (tmp_path / "names.txt").read_text("utf-8") == "été\n"
    assert (tmp_path / "classes.txt").read_text("utf-8") == "sky\nété\n"
    written = json.loads((tmp_path / "settings.json").read_text())
    assert written.pop("format") == "recoseg-masks-1"
    assert len(written.pop("run")) == 16
    assert len(written.pop("checksum")) == len(written.pop("checksums")["classes.txt"]) == 32
    assert written == {"overlays": False, "scores": False, "form": "list"}
    with output(tmp_path, writers=["labels", Names(form="list")], resume=True) as folder:
        assert folder.missing([Photo("été.jpg")]) == []
    with (
        pytest.raises(RecosegError, match=r"other settings \(form\)"),
        output(tmp_path, writers=["labels", Names(form="table")], resume=True),
    ):
        pass


def test_writers_are_closed_after_an_error(tmp_path):
    own = Names()

    def fail():
        with output(tmp_path, writers=[own]):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert own.calls[-1] == ("close",)


def test_unknown_formats_list_the_valid_ones(tmp_path):
    with pytest.raises(UnknownNameError, match="labels, overlays, scores"):
        output(tmp_path, writers=["masks"])


PHOTO = Image.new("RGB", (1, 1))


def fill(folder, photos, label=0, **options):
    """Segment photos into a folder; the names of those that were not there are returned."""
    with output(folder, settings={"label": label}, **options) as out:
        todo = out.missing(photos)
        for name, photo in todo:
            out.write(name, photo, PHOTO, make([[label]]))
    return [name for name, _ in todo]


def files(folder):
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def test_an_earlier_run_is_refused_resumed_or_replaced(tmp_path):
    photos = [Photo(f"{name}.jpg") for name in "abc"]
    (tmp_path / "notes.txt").write_text("mine")
    assert fill(tmp_path, photos) == ["a", "b", "c"]
    with pytest.raises(OutputError, match=r"holds the masks of an earlier run.*--overwrite"):
        fill(tmp_path, photos)
    assert fill(tmp_path, photos, resume=True) == []
    with pytest.raises(OutputError, match=r"other settings \(label\).*--overwrite"):
        fill(tmp_path, photos, 1, resume=True)
    assert fill(tmp_path, photos[:1], 1, writers=["labels"], overwrite=True) == ["a"]
    kept = [".lock", "classes.txt", "labels/a.png", "notes.txt", "segmentations.jsonl"]
    assert files(tmp_path) == [*kept, "settings.json"]
    assert not (tmp_path / "overlays").exists()


def test_a_folder_of_others_is_refused(tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/dog.png").write_bytes(b"mine")
    for options in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(OutputError, match="holds labels, which this command did not write"):
            fill(tmp_path, [Photo("dog.jpg")], **options)
    assert files(tmp_path) == ["labels/dog.png"]


def test_photos_that_have_changed_are_segmented_again(tmp_path):
    old = [Photo("a.jpg", "1-1"), Photo("b.jpg", "1-1")]
    fill(tmp_path, old)
    (tmp_path / "labels/a.png").write_bytes(b"of the old photo")
    assert fill(tmp_path, [Photo("a.jpg", "1-2"), old[1]], resume=True) == ["a"]
    assert (tmp_path / "labels/a.png").read_bytes() != b"of the old photo"
    lines = list(read_segmentations(tmp_path))
    assert [(line["path"], line["stamp"]) for line in lines] == [("b.jpg", "1-1"), ("a.jpg", "1-2")]


def test_names_of_an_earlier_run_are_not_given_again(tmp_path):
    one, two = Photo("cam1/IMG_1.jpg"), Photo("cam2/IMG_1.jpg")
    assert fill(tmp_path / "out", [one]) == ["IMG_1"]
    assert fill(tmp_path / "out", [two], resume=True) == ["IMG_1-2"]
    assert fill(tmp_path / "out", [one, two], resume=True) == []
    assert fill(tmp_path / "out", [Photo("cam3/img_1.jpg"), one], resume=True) == ["cam3/img_1"]
    fill(tmp_path / "whole", [one, two])
    with output(tmp_path / "part", settings={"label": 0}) as part:
        [(name, first), _] = part.missing([one, two])
        part.write(name, first, PHOTO, make([[0]]))
    fill(tmp_path / "part", [one, two], resume=True)
    assert files(tmp_path / "part") == files(tmp_path / "whole")


def test_photos_that_are_given_twice_have_one_mask(tmp_path):
    assert fill(tmp_path, [Photo("a.jpg"), Photo("a.jpg")]) == ["a"]


@pytest.mark.parametrize(
    "line",
    [
        {"path": None, "files": {"labels": "labels/a.png", "overlays": "overlays/a.jpg"}},
        {"path": "a.jpg", "name": "a", "stamp": "", "files": ["labels/a.png"]},
        {"path": "a.jpg", "name": "a", "stamp": "", "files": {"labels": "../labels/a.png"}},
        {"path": ["a.jpg"], "name": "a", "stamp": "", "files": {"labels": "labels/a.png"}},
    ],
)
def test_lines_of_strangers_count_for_nothing(tmp_path, line):
    fill(tmp_path / "out", [Photo("a.jpg")])
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.png").write_bytes(b"mine")
    path = tmp_path / "out/segmentations.jsonl"
    run = json.loads(path.read_text())["run"]
    path.write_text(json.dumps({"run": run, **line}) + "\n")
    assert fill(tmp_path / "out", [Photo("a.jpg")], resume=True) == ["a"]
    assert (tmp_path / "labels/a.png").read_bytes() == b"mine"


def test_two_processes_do_not_write_to_one_folder(tmp_path):
    with output(tmp_path), ThreadPoolExecutor(1) as pool:
        other = pool.submit(fill, tmp_path, [Photo("a.jpg")])
        with pytest.raises(OutputError, match="Another process is writing"):
            other.result()


def test_a_full_disk_keeps_the_finished_photos(tmp_path, monkeypatch):
    real = formats.write_bytes

    def full(path, data):
        if path.name == "b.jpg":
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, data)

    photos = [Photo("a.jpg"), Photo("b.jpg")]
    with monkeypatch.context() as patch:
        patch.setattr(formats, "write_bytes", full)
        with pytest.raises(OutputError, match="No space left on device"):
            fill(tmp_path, photos)
    assert "labels/a.png" in files(tmp_path)
    assert "labels/b.png" not in files(tmp_path)  # its overlay is missing
    assert fill(tmp_path, photos, resume=True) == ["b"]
