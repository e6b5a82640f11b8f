"""Classes of archive photos from their paths."""

import pytest

from recoseg.datasets.labelled import LabelledArchive
from recoseg.errors import DatasetError


def called(archive: LabelledArchive) -> list[str | None]:
    return [None if label is None else archive.names[label].name for label in archive.labels]


def test_imagenet_has_996_classes_with_names_of_their_own():
    archive = LabelledArchive.by_imagenet(["n01440764/n01440764_10026.JPEG"])
    names = [item.name for item in archive.names]
    assert len(names) == len(set(names)) == 996
    assert (names[0], archive.labels) == ("tench", (0,))
    assert not {"crane", "maillot"} & set(names)
    assert archive.names[0].prompts == ("tench",)
    assert names[133:136] == ["bittern", "limpkin", "European gallinule"]  # crane is left out


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/data/train/n01440764/x.JPEG", "tench"),
        ("n01440764_10026.JPEG", "tench"),
        ("s3://bucket/shard-00.tar::n01443537/5.jpg", "goldfish"),
        (r"C:\photos\n01443537-goldfish\5.jpg", "goldfish"),
        ("n01440764/n01443537_1.jpg", "goldfish"),  # the nearest
        ("n02012849/crane.jpg", None),  # the bird
        ("n03126707/crane.jpg", None),  # the machine
        ("n03710637/maillot.jpg", None),
        ("n99999999/x.jpg", None),
        ("n014407645/x.jpg", None),
        ("photo_n01440764.jpg", None),
        ("plain.jpg", None),
    ],
)
def test_imagenet_ids(path, name):
    archive = LabelledArchive.by_imagenet([path, "n02124075/cat.jpg"])
    assert called(archive) == [name, "Egyptian cat"]


def test_folders():
    paths = ["a/guide_dog/1.jpg", "b.tar::cat/2.png", "c.tar::3.jpg", "4.jpg", "z/cat/5.jpg"]
    archive = LabelledArchive.by_folder(paths)
    assert [str(name) for name in archive.names] == ["cat", "guide dog"]
    assert archive.labels == (1, 0, None, None, 0)


def test_tables(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text(
        "\ufefflabel,path,note\ncat,pets/7.png,\ndog,7,x\nfox,/data/wild/7.jpg,\n"
        ",pets/8,\nowl,e 1,\n",
        encoding="utf-8",
    )
    paths = ["/data/pets/7.jpg", "/x/7.jpeg", "/data/wild/7.jpg", "pets/8.jpg", "s.tar::e 1.png"]
    archive = LabelledArchive.by_csv([*paths, "/data/17.jpg"], table)
    assert called(archive) == ["cat", "dog", "fox", None, "owl", None]
    assert [name.name for name in archive.names] == ["cat", "dog", "fox", "owl"]


def test_tables_that_cannot_be_used(tmp_path):
    table = tmp_path / "labels.csv"
    with pytest.raises(DatasetError, match=r"labels\.csv cannot be read: No file was found"):
        LabelledArchive.by_csv(["a.jpg"], table)
    table.write_text("file,class\na,cat\n")
    with pytest.raises(
        DatasetError, match=r"no column path or label; its first line is file,class"
    ):
        LabelledArchive.by_csv(["a.jpg"], table)
    table.write_text("path,label\na.jpg,cat\na.png,dog\n")
    with pytest.raises(DatasetError, match=r"calls a\.png both 'cat' and 'dog'"):
        LabelledArchive.by_csv(["a.jpg"], table)
    table.write_text("path,label\na.jpg\n")
    with pytest.raises(DatasetError, match="None of 1 photo has a known class"):
        LabelledArchive.by_csv(["a.jpg"], table)


def test_an_archive_without_any_known_class_is_refused():
    with pytest.raises(DatasetError, match=r"None of 2 photos .* such as n01440764"):
        LabelledArchive.by_imagenet(["a.jpg", "b.jpg"])
    with pytest.raises(DatasetError, match="Expected a folder for each class"):
        LabelledArchive.by_folder(["a.jpg"])


def test_tables_are_read_as_regular_files_in_utf8(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_bytes(b"path,label\na,\xff\n")
    for path, reason in ((table, "not UTF-8"), (tmp_path, "not a regular file")):
        with pytest.raises(DatasetError, match=rf"The table .* cannot be read: .*{reason}"):
            LabelledArchive.by_csv(["a.jpg"], path)
    table.write_text("path,label\n" + "a" * 200_000 + ",cat\n")
    with pytest.raises(DatasetError, match="field larger than field limit"):
        LabelledArchive.by_csv(["a.jpg"], table)
    table.write_text("path,label\na\u2028b,cat\na\n", encoding="utf-8")
    assert LabelledArchive.by_csv(["a\u2028b.jpg"], table).labels == (0,)
