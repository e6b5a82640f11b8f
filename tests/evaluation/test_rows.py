import re

import numpy as np
import pytest
from PIL import Image

from recoseg.datasets.sample import Sample
from recoseg.errors import DatasetError, LabelError
from recoseg.evaluation.evaluate import evaluate, predictions, settings_of
from recoseg.evaluation.prediction_folder import PredictionFolder
from recoseg.evaluation.protocols import Protocol, protocol_of
from recoseg.photos.images import decode_image
from recoseg.photos.sources import list_sources
from recoseg.segmentation.to_folder import folder_for, segment_to_folder

from .scenes import dataset, sample, scene, segmenter, space

NATIVE = protocol_of("native", "blocks")
SQUARE = Protocol("square", "", short_side=20, crop=20)
HEIGHT, WIDTH = 31, 47
LABELS = scene(5)[1] % 5 % 3  # values 0 to 2, no void


def predict(folder, labels=None, label_space=None, protocol=NATIVE, name="town/0"):
    """What is scored of a label map, an array or an image, that stands in a folder."""
    path = folder / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(labels, bytes):
        path.write_bytes(labels)
    elif labels is not None:
        image = labels if isinstance(labels, Image.Image) else Image.fromarray(labels)
        image.save(path)
    label_space = label_space or space()
    row = PredictionFolder(folder, label_space, protocol)
    return scored({"folder": row}, protocol, label_space, sample(name, *scene(5)))


def scored(rows, protocol, label_space, one):
    """The scored labels of a sample for the only row, or why there are none."""
    [(_, _, found)] = predictions([one], protocol, rows, label_space)
    return found if isinstance(found, str) else found[0]


def palette_image(labels):
    image = Image.fromarray(labels)
    image.putpalette([(7 * i + c * 31) % 256 for i in range(256) for c in range(3)])
    return image


@pytest.mark.parametrize(
    "form",
    [
        lambda labels: labels,
        lambda labels: labels.astype(np.uint16),
        lambda labels: np.stack([labels] * 3, 2),
        palette_image,
    ],
    ids=["grey", "16 bit", "three equal channels", "palette"],
)
def test_the_values_are_the_labels_however_they_are_stored(tmp_path, form):
    found = predict(tmp_path, form(LABELS))
    np.testing.assert_array_equal(found, LABELS)
    assert found.dtype == np.int16


def test_one_bit_per_pixel(tmp_path):
    two = space(("blue", "red"))
    image = Image.fromarray((LABELS % 2 * 255).astype(np.uint8)).convert("1")
    np.testing.assert_array_equal(predict(tmp_path, image, two), LABELS % 2)


def test_255_is_background_or_no_prediction(tmp_path):
    labels = np.where(LABELS == 2, 255, LABELS).astype(np.uint8)
    np.testing.assert_array_equal(predict(tmp_path, labels), labels)
    plain = space(("blue", "nothing", "red"), background="nothing")
    expected = np.where(labels == 255, 1, labels)
    np.testing.assert_array_equal(predict(tmp_path, labels, plain), expected)


def test_predictions_are_of_the_fine_classes_where_groups_are_scored(tmp_path):
    groups = space(("oak", "cat", "moss"), (("animals", ("cat",)), ("plants", ("moss", "oak"))))
    np.testing.assert_array_equal(predict(tmp_path, LABELS, groups), np.array([1, 0, 1])[LABELS])


def test_maps_of_the_photos_own_size_and_of_the_prepared_one(tmp_path):
    prepared = SQUARE.prepare_labels(LABELS)
    assert prepared.shape == (20, 20)
    for labels in (LABELS, prepared):
        found = predict(tmp_path, np.ascontiguousarray(labels), protocol=SQUARE)
        np.testing.assert_array_equal(found, prepared)


@pytest.mark.parametrize(
    ("labels", "protocol", "reason"),
    [
        (None, NATIVE, "no prediction in"),
        (b"no picture", NATIVE, r"the prediction .*0\.png: its mask is not a PNG"),
        (LABELS.T, NATIVE, "has 31 x 47 pixels; expected 47 x 31$"),
        # The protocol would make this one 20 x 20 as well, of other pixels.
        (LABELS.T, SQUARE, "has 31 x 47 pixels; expected 47 x 31 or 20 x 20$"),
        (np.stack([LABELS, LABELS * 2, LABELS], 2), NATIVE, "convert coloured masks to class"),
    ],
    ids=["missing", "damaged", "transposed", "transposed, prepared", "coloured"],
)
def test_maps_that_cannot_be_used_are_named(tmp_path, labels, protocol, reason):
    given = labels if labels is None or isinstance(labels, bytes) else np.ascontiguousarray(labels)
    found = predict(tmp_path, given, protocol=protocol)
    assert isinstance(found, str)
    assert re.search(reason, found)


@pytest.mark.parametrize("wrong", [3, 254, 256, 65535])
def test_values_that_are_no_class_are_an_error(tmp_path, wrong):
    labels = LABELS.astype(np.uint16 if wrong > 255 else np.uint8)
    labels[4, 7] = wrong
    expected = rf"town/0\.png: expected labels from 0 to 2, or 255.*got {wrong}\. .*begin at 1\?"
    with pytest.raises(LabelError, match=expected):
        predict(tmp_path, labels)


