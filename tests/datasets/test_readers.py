"""The readers on generated folders: order, names, labels value by value, and errors."""

import logging
import os
import pickle
import re
from functools import partial

import pytest

from recoseg.datasets.coco import value_of_label
from recoseg.datasets.dataset_table import TABLE, dataset_row, open_dataset
from recoseg.datasets.folders import FOLDER
from recoseg.datasets.spaces import SPACES, label_space
from recoseg.errors import BadImageError, DatasetError, OptionError, RecosegError, UnknownNameError

from . import trees
from .trees import lines, mask, photo, target


def names(dataset):
    return [sample.name for sample in dataset.samples]


def test_the_table_holds_every_label_space_that_is_read():
    fixed = [row.name for row in TABLE if row.fixed]
    others = ("_published", "_community")  # other groups or words of the same data sets
    assert fixed == [name for name in SPACES if not name.endswith(others)]


def test_unknown_names_and_missing_roots(tmp_path):
    with pytest.raises(UnknownNameError, match=r"Unknown data set 'pets'.*folder, hf:OWNER/NAME"):
        dataset_row("pets")
    with pytest.raises(OptionError, match="'voc20' needs its folder"):
        open_dataset("voc20")


@pytest.mark.parametrize("name", [row.name for row in TABLE])
def test_a_missing_layout_is_explained(tmp_path, name):
    (tmp_path / "something").mkdir()
    with pytest.raises(DatasetError) as caught:
        open_dataset(name, tmp_path)
    text = str(caught.value)
    assert text.startswith(f"{dataset_row(name).layout.title}: no folder ")
    assert f"Found in {tmp_path}: something/." in text
    assert all(f"  {line}\n" in text for line in dataset_row(name).layout.tree)
    assert text.endswith(dataset_row(name).layout.advice)
    with pytest.raises(DatasetError, match=re.escape(f"No folder was found at {tmp_path / 'no'}.")):
        open_dataset(name, tmp_path / "no")


def test_cityscapes27_takes_seven_off(tmp_path):
    trees.write_cityscapes(tmp_path, [0, 6, 7, 9, 21, 33, 34, 255])
    dataset = open_dataset("cityscapes27", tmp_path)
    assert (dataset.name, dataset.split, len(dataset)) == ("cityscapes27", "val", 2)
    assert dataset.space is label_space("cityscapes27")
    assert names(dataset) == ["frankfurt/frankfurt_000000_000294", "munster/munster_000001_000019"]
    assert target(dataset.samples[0]) == [255, 0, 2, 14, 26, 255]


def test_cityscapes19_has_train_ids(tmp_path):
    trees.write_cityscapes(tmp_path, [7, 9, 11, 17, 18, 19, 28, 29, 31, 33, 0], split="train")
    dataset = open_dataset("cityscapes19", tmp_path, "train")
    assert dataset.split == "train"
    assert target(dataset.samples[1]) == [0, 255, 2, 5, 255, 6, 15, 255, 16, 18, 255]


def test_cityscapes_without_one_mask(tmp_path):
    trees.write_cityscapes(tmp_path, [7])
    (tmp_path / "gtFine/val/munster/munster_000001_000019_gtFine_labelIds.png").unlink()
    with pytest.raises(DatasetError, match=r"1 of 2 have no mask: munster/munster_000001_000019\."):
        open_dataset("cityscapes19", tmp_path)


@pytest.mark.parametrize("photos", ["training/image_02", "images/val", "val"])
def test_kitti_step_takes_the_red_channel(tmp_path, photos):
    trees.write_kitti_step(tmp_path, [0, 11, 18, 255], photos)
    photo(tmp_path / photos / "0000/000000.png")  # of another split, where all lie together
    dataset = open_dataset("kitti_step19", tmp_path)
    assert names(dataset) == ["0002/000000", "0002/000001", "0018/000000"]
    assert target(dataset.samples[2]) == [0, 11, 18, 255]


