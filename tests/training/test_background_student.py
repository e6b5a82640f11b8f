"""A model that has learnt background as a class, from pseudo-labels to masks, scores and ONNX."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from recoseg.device import resolve_compute
from recoseg.errors import RecosegError
from recoseg.evaluation.evaluate import evaluate
from recoseg.evaluation.protocols import protocol_of
from recoseg.photos.refs import Photo
from recoseg.training.export import metadata_of
from recoseg.training.model import TrainedModel
from recoseg.training.model_segmenter import model_segmenter
from recoseg.training.pseudo_labels import PseudoLabels, pseudo_label
from recoseg.training.rounds import train_rounds
from recoseg.training.trainer import Machines, train
from recoseg.training.training_set import open_masks
from recoseg.training.verify_model import verify_model
from tests.command import run as command
from tests.evaluation.scenes import dataset, segmenter, space
from tests.training.runs import quick

CPU = resolve_compute("cpu", "fp32")
OWN = ("red", "green", "blue")
COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], np.uint8)


def blocks(seed):
    """A photo of red, green, blue and white blocks, and its labels; white is background."""
    labels = np.random.default_rng(seed).integers(0, 4, (3, 4)).astype(np.uint8)
    labels = labels.repeat(24, 0).repeat(24, 1)
    return Image.fromarray(COLOURS[labels]), labels


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """A model trained on pseudo-labels whose background is white."""
    root = tmp_path_factory.mktemp("student")
    (root / "photos").mkdir()
    for seed in range(6):
        blocks(seed)[0].save(root / f"photos/{seed}.png")
    photos = [Photo(str(root / f"photos/{seed}.png")) for seed in range(6)]
    pseudo_label(segmenter(background=["context"]), photos, root / "pseudo")
    data = open_masks(root / "pseudo")
    recipe = quick(iterations=40, lr=2e-3, seed=1)
    model = train(data, recipe, root / "run", machines=Machines("cpu"))
    return SimpleNamespace(root=root, data=data, recipe=recipe, model=model)


def build(model, **options):
    return model_segmenter(model, compute=CPU, **options)


def moved(model, place):
    """The model with its classes in another order, background at a place."""
    order = [0, 1, 2]
    order.insert(place, 3)
    network = model.info.build()
    tensors = dict(model.network.state_dict())
    for name, tensor in tensors.items():
        if name.startswith("segmentation_head"):
            tensors[name] = tensor[order]
    network.load_state_dict(tensors)
    info = model.info
    changed = replace(
        info,
        names=tuple(info.names[label] for label in order),
        palette=tuple(info.palette[label] for label in order),
        background=place,
    )
    return TrainedModel(network.eval(), changed)


def test_the_model_knows_its_background(student):
    info = student.model.info
    assert (info.names, info.background) == ((*OWN, "background"), 3)
    loaded = TrainedModel.load(student.root / "run")
    assert loaded.info == info
    assert loaded.fingerprint == student.model.fingerprint
    assert TrainedModel(loaded.network, replace(info, background=None)).fingerprint != (
        loaded.fingerprint
    )
    assert verify_model(student.root / "run").problems == ()
    assert (student.root / "run/classes.txt").read_text() == "red\ngreen\nblue\nbackground\n"


@pytest.mark.parametrize("change", [{"background": 4}, {"background": -1}])
def test_a_background_that_is_no_class_is_refused(student, change):
    with pytest.raises(RecosegError, match="background to be one of the classes"):
        replace(student.model.info, **change)
    with pytest.raises(RecosegError, match="a class beside background"):
        replace(student.model.info, names=("x",), palette=((0, 0, 0),), background=0)


def test_models_without_background_are_described_as_before(run):
    assert "background" not in run.model.info.to_json()
    assert "background" not in build(run.model).identity["model"]


@pytest.mark.parametrize("place", [3, 0, 1])
def test_background_wins_where_its_score_is_best(student, place):
    """Masks do not depend on the order of the model's classes."""
    image, _ = blocks(9)
    plain = replace(student.model.info, background=None)
    four = build(TrainedModel(student.model.network, plain), keep_scores=True)(image)
    found = build(moved(student.model, place), keep_scores=True)(image)
    assert found.names == OWN
    assert found.palette == student.data.palette[:3]
    np.testing.assert_array_equal(found.labels, np.where(four.labels == 3, 255, four.labels))
    np.testing.assert_array_equal(found.scores, four.scores[:3])
    assert 0 < (found.labels == 255).mean() < 1
    refined = build(moved(student.model, place), refine="pamr")(image).labels
    others = build(TrainedModel(student.model.network, plain), refine="pamr")(image).labels
    np.testing.assert_array_equal(refined, np.where(others == 3, 255, others))


