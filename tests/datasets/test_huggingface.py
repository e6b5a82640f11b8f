"""Data sets of Hugging Face `datasets`, in memory."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from recoseg.classes import parse_class
from recoseg.datasets import huggingface
from recoseg.datasets.dataset_table import open_dataset
from recoseg.datasets.hub import names_of, open_hub
from recoseg.datasets.huggingface import from_huggingface
from recoseg.datasets.masks import mask_code
from recoseg.datasets.spaces import label_space, space_of
from recoseg.errors import BadImageError, DatasetError, MissingExtraError
from recoseg.photos.images import decode_image

from .trees import HEIGHT, WIDTH, lines, stripes, target

hub = pytest.importorskip("datasets")

SPACE = space_of("farm", "Farm", [parse_class("sky"), parse_class("cow")])


def photo(value: int = 9) -> Image.Image:
    return Image.new("RGB", (WIDTH, HEIGHT), (value, 2, 3))


def mask(values) -> Image.Image:
    return Image.fromarray(stripes(values).astype(np.uint8))


def make(masks, photos=None, **columns):
    photos = photos or [photo(row) for row in range(len(masks))]
    features = hub.Features({"image": hub.Image(), "mask": hub.Image()})
    dataset = hub.Dataset.from_dict({"image": photos, "mask": masks}, features=features)
    return dataset.rename_columns(columns) if columns else dataset


def test_photos_and_masks():
    dataset = from_huggingface(make([mask([0, 1, 255]), mask([1])]), SPACE, name="farm", split="x")
    assert (dataset.name, dataset.split, dataset.space) == ("farm", "x", SPACE)
    assert [sample.name for sample in dataset.samples] == ["000000", "000001"]
    assert [target(sample) for sample in dataset.samples] == [[0, 1, 255], [1]]
    assert dataset.samples[1].read_image().getpixel((0, 0)) == (1, 2, 3)


def test_other_columns_and_zero_as_void():
    rows = make([mask([0, 1, 2])], mask="annotation", image="picture")
    found = from_huggingface(rows, SPACE, "picture", "annotation", zero_is_void=True)
    assert target(found.samples[0]) == [255, 0, 1]


def test_a_code_of_ones_own():
    found = from_huggingface(make([mask([7, 9])]), SPACE, code=mask_code({7: 1, 9: 0}))
    assert target(found.samples[0]) == [1, 0]


def test_masks_as_arrays():
    features = hub.Features({"image": hub.Image(), "mask": hub.Array2D((HEIGHT, WIDTH), "int32")})
    rows = {"image": [photo()], "mask": [stripes([1, 0])]}
    found = from_huggingface(hub.Dataset.from_dict(rows, features=features), SPACE)
    assert target(found.samples[0]) == [1, 0]


def test_photos_as_arrays():
    features = hub.Features(
        {"image": hub.Array3D((HEIGHT, WIDTH, 3), "uint8"), "mask": hub.Image()}
    )
    rows = {"image": [np.asarray(photo(7))], "mask": [mask([0, 1])]}
    found = from_huggingface(hub.Dataset.from_dict(rows, features=features), SPACE)
    assert target(found.samples[0]) == [0, 1]
    assert found.samples[0].read_image().getpixel((1, 1)) == (7, 2, 3)


def test_photos_are_upright():
    exif, out = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.new("RGB", (HEIGHT, WIDTH)).save(out, "JPEG", exif=exif)
    found = from_huggingface(make([mask([1])], [{"bytes": out.getvalue(), "path": None}]), SPACE)
    assert found.samples[0].read_image().size == (WIDTH, HEIGHT)
    assert target(found.samples[0]) == [1]


def test_files_on_disk(tmp_path):
    photo().save(tmp_path / "a.png")
    mask([1]).save(tmp_path / "m.png")
    rows = make([str(tmp_path / "m.png")], [str(tmp_path / "a.png")])
    found = from_huggingface(rows, SPACE)
    assert target(found.samples[0]) == [1]
    (tmp_path / "a.png").unlink()
    with pytest.raises(BadImageError, match="cannot be read: no such file"):
        found.samples[0].read_image()


def test_bad_rows():
    small = Image.new("L", (5, 3))
    found = from_huggingface(
        make([mask([2]), small, None, mask([0])], [photo()] * 3 + [None]), SPACE
    )
    for row, reason in enumerate(
        ["not labels: 2; expected 0 to 1, 255", "3 x 5 pixels", "no mask"]
    ):
        with pytest.raises(BadImageError, match=reason):
            found.samples[row].read_target()
    with pytest.raises(BadImageError, match="it has no photo"):
        found.samples[3].read_image()
    with pytest.raises(BadImageError, match="it has no photo"):
        found.samples[3].read_target()


def test_what_is_no_single_split():
    rows = make([mask([0])])
    with pytest.raises(DatasetError, match="one split of a data set; got DatasetDict"):
        from_huggingface(hub.DatasetDict({"train": rows}), SPACE)
    with pytest.raises(DatasetError, match="streaming=False"):
        from_huggingface(rows.to_iterable_dataset(), SPACE)
    with pytest.raises(DatasetError, match=r"no column label\. It has image, mask"):
        from_huggingface(rows, SPACE, mask_column="label")


def test_names_in_features():
    classes = hub.ClassLabel(names=["sky", "cow"])
    assert names_of(classes) == ["sky", "cow"]
    assert names_of(hub.Sequence(hub.Sequence(classes))) == ["sky", "cow"]
    assert names_of(hub.Image()) is None
    assert names_of(hub.Value("string")) is None


class TestHub:
    """Addresses, with `load_dataset` replaced by one that gives rows from memory."""

    @pytest.fixture
    def asked(self, monkeypatch):
        calls = []

        def load_dataset(path, name, *, split, revision):
            calls.append((path, name, split, revision))
            if split == "lost":
                raise ValueError("Unknown split 'lost'.\nShould be one of ['validation'].")
            return make([mask([0, 1, 2])], mask="annotation")

        monkeypatch.setattr(hub, "load_dataset", load_dataset)
        return calls

    def test_a_label_space_by_name(self, asked):
        address = "hf:someone/scenes?mask=annotation&space=ade150&zero=ignore&config=c&revision=r"
        found = open_dataset(address)
        assert asked == [("someone/scenes", "c", "validation", "r")]
        assert (found.name, found.split) == ("someone/scenes", "validation")
        assert found.space is label_space("ade150")
        assert target(found.samples[0]) == [255, 0, 1]

    def test_a_file_of_classes(self, asked, tmp_path):
        classes = lines(tmp_path / "classes.txt", ["sky", "cow; cattle", "barn"])
        found = open_dataset("hf:farm?mask=annotation", classes, "train")
        assert asked == [("farm", None, "train", None)]
        assert found.space.names == ("sky", "cow", "barn")
        assert target(found.samples[0]) == [0, 1, 2]
        by_address = open_dataset(f"hf:farm?mask=annotation&space={classes}")
        assert by_address.space == found.space

    def test_names_of_the_columns_feature(self, monkeypatch):
        classes = hub.Sequence(hub.Sequence(hub.ClassLabel(names=["sky", "cow"])))
        features = hub.Features({"image": hub.Image(), "mask": classes})
        rows = {"image": [photo()], "mask": [stripes([1, 0]).tolist()]}
        dataset = hub.Dataset.from_dict(rows, features=features)
        monkeypatch.setattr(hub, "load_dataset", lambda *_, **__: dataset)
        found = open_dataset("hf:farm")
        assert found.space.names == ("sky", "cow")
        assert target(found.samples[0]) == [1, 0]

    def test_errors(self, asked, tmp_path):
        with pytest.raises(
            DatasetError, match=r"names no classes\. Give a file of classes, or add"
        ):
            open_dataset("hf:farm?mask=annotation")
        with pytest.raises(DatasetError, match=r"'farm', split 'lost': Unknown split 'lost'\. Sh"):
            open_dataset("hf:farm", split="lost")
        for address in ("hf:", "hf:farm?masks=x", "hf:farm?zero=1"):
            with pytest.raises(DatasetError, match="Cannot read the address"):
                open_dataset(address)
        with pytest.raises(DatasetError, match="Lists of photos"):
            open_dataset("hf:farm", ids=tmp_path / "ids.txt")

    def test_without_the_package(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "datasets", None)
        with pytest.raises(MissingExtraError, match=r"pip install 'recoseg\[datasets\]'"):
            open_hub("farm", "validation")


def test_paths_of_strangers(tmp_path, monkeypatch):
    """Paths are opened by the rules of all photos, and may be missing."""
    rows = make([mask([1])] * 4)
    paths = ["reference://a.jpg::file:///x", "simplecache::ftp://h/a.jpg", "/dev/zero", None]
    stored = [{"image": {"bytes": None, "path": path}} for path in paths]
    monkeypatch.setattr(huggingface, "_column", lambda dataset, column: stored)
    found = from_huggingface(rows, SPACE)
    for sample, reason in zip(
        found.samples,
        ["expected a URL that begins with", "expected a URL", "not a regular file", "has no photo"],
        strict=True,
    ):
        with pytest.raises(BadImageError, match=reason):
            sample.read_image()


def test_values_that_are_no_pictures(monkeypatch):
    rows = make([mask([1])])
    for value in (None, [[1, 2], [3]], [[None, 1]], [["a"]], [[float("nan")]], [], 3, [[[1] * 9]]):
        stored = [{"image": value, "mask": value}]
        monkeypatch.setattr(huggingface, "_column", lambda *_, stored=stored: stored)
        [sample] = from_huggingface(rows, SPACE).samples
        for read in (sample.read_image, sample.read_target):
            with pytest.raises(BadImageError):
                read()


def test_rows_that_cannot_be_read(monkeypatch):
    rows = make([mask([1])])
    monkeypatch.setattr(huggingface, "_column", lambda *_: [])
    [sample] = from_huggingface(rows, SPACE).samples
    with pytest.raises(BadImageError, match="its row cannot be read: list index out of range"):
        sample.read_image()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "L"])
def test_photos_as_arrays_are_read_like_files(mode, tmp_path):
    image = Image.linear_gradient("L").resize((WIDTH, HEIGHT)).convert(mode)
    if "A" in mode:
        image.putalpha(Image.linear_gradient("L").resize((WIDTH, HEIGHT)))
    image.save(tmp_path / "a.png")
    columns = {"image": [np.asarray(image).tolist()], "mask": [stripes((0, 1)).tolist()]}
    [sample] = from_huggingface(hub.Dataset.from_dict(columns), SPACE).samples
    np.testing.assert_array_equal(sample.read_image(), decode_image(tmp_path / "a.png"))