def test_kitti_step_names_wrong_values_and_missing_photos(tmp_path):
    trees.write_kitti_step(tmp_path, [0, 19])
    dataset = open_dataset("kitti_step19", tmp_path)
    with pytest.raises(BadImageError, match="not labels: 19; expected 0 to 18, 255"):
        dataset.samples[0].read_target()
    (tmp_path / "training/image_02/0018/000000.png").unlink()
    with pytest.raises(DatasetError, match=r"1 of 3 have no photo: 0018/000000\."):
        open_dataset("kitti_step19", tmp_path)


@pytest.mark.parametrize("masks", ["stuffthingmaps", "annotations"])
def test_cocostuff171_skips_the_removed_categories(tmp_path, masks):
    trees.write_coco(tmp_path, [0, 10, 11, 12, 71, 89, 90, 91, 181, 255], masks)
    dataset = open_dataset("cocostuff171", tmp_path)
    assert names(dataset) == ["000000000139", "000000000285", "000000000632"]
    assert target(dataset.samples[0]) == [0, 10, 255, 11, 62, 79, 255, 80, 170, 255]
    assert dataset.space.names[62] == "tv"


def test_cocostuff171_reads_converted_masks(tmp_path):
    trees.write_coco(tmp_path, [0, 11, 170, 255], "annotations", "_labelTrainIds")
    dataset = open_dataset("cocostuff171", tmp_path, "val2017")
    assert target(dataset.samples[0]) == [0, 11, 170, 255]
    trees.write_coco(tmp_path, [0, 12, 181, 255], "annotations")  # beside them: the same labels
    assert target(open_dataset("cocostuff171", tmp_path).samples[0]) == [0, 11, 170, 255]
    trees.write_coco(tmp_path, [182])
    with pytest.raises(BadImageError, match="not labels: 182; expected 0 to 181, 255"):
        open_dataset("cocostuff171", tmp_path).samples[0].read_target()


def test_cocostuff_values_are_category_ids_less_one():
    values = value_of_label()
    assert len(values) == 171
    assert values[label_space("cocostuff171").names.index("banner")] == 91
    assert values[label_space("cocostuff171").names.index("stop sign")] == 12
    assert values[label_space("cocostuff171").names.index("toothbrush")] == 89


def test_cocostuff27_merges_171_into_27(tmp_path, caplog):
    # person, bicycle, stop sign, tv, book, banner, wood, unlabelled
    trees.write_coco(tmp_path, [0, 1, 12, 71, 83, 91, 181, 255])
    with caplog.at_level(logging.WARNING):
        dataset = open_dataset("cocostuff27", tmp_path)
    assert "all photos of val2017 are taken, not the 2,175" in caplog.text
    assert len(dataset) == 3
    labels = target(dataset.samples[0])
    assert labels == [9, 11, 8, 0, 4, 17, 24, 255]
    assert [dataset.space.scored[label] for label in labels[:3]] == ["person", "vehicle", "outdoor"]


def test_cocostuff27_takes_the_curated_list_in_its_order(tmp_path, caplog):
    trees.write_coco(tmp_path, [0])
    folder = tmp_path / "curated/val2017"
    lines(folder / "mine.txt", ["000000000285"])
    assert names(open_dataset("cocostuff27", tmp_path)) == ["000000000285"]
    lines(folder / "other.txt", ["000000000139"])
    with pytest.raises(
        DatasetError, match=r"2 lists in .*, none named Coco164kFull_Stuff_Coarse_7"
    ):
        open_dataset("cocostuff27", tmp_path)
    lines(folder / "Coco164kFull_Stuff_Coarse_7.txt", ["000000000632", "000000000139"])
    assert names(open_dataset("cocostuff27", tmp_path)) == ["000000000632", "000000000139"]
    assert not caplog.text
    ids = lines(tmp_path / "ids.txt", ["# chosen", "", "000000000285.jpg", "000000000285"])
    assert names(open_dataset("cocostuff27", tmp_path, ids=ids)) == ["000000000285"]


