"""The same situations at places where nobody has met them yet."""

import unicodedata

import fsspec
import pytest
from PIL import Image

from recoseg.archive.index import ArchiveIndex
from recoseg.archive.plan import places_of
from recoseg.datasets.coco import curated_list
from recoseg.datasets.labelled import LabelledArchive
from recoseg.drawing.retrieval_sheet import sheet_cells
from recoseg.errors import ArchiveError
from recoseg.photos.refs import split_member
from recoseg.photos.sources import list_sources
from recoseg.regions.sam2 import Sam2Regions
from recoseg.retrieval.duplicates import Hit
from tests.archive.test_index import foreign
from tests.command import run

from .making import photo


@pytest.fixture
def elsewhere(tmp_path):
    """Photos and outputs in memory, which stands for another machine."""
    fs = fsspec.filesystem("memory")
    data = photo(tmp_path / "a.png").read_bytes()
    marks = {"masks": '{"format": "recoseg-masks-1"}', "mine": '{"format": "x"}', "odd": "{"}
    fs.pipe("/far/a.png", data)
    for name, mark in marks.items():
        fs.pipe(f"/far/{name}/settings.json", mark.encode())
        fs.pipe(f"/far/{name}/labels/a.png", data)
    yield fs
    fs.rm("/far", recursive=True)


def test_outputs_on_another_machine_are_passed_over(elsewhere):
    [source] = list_sources(["memory://far"])
    names = [item.path.removeprefix("memory://").lstrip("/") for item in source.photos]
    assert names == ["far/a.png", "far/mine/labels/a.png", "far/odd/labels/a.png"]
    [source] = list_sources(["memory://far/masks"])
    assert len(source.photos) == 1, "the folder itself was asked for"


def test_shards_on_another_machine_are_not_passed_over(elsewhere):
    elsewhere.pipe("/far/shards/0.tar", b"")
    with pytest.raises(ArchiveError, match=r"but 1 tar shards. Give these themselves"):
        list_sources(["memory://far/shards"])


def test_hidden_files_beside_those_of_clip_retrieval(tmp_path):
    root = foreign(tmp_path / "emb", [3, 2])
    for path in [*root.glob("img_emb/*.npy"), *root.glob("metadata/*.parquet")]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    assert len(ArchiveIndex.open(root)) == 5


def test_hidden_files_beside_lists_and_weights(tmp_path):
    folder = tmp_path / "curated" / "val2017"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("1\n")
    (folder / "._mine.txt").write_bytes(b"\0\5")
    assert curated_list(tmp_path) == folder / "mine.txt"
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    key = Sam2Regions(str(tmp_path)).key
    (tmp_path / "._model.safetensors").write_bytes(b"\0\5")
    assert Sam2Regions(str(tmp_path)).key == key


def test_shards_in_capitals():
    assert split_member("/a/B.TAR::c::d.jpg") == ("/a/B.TAR", "::", "c::d.jpg")
    assert list(places_of("/a/B.TAR::c/d.jpg")) == ["/a/B.TAR::c", "/a/B.TAR", "/a", "/"]


def test_classes_by_the_names_of_folders(tmp_path):
    paths = ["cats/12::30.jpg", "a::b/in.jpg", "x.tar::dogs/1.jpg", "x.tar::2.jpg"]
    found = LabelledArchive.by_folder(paths)
    assert [str(name) for name in found.names] == ["a::b", "cats", "dogs"]
    assert found.labels == (1, 0, 2, None)
    accents = [unicodedata.normalize(form, "café/é.jpg") for form in ("NFC", "NFD")]
    assert LabelledArchive.by_folder(accents).labels == (0, 0)
    (tmp_path / "table.csv").write_text(f"path,label\n{accents[0]},x\n", encoding="utf-8")
    assert LabelledArchive.by_csv(accents, tmp_path / "table.csv").labels == (0, 0)


def test_names_on_a_contact_sheet():
    names = ["/p/12::30.jpg", "/p/x.tar::a/1.jpg"]

    class Photos:
        def path(self, position):
            return names[position]

        def read(self, position):
            return Image.new("RGB", (4, 4))

    cells = sheet_cells([Hit(0, 0.5), Hit(1, 0.4)], Photos(), lambda photo: "")
    assert [cell.name for cell in cells] == ["1. 12::30.jpg", "2. 1.jpg"]


def test_a_demonstration_does_not_mix_with_another_output(made, tmp_path):
    before = sorted((made / "index").rglob("*"))
    done = run("demo", "--photos", made / "photos", "--out", made / "index")
    assert (done.code, "holds the output of another command" in done.err) == (1, True)
    assert sorted((made / "index").rglob("*")) == before
