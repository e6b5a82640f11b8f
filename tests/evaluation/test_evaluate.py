"""Evaluations against counts made pixel by pixel, and what happens when something goes wrong."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from recoseg.config import Fusion
from recoseg.errors import LabelError
from recoseg.evaluation.boundary import boundary_counts
from recoseg.evaluation.evaluate import evaluate
from recoseg.evaluation.protocols import Protocol, protocol_of
from recoseg.evaluation.report_folder import write_evaluation
from tests.segmentation.fakes import ColourEncoder

from .scenes import (
    NAMES,
    PHI,
    TEXT,
    count_slowly,
    dataset,
    renamed,
    rows,
    scene,
    segmenter,
    space,
)

NATIVE = protocol_of("native", "blocks")
SIZES = [(31, 47), (24, 36), (31, 47), (53, 19), (31, 47)]
SCENES = [scene(seed, *size) for seed, size in enumerate(SIZES)]


def matrix(scenes, label_space, made, ignored=255):
    """The confusion matrix of a segmenter: photo by photo, pixel by pixel, class by name."""
    total = 0
    for image, target in scenes:
        result = made(image)
        preds = renamed(result.labels, result.names, label_space.scored, ignored)
        total = total + count_slowly(preds, target, len(label_space.scored))
    return total


def same_scores(one, other):
    """Equal but for the time that they took."""
    ours, theirs = ({**item.to_json(), "seconds": 0} for item in (one, other))
    assert ours == theirs
    return True


class TestNumbers:
    def test_the_matrix_is_that_of_counting_pixel_by_pixel(self):
        [found] = evaluate(dataset(SCENES), NATIVE, rows())
        np.testing.assert_array_equal(found.counts, matrix(SCENES, space(), segmenter()))
        assert found.counts[:, :3].min() > 0, "every confusion occurs"
        assert (found.dataset, found.split, found.name) == ("blocks", "val", "plain")
        assert [image.name for image in found.images] == [f"town/{n}" for n in range(5)]
        for image, one in zip(found.images, SCENES, strict=True):
            counts = matrix([one], space(), segmenter())
            assert image.accuracy == pytest.approx(np.trace(counts) / counts.sum())

    def test_scores_equal_those_of_scikit_learn(self):
        metrics = pytest.importorskip("sklearn.metrics")
        [found] = evaluate(dataset(SCENES), NATIVE, rows())
        truth, preds = [], []
        for image, target in SCENES:
            result = segmenter()(image)
            labels = renamed(result.labels, result.names, NAMES)
            truth.append(target[target != 255])
            preds.append(labels[target != 255])
        truth, preds = np.concatenate(truth), np.concatenate(preds)
        np.testing.assert_array_equal(
            found.counts[:, :3], metrics.confusion_matrix(truth, preds, labels=[0, 1, 2])
        )
        assert found.scores.accuracy == pytest.approx(metrics.accuracy_score(truth, preds))
        iou = metrics.jaccard_score(truth, preds, average="macro")
        assert found.scores.miou == pytest.approx(iou)

    def test_photo_and_truth_are_prepared_before_they_are_compared(self):
        protocol = Protocol("small", "", short_side=20, crop=20, nearest=True, resize=12)
        [found] = evaluate(dataset(SCENES), protocol, rows(plain=segmenter(resize=12)))
        small = []
        for image, target in SCENES:
            short = min(image.size)
            goal = [20 if side == short else int(20 * side / short) for side in image.size]
            left, top = (round((side - 20) / 2) for side in goal)
            box = (left, top, left + 20, top + 20)
            pair = (image, Image.fromarray(target))
            photo, labels = (one.resize(goal, Image.Resampling.NEAREST).crop(box) for one in pair)
            small.append((photo, np.asarray(labels)))
        np.testing.assert_array_equal(found.counts, matrix(small, space(), segmenter(resize=12)))

    def test_the_input_is_scaled_as_the_protocol_says(self):
        phi = ColourEncoder(PHI)
        made = segmenter(phi=phi, resize=24)
        found = evaluate(
            dataset([scene(0, 31, 200)]), Protocol("fit", "", longest=40), rows(a=made)
        )
        assert phi.calls == [(1, 3, 6, 40)], "the long side counts: 24 x 155 would be too long"
        assert found[0].counts.sum() == (scene(0, 31, 200)[1] < 255).sum()

    def test_groups_are_merged_after_the_best_fine_class_is_chosen(self):
        groups = (("warm", ("red",)), ("cold", ("green", "blue", "black")))
        grouped = space(("black", "blue", "green", "red"), groups)
        made = segmenter(("red", "green", "blue", "black"))
        scenes = [scene(seed, labels=2) for seed in range(3)]
        [found] = evaluate(dataset(scenes, grouped), NATIVE, rows(bank=made))
        total, other = 0, 0
        for image, target in scenes:
            result = made(image)
            fine = np.array(result.names)[result.labels]
            total = total + count_slowly(np.where(fine == "red", 0, 1), target, 2)
            # Merging scores first is something else.
            scores = segmenter(("red", "green", "blue", "black"), keep_scores=True)(image).scores
            merged = scores[0] < scores[1:].mean(0)
            other = other + count_slowly(merged.astype(int), target, 2)
        np.testing.assert_array_equal(found.counts, total)
        assert (other != total).any()
        assert found.names == ("warm", "cold")

    @pytest.mark.parametrize(
        "options",
        [{"background_threshold": 0.45}, {"background": ["context"]}, {"background": ["green"]}],
        ids=["threshold", "context class", "class"],
    )
    def test_background(self, options):
        names = ("red", "green", "blue")
        made = segmenter(names, **options)
        plain = space(("blue", "nothing", "red", "green"), background="nothing")
        scenes = [scene(seed, labels=4) for seed in range(3)]
        [found] = evaluate(dataset(scenes, plain), NATIVE, rows(bank=made))
        total = 0
        for image, target in scenes:
            result = made(image)
            preds = renamed(result.labels, result.names, plain.scored)
            preds[preds == 255] = 1
            total = total + count_slowly(preds, target, 4)
        np.testing.assert_array_equal(found.counts, total)
        assert found.counts[:, 1].sum() > 0
        assert not found.counts[:, -1].any()
        # Where no class stands for background, such pixels are without a prediction, and wrong.
        [found] = evaluate(dataset(SCENES), NATIVE, rows(bank=made))
        np.testing.assert_array_equal(found.counts, matrix(SCENES, space(), made))
        assert found.counts[:, -1].any()

    def test_a_learnt_background_class(self):
        plain = space(("black", "blue", "red"), background="black")
        made = segmenter(("red", "black", "blue"))
        [found] = evaluate(dataset(SCENES, plain), NATIVE, rows(bank=made))
        np.testing.assert_array_equal(found.counts, matrix(SCENES, plain, made))

    def test_the_boundary_measure_is_added_up_over_photos(self):
        [found] = evaluate(dataset(SCENES), NATIVE, rows(), boundary=2)
        total = 0
        for image, target in SCENES:
            result = segmenter()(image)
            preds = torch.from_numpy(renamed(result.labels, result.names, NAMES))
            total = total + boundary_counts(preds, torch.tensor(target), 3, 2).numpy()
        np.testing.assert_array_equal(found.boundary, total)
        assert total.min() > 0

    def test_rows_together_equal_rows_one_after_the_other(self):
        phi, saliency = ColourEncoder(PHI), ColourEncoder(TEXT)
        made = {
            "product": segmenter(phi=phi, saliency=saliency),
            "visual": segmenter(phi=phi, saliency=saliency, fusion=Fusion("visual")),
            "refined": segmenter(phi=phi, saliency=saliency, refine="pamr"),
            "other bank": segmenter(("green", "red", "blue"), phi=phi, saliency=saliency),
        }
        together = evaluate(dataset(SCENES), NATIVE, made, boundary=1)
        assert [found.name for found in together] == list(made)
        assert sum(call[0] for call in phi.calls) == len(SCENES), "each photo is encoded once"
        for found in together:
            row = {found.name: made[found.name]}
            [alone] = evaluate(dataset(SCENES), NATIVE, row, boundary=1)
            assert same_scores(found, alone)
        assert len({str(found.counts.tolist()) for found in together}) == 3


def broken(*reasons):
    """Scenes of which some cannot be read; (place, part, reason)."""
    scenes = [list(one) for one in SCENES]
    for place, part, reason in reasons:
        scenes[place][part] = reason
    return scenes


class TestFailures:
    @pytest.mark.parametrize("batch_size", [1, 8])
    @pytest.mark.parametrize(
        "reasons",
        [
            [(2, 0, "truncated")],
            [(0, 0, "empty"), (1, 1, "no mask"), (4, 0, "damaged")],
        ],
        ids=["in the middle", "at both ends"],
    )
    def test_photos_that_cannot_be_read_are_named_and_left_out(self, reasons, batch_size):
        made = segmenter(batch_size=batch_size)
        [found] = evaluate(dataset(broken(*reasons)), NATIVE, rows(plain=made))
        bad = {place for place, _, _ in reasons}
        assert {(image.name, image.error) for image in found.failures} == {
            (f"town/{place}", reason) for place, _, reason in reasons
        }
        assert [image.name for image in found.images] == [f"town/{n}" for n in range(5)]
        good = [one for place, one in enumerate(SCENES) if place not in bad]
        np.testing.assert_array_equal(found.counts, matrix(good, space(), segmenter()))

    @pytest.mark.parametrize("scenes", [[], broken(*((n, n % 2, "gone") for n in range(5)))])
    def test_nothing_to_compare(self, tmp_path, scenes):
        data, [(name, row)] = dataset(scenes), rows().items()
        for name in ("confusion.png", "sheet.jpg"):
            (tmp_path / name).write_bytes(b"of an earlier evaluation")
        [found] = evaluate(data, NATIVE, {name: row})
        assert len(found.failures) == len(scenes)
        problems = write_evaluation(tmp_path, found, data, NATIVE, row)
        assert problems == ["pictures: no labelled pixel was compared"]
        assert {path.name for path in tmp_path.iterdir()} == {"evaluation.json", "report.md"}
        assert json.loads((tmp_path / "evaluation.json").read_text())["scores"] is None
        assert (tmp_path / "report.md").read_text().count("gone") == len(scenes)

    def test_a_truth_that_is_all_void_counts_nothing(self):
        image, target = SCENES[0]
        data = dataset([(image, np.full_like(target, 255)), SCENES[1]])
        [found] = evaluate(data, NATIVE, rows())
        assert (found.images[0].miou, found.images[0].error) == (None, None)
        np.testing.assert_array_equal(found.counts, matrix([SCENES[1]], space(), segmenter()))

    def test_labels_of_the_truth_that_are_no_class_are_an_error(self):
        image, target = SCENES[0]
        with pytest.raises(LabelError, match="Expected true labels from 0 to 2"):
            evaluate(dataset([(image, np.full_like(target, 7))]), NATIVE, rows())

    def test_pictures_whose_photos_are_gone_are_left_out(self, tmp_path):
        pytest.importorskip("matplotlib")
        [found] = evaluate(dataset(SCENES), NATIVE, rows())
        gone = dataset(broken(*((n, 0, "gone") for n in range(5))))
        problems = write_evaluation(tmp_path, found, gone, NATIVE, segmenter())
        assert problems == ["sheet.jpg: its photos can no longer be read"]
        assert (tmp_path / "confusion.png").is_file()

    def test_any_file_name_can_be_written(self, tmp_path):
        data = dataset(SCENES[:2])
        strange = "caf\udce9 été"  # a byte that is no UTF-8
        object.__setattr__(data.samples[0], "name", strange)
        [found] = evaluate(data, NATIVE, rows())
        write_evaluation(tmp_path, found, data, NATIVE, segmenter())
        kept = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
        assert kept["images"][0]["name"] == strange
        assert (tmp_path / "sheet.jpg").is_file()