def test_lists_of_photos_are_checked(tmp_path):
    trees.write_cityscapes(tmp_path, [7])
    ids = lines(tmp_path / "ids.txt", ["munster_000001_000019", "frankfurt/x", "y"])
    with pytest.raises(
        DatasetError, match=r"2 of 3 names in .*ids.txt are not names of photos: frankf"
    ):
        open_dataset("cityscapes27", tmp_path, ids=ids)
    lines(ids, ["munster_000001_000019"])
    found = open_dataset("cityscapes27", tmp_path, ids=ids)
    assert names(found) == ["munster/munster_000001_000019"]
    lines(ids, ["# nothing"])
    with pytest.raises(DatasetError, match=r"the list .* is empty"):
        open_dataset("cityscapes27", tmp_path, ids=ids)


def test_coco_object_from_both_kinds_of_masks(tmp_path):
    # person, stop sign, toothbrush, banner, removed category, unlabelled
    trees.write_coco(tmp_path / "raw", [0, 12, 89, 91, 255, 0])
    expected = [1, 12, 80, 0, 1]
    dataset = open_dataset("coco_object", tmp_path / "raw")
    assert target(dataset.samples[0]) == expected
    assert [dataset.space.names[label] for label in (12, 80)] == ["stop sign", "toothbrush"]
    trees.write_coco(tmp_path / "own", [1, 12, 80, 0, 0, 1], "annotations", "_instanceTrainIds")
    assert target(open_dataset("coco_object", tmp_path / "own").samples[0]) == expected


@pytest.mark.parametrize("below", ["", "VOC2012", "VOCdevkit/VOC2012"])
def test_voc_borders_and_background(tmp_path, below):
    root = tmp_path / below
    trees.write_pascal(root, [0, 255, 1, 20], "SegmentationClass", "Segmentation")
    with_background, without = open_dataset("voc21", tmp_path), open_dataset("voc20", tmp_path)
    assert names(with_background) == names(without) == ["2007_000042", "2007_000033"]
    assert target(with_background.samples[0]) == [0, 255, 1, 20]
    assert target(without.samples[0]) == [255, 0, 19]


def test_voc_lists(tmp_path):
    trees.write_pascal(tmp_path, [21], "SegmentationClass", "Segmentation")
    with pytest.raises(DatasetError, match=r"no list of photos .*Segmentation/train\.txt"):
        open_dataset("voc21", tmp_path, "train")
    with pytest.raises(BadImageError, match="not labels: 21; expected 0 to 20, 255"):
        open_dataset("voc21", tmp_path).samples[0].read_target()
    lines(tmp_path / "ImageSets/Segmentation/val.txt", ["2007_000061"])
    with pytest.raises(DatasetError, match=r"1 of 1 have no mask: 2007_000061\."):
        open_dataset("voc20", tmp_path)


@pytest.mark.parametrize("below", ["", "VOCdevkit/VOC2010"])
def test_context_background(tmp_path, below):
    root = tmp_path / below
    trees.write_pascal(root, [0, 1, 59], "SegmentationClassContext", "SegmentationContext")
    assert target(open_dataset("context60", tmp_path).samples[0]) == [0, 1, 59]
    assert target(open_dataset("context59", tmp_path).samples[0]) == [255, 0, 58]


@pytest.mark.parametrize("below", ["", "ADEChallengeData2016"])
def test_ade_reduces_the_zero_label(tmp_path, below):
    trees.write_ade(tmp_path / below, [0, 1, 150])
    dataset = open_dataset("ade150", tmp_path)
    assert names(dataset) == ["ADE_val_00000001", "ADE_val_00000002"]
    assert target(dataset.samples[0]) == [255, 0, 149]


def test_folder_with_classes(tmp_path):
    root = tmp_path / "farm"
    trees.write_folder(root, [0, 2, 255], names=("a", "deep/b"))
    mask(root / "masks/no_photo.png", [0])
    dataset = open_dataset("folder", root)
    assert (dataset.name, dataset.split) == ("farm", "all")
    assert dataset.space.names == ("sky", "tree", "cow")
    assert dataset.space.classes[1].prompts == ("tree", "forest")
    assert names(dataset) == ["a", "deep/b"]
    assert target(dataset.samples[1]) == [0, 2, 255]