def test_there_is_no_folder(tmp_path):
    with pytest.raises(DatasetError, match="No folder of predictions at"):
        PredictionFolder(tmp_path / "gone", space(), NATIVE)


def test_written_masks_score_as_the_segmenter_that_wrote_them(tmp_path):
    scenes = [scene(seed, 31 + seed, 47) for seed in range(4)]
    names = ("green", "blue", "red")  # the bank's own order, told by classes.txt
    data = dataset(scenes, space())
    (tmp_path / "town").mkdir()
    for number, (image, _) in enumerate(scenes):
        image.save(tmp_path / "town" / f"{number}.png")
    for background in (None, 0.45):
        made = segmenter(names, background_threshold=background)
        [source] = list_sources([tmp_path / "town"])
        folder = tmp_path / f"predictions-{background}"
        with folder_for(made, folder, writers=["labels"]) as output:
            assert not segment_to_folder(made, source.photos, output)
        assert (folder / "classes.txt").read_text() == "green\nblue\nred\n"
        written = sorted((folder / "labels").iterdir())
        (folder / "labels" / "town").mkdir()
        for path in written:
            path.rename(path.parent / "town" / path.name)
        given = PredictionFolder(folder, data.space, NATIVE)
        assert given.name == folder.name
        # Segmenters and folders may be rows of one table.
        ours, theirs = evaluate(data, NATIVE, {"bank": made, given.name: given})
        assert theirs.settings["classes"] == list(names)
        labels = PredictionFolder(folder / "labels", data.space, NATIVE)
        [same] = evaluate(data, NATIVE, {"labels": labels})
        np.testing.assert_array_equal(same.counts, ours.counts)
        np.testing.assert_array_equal(theirs.counts, ours.counts)
        assert bool(ours.counts[:, -1].any()) == (background is not None)


def test_listed_classes_have_to_be_those_of_the_label_space(tmp_path):
    (tmp_path / "classes.txt").write_text("red\ngreen\n")
    with pytest.raises(LabelError, match=r"missing: blue"):
        PredictionFolder(tmp_path, space(), NATIVE)
    (tmp_path / "classes.txt").write_text("red\n\ngreen: lime\nblue\n")
    listed = predict(tmp_path, LABELS)
    np.testing.assert_array_equal(listed, np.array([1, 2, 0])[LABELS])


def settings(made, label_space=None, **options):
    """The settings of the rows of a table; refuses rows that do not fit the label space."""
    return settings_of(dataset([], label_space or space()), NATIVE, made, **options)


class TestSegmenters:
    STREET = space(("nothing", "blue", "red"), background="nothing")

    def test_something_has_to_become_background(self):
        with pytest.raises(LabelError, match=r"class 'nothing'.*--threshold.*--background context"):
            settings({"bank": segmenter(("red", "blue"))}, self.STREET)
        for options in ({"background_threshold": 0.5}, {"background": ["context"]}):
            assert settings({"bank": segmenter(("red", "blue"), **options)}, self.STREET)

    def test_banks_of_other_classes_are_refused(self):
        with pytest.raises(LabelError, match=r"missing: green; not in the label space: white\."):
            settings({"bank": segmenter(("blue", "red", "white"))})

    def test_a_class_that_is_always_background_need_not_be_in_the_label_space(self):
        made = segmenter(("red", "white", "blue"), background=["white"])
        image, target = scene(5)
        found = scored({"bank": made}, NATIVE, self.STREET, sample("a", image, target))
        labels = made(image).labels
        assert set(np.unique(labels)) <= {0, 2, 255}
        expected = np.select([labels == 0, labels == 2], [2, 1], 0)
        np.testing.assert_array_equal(found, expected)

    def test_precision_is_among_the_settings(self):
        [row] = settings({"bank": segmenter()}, precision="bf16")
        assert row["precision"] == "bf16"

    def test_settings_tell_rows_apart(self):
        made = {
            "plain": segmenter(),
            "other bank": segmenter(("green", "red", "blue")),
            "threshold": segmenter(background_threshold=0.5),
            "refined": segmenter(refine="pamr"),
        }
        found = settings(made)
        assert len({str(row) for row in found}) == 4
        assert [row["segment"]["background_threshold"] for row in found] == [None, None, 0.5, None]
        assert found[0]["bank"] == found[2]["bank"] != found[1]["bank"]

    def test_photos_are_treated_as_by_the_segmenter(self, tmp_path):
        """A photo that is turned by its EXIF tag is turned once, as `recoseg segment` turns it."""
        image, _ = scene(3)
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(tmp_path / "turned.png", exif=exif)
        path = tmp_path / "turned.png"
        made = segmenter(resize=24)
        upright = made(path)
        assert upright.labels.shape == (image.width, image.height)
        one = Sample("turned", lambda: decode_image(path), lambda: upright.labels)
        label_space = space(made.names)
        found = scored({"bank": made}, NATIVE, label_space, one)
        np.testing.assert_array_equal(found, upright.labels)
