import io
import json
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from recoseg.errors import FileError, MissingFileError
from recoseg.photos.refs import Photo
from recoseg.regions import files as module
from recoseg.regions.files import FileRegions, read_regions
from recoseg.regions.masks import paint, relabel
from recoseg.regions.protocol import StoredRegions

from .test_rle import lengths_of, text_of

HW = (6, 8)
PIXELS = torch.zeros(3, *HW, dtype=torch.uint8)


def masks(count=3):
    torch.manual_seed(0)
    return torch.rand(count, *HW) < torch.tensor([0.9, 0.5, 0.2])[:count, None, None]


def runs(mask, *, compressed=False):
    counts = lengths_of(mask.numpy())
    return {"size": list(HW), "counts": text_of(counts) if compressed else counts}


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def regions_of(folder, name="photos/dog.jpg", pixels=PIXELS):
    return FileRegions(folder).regions(Photo(name), pixels)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda entries: entries,
        lambda entries: {"masks": entries},
        lambda entries: {"image": {}, "annotations": [{"segmentation": e} for e in entries]},
    ],
)
def test_run_lengths(folder, wrap, compressed):
    entries = [runs(mask, compressed=compressed) for mask in masks()]
    (folder / "dog.json").write_text(json.dumps(wrap(entries)))
    assert torch.equal(regions_of(folder), paint(masks()))


def coco(**changes):
    """One file for several photos, in COCO's form."""
    annotations = [
        {"image_id": 7, "segmentation": runs(mask, compressed=True), "category_id": 1}
        for mask in masks()
    ]
    annotations.insert(1, {"image_id": 8, "segmentation": runs(torch.ones(HW))})
    images = [{"id": 7, "file_name": "train/dog.jpg"}, {"id": 8, "file_name": "cat.jpg"}]
    return json.dumps({"images": images, "annotations": annotations} | changes)


def test_one_file_for_many_photos(folder):
    (folder / "all.json").write_text(coco())
    assert torch.equal(regions_of(folder / "all.json"), paint(masks()))
    assert torch.equal(regions_of(folder / "all.json", "cat.jpg"), torch.ones(HW).int())
    with pytest.raises(MissingFileError, match=r"No masks of cow\.jpg were found in .*`file_name`"):
        regions_of(folder / "all.json", "cow.jpg")


@pytest.mark.parametrize(
    "changes",
    [
        {"images": None},
        {"annotations": 3},
        {"images": [{"id": 7}]},
        {"images": []},
        {"images": [{"id": [], "file_name": "dog.jpg"}]},
        {"annotations": [{"segmentation": {}}]},
    ],
)
def test_a_wrong_file_for_many_photos_is_told(folder, changes):
    (folder / "all.json").write_text(coco(**changes))
    with pytest.raises(FileError, match=r"all\.json is not in COCO's form"):
        regions_of(folder / "all.json")


def test_wrong_masks_of_a_file_for_many_photos_are_told(folder):
    text = coco(annotations=[{"image_id": 7, "segmentation": [[1, 2, 3, 4]]}])
    (folder / "all.json").write_text(text)
    with pytest.raises(FileError, match=r"all\.json: .*Convert polygons"):
        regions_of(folder / "all.json")


@pytest.mark.parametrize("mode", ["8", "16", "palette"])
def test_label_pngs(folder, mode):
    torch.manual_seed(0)
    labels = torch.randint(0, 5, HW) * (700 if mode == "16" else 40)
    image = Image.fromarray(labels.numpy().astype(np.uint16 if mode == "16" else np.uint8))
    if mode == "palette":
        image = image.convert("P")
        image = Image.frombytes("P", image.size, labels.numpy().astype(np.uint8).tobytes())
        image.putpalette([n for n in range(256) for _ in range(3)])
    image.save(folder / "dog.png")
    assert torch.equal(regions_of(folder), relabel(labels))


def test_masks_and_labels_of_npz(folder):
    np.savez_compressed(folder / "dog.npz", masks=masks().numpy())
    assert torch.equal(regions_of(folder), paint(masks()))
    labels = np.asfortranarray(paint(masks()).numpy().astype(np.uint8) * 9)
    np.savez(folder / "dog.npz", labels=labels)
    assert torch.equal(regions_of(folder), paint(masks()))


def test_names_with_the_photo_s_suffix_come_first(folder):
    Image.fromarray(np.full(HW, 3, np.uint8)).save(folder / "dog.png")
    assert regions_of(folder).max() == 1
    labels = np.arange(48, dtype=np.uint8).reshape(HW)
    Image.fromarray(labels).save(folder / "dog.jpg.png")
    assert regions_of(folder).max() == 47
    assert regions_of(folder, "a.tar::b/dog.jpg").max() == 47
    assert regions_of(folder, "https://example.org/dog.jpg").max() == 47


@pytest.mark.parametrize("name", ["cat.jpg", "", "a/.."])
def test_missing_masks_are_told(folder, name):
    with pytest.raises(FileError, match=r"No masks of|leaves the folder"):
        regions_of(folder, name)
    with pytest.raises(MissingFileError, match="No folder or file of masks"):
        FileRegions(folder / "none")


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.ones(HW, np.uint8)).save(tmp_path / "dog.png")
    (tmp_path / "masks" / "dog.png").symlink_to(tmp_path / "dog.png")
    with pytest.raises(FileError, match="leaves the folder"):
        regions_of(tmp_path / "masks")