def test_folder_with_splits_and_mmseg(tmp_path):
    trees.write_folder(tmp_path, [1], images="images/test", masks="masks/test")
    assert target(open_dataset("folder", tmp_path, "test").samples[0]) == [1]
    trees.write_folder(tmp_path, [2], images="img_dir/val", masks="ann_dir/val")
    assert target(open_dataset("mmseg", tmp_path).samples[0]) == [2]
    assert open_dataset("mmseg", tmp_path).split == "val"


def test_folder_errors(tmp_path):
    trees.write_folder(tmp_path, [3])
    with pytest.raises(BadImageError, match="not labels: 3; expected 0 to 2, 255"):
        open_dataset("folder", tmp_path).samples[0].read_target()
    photo(tmp_path / "images/a.png")
    with pytest.raises(DatasetError, match=r"a\.JPG and a\.png would have the same name"):
        open_dataset("folder", tmp_path)
    (tmp_path / "images/a.png").rename(tmp_path / "images/.hidden.png")
    photo(tmp_path / "images/c.png", height=5)
    with pytest.raises(DatasetError, match=r"1 of 3 have no mask: c\."):
        open_dataset("folder", tmp_path)
    mask(tmp_path / "masks/c.png", [0])
    with pytest.raises(BadImageError, match=r"its mask is 37 x 53 pixels .*, the photo 5 x 53"):
        open_dataset("folder", tmp_path).samples[2].read_target()
    (tmp_path / "classes.txt").unlink()
    with pytest.raises(DatasetError, match=r"no file classes\.txt"):
        open_dataset("folder", tmp_path)


def test_folders_without_photos(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(DatasetError, match=r"no photo in .*images\."):
        open_dataset("folder", tmp_path)
    photo(tmp_path / "images/a.png")
    with pytest.raises(DatasetError, match=r"no photo in .*images that is not excluded by \*a\*"):
        open_dataset("folder", tmp_path, exclude="*a*")


def test_linked_folders_are_followed(tmp_path):
    trees.write_kitti_step(tmp_path / "store", [4], "elsewhere")
    root = tmp_path / "root"
    (root / "training/image_02").mkdir(parents=True)
    (root / "panoptic_maps").symlink_to(tmp_path / "store/panoptic_maps")
    for sequence in ("0002", "0018"):
        link = root / "training/image_02" / sequence
        link.symlink_to(tmp_path / "store/elsewhere" / sequence)
    assert target(open_dataset("kitti_step19", root).samples[0]) == [4]


def test_samples_go_to_other_processes(tmp_path):
    trees.write_ade(tmp_path, [0, 1])
    sample = pickle.loads(pickle.dumps(open_dataset("ade150", tmp_path).samples[0]))
    assert target(sample) == [255, 0]


def test_lists_end_lines_at_line_feeds_only(tmp_path):
    (tmp_path / "ids.txt").write_bytes("a\u2028b\r\n# no\x85x\n c \n".encode())
    assert FOLDER.listed(tmp_path, tmp_path / "ids.txt") == ["a\u2028b", "c"]
    (tmp_path / "ids.txt").write_bytes(b"\xff")
    with pytest.raises(RecosegError, match="not UTF-8"):
        FOLDER.listed(tmp_path, tmp_path / "ids.txt")


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "images" / "deep").mkdir(parents=True)

    def refused(real, path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    for name in ("scandir", "listdir"):
        monkeypatch.setattr(os, name, partial(refused, getattr(os, name)))
    with pytest.raises(DatasetError, match="deep cannot be read: Permission denied"):
        FOLDER.files(tmp_path, tmp_path / "images", [".png"])
    with pytest.raises(DatasetError, match="cannot be read: Permission denied"):
        raise FOLDER.error(tmp_path / "images" / "deep", "no photo.")
