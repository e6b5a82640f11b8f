import io
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from recoseg.drawing.cosegmentation_figure import cosegmentation_figure
from recoseg.drawing.overlay import draw_overlay
from recoseg.drawing.palette import _to_lab, colour_table, default_palette
from recoseg.errors import RecosegError, UnknownNameError
from recoseg.labels import Segmentation
from recoseg.writers.folder import OutputFolder
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


def test_palette_colours_are_far_apart():
    colours = default_palette(255)
    assert len(set(colours)) == 255
    assert colours[:9] == default_palette(9)
    lab = _to_lab(np.array([*colours[:20], (255, 255, 255)]) / 255)
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=2) + 1e3 * np.eye(21)
    assert distance.min() > 20  # about nine times what the eye just tells apart
    assert colour_table(colours)[255].tolist() == [255, 255, 255]


def test_lab_of_known_colours():
    lab = _to_lab(np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]]))
    np.testing.assert_allclose(lab, [[100, 0, 0], [53.2, 80.1, 67.2]], atol=0.2)


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


@pytest.mark.parametrize("size", [(1, 1), (31, 17), (640, 97), (97, 1201)])
def test_overlay_fits_any_size(size):
    width, height = size
    names = tuple(f"a very long class name, number {i}" for i in range(40))
    labels = np.arange(width * height).reshape(height, width) % 40
    photo = Image.new("RGB", size, (9, 9, 9))
    overlay = draw_overlay(photo, make(labels, names))
    bare = draw_overlay(photo, make(labels, names), legend=False)
    assert max(bare.size) >= 480
    assert overlay.width == bare.width
    assert overlay.height > bare.height
    assert np.asarray(overlay)[bare.height :].std() > 0


def test_overlay_leaves_background_as_it_is():
    photo = Image.new("RGB", (600, 2), (10, 20, 30))
    labels = np.full((2, 600), 255)
    labels[:, :200] = 0
    result = make(labels)
    bare = np.asarray(draw_overlay(photo, result, opacity=0.5, legend=False))
    assert bare[0, 400].tolist() == [10, 20, 30]
    expected = (np.array([10, 20, 30]) + np.array(result.palette[0])) / 2
    assert np.abs(bare[0, 50] - expected).max() <= 1
    with pytest.raises(ValueError, match="600 x 2"):
        draw_overlay(Image.new("RGB", (2, 2)), result)


def test_names_by_hand(tmp_path):
    root = tmp_path
    names = output_names(
        [root / "a/dog.jpg", root / "b/dog.png", root / "b/dog.jpg", root / "cat.jpg"]
    )
    assert names == ["a__dog", "b__dog", "b__dog-2", "cat"]
    assert output_names(["x/Dog.jpg", "y/dog.jpg"]) == ["x__Dog", "y__dog"]
    assert output_names(["写真/犬.jpg"]) == ["犬"]
    assert output_names(["a/CON.png", "..", "a/<b>|.png"]) == ["_CON", "image", "_b_"]


@settings(max_examples=200)
@given(st.lists(st.text(st.characters(exclude_characters="\0"), max_size=300), max_size=8))
def test_names_never_collide_and_never_escape(paths):
    names = output_names(paths)
    assert len({name.casefold() for name in names}) == len(paths)
    for name in names:
        assert name
        assert name not in (".", "..")
        assert not set(name) & set('/\\:*?"<>|\n')
        assert len(name.encode()) < 200


def output(folder, **options):
    return OutputFolder(folder, ("sky", "été"), default_palette(2), **options)


def test_output_folder(tmp_path):
    scores = np.zeros((2, 3, 5), np.float16)
    result = make([[0, 1, 1, 1, 255]] * 3, scores=scores)
    photo = Image.new("RGB", (5, 3))
    out = tmp_path / "out"
    with output(out, writers=["labels", "overlays", "scores"]) as folder:
        folder.write("été", "in/été.jpg", photo, result)
        folder.write("../../evil", "in/evil.jpg", photo, result)
        folder.write_failure("in/bad.jpg", "the file is empty")
        assert not folder.lines_path.exists()
    lines = [json.loads(line) for line in folder.lines_path.read_text("utf-8").splitlines()]
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
            folder.write("a", "a.jpg", Image.new("RGB", (1, 1)), make([[0]]))
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

    def begin(self, folder, names, palette):
        self.calls.append(("begin", names, len(palette)))
        self.file = (folder / "names.txt").open("w", encoding="utf-8")

    def write(self, name, image, segmentation):
        self.calls.append(("write", name))
        self.file.write(f"{name}\n")
        return {"names": "names.txt"}

    def close(self):
        self.calls.append(("close",))
        self.file.close()


def test_a_writer_of_ones_own(tmp_path):
    own = Names(form="list")
    photo = Image.new("RGB", (1, 1))
    with output(tmp_path, writers=["labels", own]) as folder:
        fields = folder.write("été", "été.jpg", photo, make([[0]]))
    assert own.calls == [("begin", ("sky", "été"), 2), ("write", "été"), ("close",)]
    assert fields["files"] == {"labels": "labels/été.png", "names": "names.txt"}
    assert (tmp_path / "names.txt").read_text("utf-8") == "été\n"
    assert (tmp_path / "classes.txt").read_text("utf-8") == "sky\nété\n"
    written = json.loads((tmp_path / "settings.json").read_text())
    assert written == {"overlays": False, "scores": False, "form": "list"}
    with output(tmp_path, writers=["labels", Names(form="list")], resume=True) as folder:
        assert "été.jpg" in folder
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
