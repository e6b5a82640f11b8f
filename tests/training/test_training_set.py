"""What cannot be trained on is named before training starts."""

import numpy as np
import pytest
from PIL import Image

from recoseg.datasets.dataset_table import open_dataset
from recoseg.errors import DatasetError
from recoseg.photos.sources import list_sources
from recoseg.training.confidence import Ignoring
from recoseg.training.pseudo_labels import pseudo_label
from recoseg.training.training_set import of_dataset, open_masks, readable
from tests.evaluation.scenes import scene, segmenter
from tests.training.runs import NAMES, write_pairs


def test_bad_pairs_are_left_out_with_their_reason(tmp_path):
    data = write_pairs(tmp_path)
    (tmp_path / "images/0.png").write_bytes(b"no photo")
    (tmp_path / "masks/1.png").write_bytes(b"no mask")
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "masks/2.png")
    Image.fromarray(np.full((72, 96), 3, np.uint8)).save(tmp_path / "masks/3.png")
    Image.fromarray(np.full((72, 96), 255, np.uint8)).save(tmp_path / "masks/4.png")
    kept, failures = readable(data)
    assert [photo.name for photo in kept.photos] == ["5"]
    assert failures["0"] == "not an image of a known format"
    assert "not a PNG" in failures["1"]
    assert "9 x 9 pixels" in failures["2"]
    assert "are not labels: 3; expected 0 to 2, 255" in failures["3"]
    assert failures["4"] == "no pixel of its mask has a label"
    assert kept.fingerprint != data.fingerprint
    (tmp_path / "masks/5.png").unlink()
    with pytest.raises(DatasetError, match="None of 1 photo can be trained on"):
        readable(kept)


def test_folders_that_do_not_fit(tmp_path):
    write_pairs(tmp_path)
    (tmp_path / "empty").mkdir()
    images, masks = tmp_path / "images", tmp_path / "masks"
    with pytest.raises(DatasetError, match="no photo in"):
        open_masks(masks, tmp_path / "empty")
    with pytest.raises(DatasetError, match="None of 6 photos"):
        open_masks(tmp_path / "empty", images)
    with pytest.raises(
        DatasetError, match=r"No pseudo-labels were found .* give their photos, too: --images"
    ):
        open_masks(masks)
    (tmp_path / "classes.txt").unlink()
    with pytest.raises(DatasetError, match=r"No file classes.txt"):
        open_masks(masks, images)


def test_a_data_set_by_name(tmp_path):
    write_pairs(tmp_path)
    data = of_dataset(open_dataset("folder", tmp_path))
    assert data.names == NAMES
    image, labels, levels = data.photos[0].read()
    assert (image.height, image.width) == labels.shape == levels.shape
    assert (levels == 255).all()
    kept, failures = readable(data)
    assert (kept.photos, failures) == (data.photos, {})


@pytest.mark.parametrize("moved", [False, True])
def test_pseudo_labels_with_confidence(tmp_path, moved):
    (tmp_path / "photos").mkdir()
    for seed in range(3):
        scene(seed)[0].save(tmp_path / f"photos/{seed}.png")
    [source] = list_sources([tmp_path / "photos"])
    out = tmp_path / "pseudo"
    teacher = segmenter(keep_scores=True)
    pseudo_label(teacher, source.photos, out, ignoring=Ignoring(quantile=0.2))
    if moved:
        (tmp_path / "photos").rename(tmp_path / "elsewhere")
    data = open_masks(out / "labels", tmp_path / "elsewhere" if moved else None)
    assert (data.names, data.palette) == (teacher.names, teacher.palette)
    assert data.provenance["pseudo"]["ignoring"] == {"threshold": None, "quantile": 0.2}
    for photo, listed in zip(data.photos, source.photos, strict=True):
        _, labels, levels = photo.read()
        name = listed.path.rsplit("/", 1)[-1]
        np.testing.assert_array_equal(labels, np.asarray(Image.open(out / "labels" / name)))
        np.testing.assert_array_equal(
            levels, np.asarray(Image.open(out / "teacher/confidence" / name))
        )
    (out / "teacher/confidence/0.png").unlink()
    _, failures = readable(data)
    assert "No file was found" in failures["0"]
    assert "confidence/0.png" in failures["0"]
    (tmp_path / "other").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "other/9.png")
    with pytest.raises(DatasetError, match=r"No photo in .*other for 3 of 3 photos: .*0\.png, "):
        open_masks(out, tmp_path / "other")