def test_it_leaves_background_alone(student):
    image, labels = blocks(0)
    found = build(student.model)(image)
    assert (np.where(labels == 3, 255, labels) == found.labels).mean() > 0.6
    white = build(student.model)(Image.new("RGB", (96, 72), "white"))
    assert (white.labels == 255).mean() > 0.9
    assert white.masks() == {} or max(white.areas().values()) < 0.1
    legend = white.overlay(legend=False).resize((96, 72))
    assert np.asarray(legend)[white.labels == 255].mean() > 250  # the photo itself
    less = build(student.model, background=["red"])(image).labels
    np.testing.assert_array_equal(less == 255, (found.labels == 255) | (found.labels == 0))


def test_scores_on_data_sets_with_and_without_background(student):
    scenes = [blocks(seed) for seed in (10, 11)]
    predicted = [build(student.model)(image).labels for image, _ in scenes]
    truth = [labels for _, labels in scenes]
    without = [(image, np.where(labels == 3, 255, labels)) for image, labels in scenes]
    for label_space, data, void in (
        (space((*OWN, "nothing"), background="nothing"), scenes, 3),
        (space(OWN), without, 255),
    ):
        [found] = evaluate(
            dataset(data, label_space),
            protocol_of("native", "blocks"),
            {"model": build(student.model)},
        )
        classes = len(label_space.names)
        expected = np.zeros((classes, classes + 1), np.int64)
        for labels, preds in zip(truth, predicted, strict=True):
            for wanted, got in zip(labels.ravel(), preds.ravel(), strict=True):
                if wanted < classes:
                    got = void if got == 255 else got
                    expected[wanted, min(got, classes)] += 1
        np.testing.assert_array_equal(found.counts, expected)


def test_commands(student, tmp_path):
    """Segment, inspect, verify and scores of pseudo-labels as predictions."""
    root = student.root
    done = command("segment", root / "run", root / "photos", "--out", tmp_path / "masks")
    assert done.code == 0, done.err
    assert (tmp_path / "masks/classes.txt").read_text() == "red\ngreen\nblue\n"
    assert json.loads((tmp_path / "masks/settings.json").read_text())["background"] == [
        "background"
    ]
    (tmp_path / "set/masks").mkdir(parents=True)
    (tmp_path / "set/images").symlink_to(root / "photos")
    (tmp_path / "set/classes.txt").write_text("red\ngreen\nblue\n")
    for seed in range(6):
        labels = blocks(seed)[1]
        Image.fromarray(np.where(labels == 3, 255, labels).astype(np.uint8)).save(
            tmp_path / f"set/masks/{seed}.png"
        )
    done = command(
        *("evaluate", "--predictions", root / "pseudo", "--dataset", "folder"),
        *("--root", tmp_path / "set"),
    )
    assert done.code == 0, done.err
    assert "mIoU" in done.out
    done = command("verify", root / "run", root / "pseudo")
    assert done.code == 0, done.err
    for path in (root / "run", root / "run/model.safetensors"):
        done = command("inspect", path)
        assert done.code == 0, done.err
        assert "background (background)" in done.out
        assert "efficientnet" in done.out
    done = command("inspect", root / "run", "--json")
    fields = json.loads(done.out)
    assert (fields["names"][3], fields["background"]) == ("background", 3)
    done = command(
        *("pseudo-label", root / "run", root / "photos", "--out", tmp_path / "again"),
        *("--ignore-background", "--confidence"),
    )
    assert done.code == 0, done.err
    assert PseudoLabels.read(tmp_path / "again").names == OWN


def test_rounds_keep_background_and_resume(student, tmp_path):
    recipe = quick(iterations=4, confidence=True)
    machines = Machines("cpu")
    model = train_rounds(student.data, recipe, tmp_path / "out", rounds=2, machines=machines)
    assert (model.info.names, model.info.background) == ((*OWN, "background"), 3)
    second = PseudoLabels.read(tmp_path / "out/round-2/pseudo")
    assert (second.names, second.background_label) == ((*OWN, "background"), 3)
    again = train_rounds(
        student.data, recipe, tmp_path / "out", rounds=2, machines=machines, resume=True
    )
    assert again.fingerprint == model.fingerprint


def test_onnx_names_background(student):
    metadata = metadata_of(student.model)
    assert json.loads(metadata["recoseg.classes"]) == [*OWN, "background"]
    assert json.loads(metadata["recoseg.background"]) == 3