def test_another_size_is_told(folder):
    np.savez(folder / "dog.npz", masks=masks().numpy())
    with pytest.raises(FileError, match=r"6 x 8 pixels; .*the photo, 6 x 9"):
        regions_of(folder, pixels=torch.zeros(3, 6, 9, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[", "not JSON"),
        ("[]", "list of masks"),
        ("{}", "list of masks"),
        ('{"masks": 3}', "list of masks"),
        ("[3]", "Expected masks as"),
        ('[{"size": [6, 8]}]', "Expected masks as"),
        ('[{"size": [6, -8], "counts": [48]}]', "Expected masks as"),
        ('[{"size": [true, 48], "counts": [48]}]', "Expected masks as"),
        ('[{"segmentation": [[1, 2, 3, 4]]}]', "Convert polygons"),
        ('[{"size": [6, 8], "counts": [47]}]', "add up to 6 x 8"),
        ('[{"size": [6, 8], "counts": [48]}, {"size": [8, 6], "counts": [48]}]', "one size"),
        ('[{"size": [99999, 99999], "counts": [9999800001]}]', "has more than"),
    ],
)
def test_wrong_json_is_told(folder, text, message):
    (folder / "dog.json").write_text(text)
    with pytest.raises(FileError, match=message) as error:
        regions_of(folder)
    assert "dog.json" in str(error.value)


def test_masks_that_would_fill_the_memory_are_refused(folder, monkeypatch):
    monkeypatch.setattr(module, "MAX_ARRAY", 100)
    np.savez(folder / "cat.npz", masks=masks().numpy())
    with pytest.raises(FileError, match="at most 100 bytes"):
        regions_of(folder, "cat.jpg")
    monkeypatch.setattr(module, "MAX_ARRAY", 1000)
    monkeypatch.setattr(module, "MAX_MASKS", 2)
    (folder / "dog.json").write_text(json.dumps([runs(mask) for mask in masks()]))
    for name in ("dog.jpg", "cat.jpg"):
        with pytest.raises(FileError, match="at most 2 masks"):
            regions_of(folder, name)
    monkeypatch.setattr(module, "MAX_PIXELS", 40)
    (folder / "dog.json").write_text(json.dumps([runs(masks()[0])]))
    with pytest.raises(FileError, match="more than 40 pixels"):
        regions_of(folder)


def forged(shape, data=b"", dtype="|b1", name="masks.npy"):
    """An npz whose header promises more than the file holds."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            head, {"descr": dtype, "fortran_order": False, "shape": shape}
        )
        archive.writestr(name, head.getvalue() + data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04 and nothing",
        forged((1 << 40, 6, 8)),
        forged((3, 6, 8), b"\x01" * 7),
        forged((6, 8), b"\x01" * 48),
        forged((3, 6, 8), b"\x01" * 144, "|u1"),
        forged((3, 6, 8), b"\x00" * 8 * 144, "<f8"),
        forged((3,), b"", "|O"),
        forged((6, 8), b"\xff" * 48, "|i1", "labels.npy"),
        forged((6, 8), b"\x00" * 48, name="other.npy"),
    ],
)
def test_wrong_npz_is_told(folder, data):
    (folder / "dog.npz").write_bytes(data)
    with pytest.raises(FileError, match=r"dog\.npz"):
        regions_of(folder)


def test_a_pickle_is_never_opened(folder):
    np.savez(folder / "dog.npz", masks=np.array([{"an": "object"}]), allow_pickle=True)
    with pytest.raises(FileError, match="whole numbers or bool"):
        regions_of(folder)


def test_wrong_pngs_are_told(folder):
    Image.new("RGB", HW[::-1]).save(folder / "dog.png")
    with pytest.raises(FileError, match="mode RGB"):
        regions_of(folder)
    whole = (folder / "dog.png").read_bytes()
    (folder / "dog.png").write_bytes(whole[:50])
    with pytest.raises(FileError, match=r"dog\.png"):
        regions_of(folder)
    Image.new("L", HW[::-1]).save(folder / "dog.png", "JPEG")
    with pytest.raises(FileError, match="damaged"):
        regions_of(folder)
    with pytest.raises(FileError, match="is none of"):
        read_regions(folder / "dog.gif")


def test_the_stamp_follows_the_file_of_the_photo(folder):
    provider = FileRegions(folder)
    assert isinstance(provider, StoredRegions)
    dog, cat = Photo("photos/dog.jpg"), Photo("shard.tar::photos/cat.jpg")
    assert provider.stamp(dog) == provider.stamp(cat) == "-"
    (folder / "dog.json").write_text("[1]")
    (folder / "cat.png").write_bytes(b"1")
    stamps = provider.stamp(dog), provider.stamp(cat)
    assert len({"-", *stamps}) == 3
    (folder / "dog.json").write_text("[12]")
    assert provider.stamp(dog) != stamps[0]
    assert provider.stamp(cat) == stamps[1]
    (folder / "dog.jpg.json").write_text("[12]")  # which comes first
    assert provider.stamp(dog).startswith("dog.jpg.json ")


def test_the_stamp_of_one_file_for_many_photos(folder):
    (folder / "all.json").write_text(coco())
    provider = FileRegions(folder / "all.json")
    before = provider.stamp(Photo("dog.jpg"))
    assert before != "-"
    (folder / "all.json").write_text(coco(info={}))
    assert provider.stamp(Photo("dog.jpg")) != before
