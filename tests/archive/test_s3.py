"""Archives and indexes in a bucket of a real S3 server give the same results as local ones."""

import tarfile

import numpy as np
import pytest

from recoseg.archive.index import ArchiveIndex
from recoseg.errors import ArchiveError, BadImageError
from recoseg.photos.reading import read_photo
from recoseg.photos.refs import Photo
from recoseg.photos.sources import list_sources
from tests.archive.conftest import make_folder
from tests.archive.test_build import run
from tests.archive.test_index import foreign
from tests.archive.test_mirror import files_below


def make_tar(path, photos):
    with tarfile.open(path, "w") as tar:
        for photo in photos:
            tar.add(photo, photo.name)
    return path


def whole(index):
    return np.concatenate([block for _, block in index.blocks()])


def test_tars_are_indexed_continued_and_updated(photos, tmp_path, encoder, bucket):
    found = sorted(photos.rglob("*.png"))
    for number, part in enumerate((found[:12], found[12:])):
        tar = make_tar(tmp_path / f"{number}.tar", part)
        bucket.put(str(tar), f"bucket/tars/{number}.tar")
    out = tmp_path / "index"
    assert run(["s3://bucket/tars/*.tar"], out, encoder).new == 23
    run([tmp_path / "0.tar", tmp_path / "1.tar"], tmp_path / "local", encoder)
    index = ArchiveIndex.open(out)
    assert np.array_equal(whole(index), whole(ArchiveIndex.open(tmp_path / "local")))
    assert index.path(2) == f"s3://bucket/tars/0.tar::{found[2].name}"
    assert np.array_equal(index.read(2), ArchiveIndex.open(tmp_path / "local").read(2))
    assert run(["s3://bucket/tars/{0..1}.tar"], out, encoder).skipped == 23
    bucket.put(str(tmp_path / "1.tar"), "bucket/tars/0.tar")
    bucket.put(str(tmp_path / "0.tar"), "bucket/tars/2.tar")
    report = run(["s3://bucket/tars/*.tar"], out, encoder)
    assert (report.new, report.skipped, len(report.missing)) == (12 + 11, 11, 12)


def test_folders_and_lists(photos, tmp_path, encoder, bucket):
    bucket.put(f"{photos}/", "bucket/photos/", recursive=True)
    odd = ["a b.png", "50%+ü#1.png", "[x]?.png"]
    for name in odd:
        bucket.put(str(photos / "photo0.png"), f"bucket/photos/odd/{name}")
    bucket.pipe_file("bucket/photos/.hidden/x.png", b"")
    bucket.pipe_file("bucket/lists/a.txt", b"../photos/photo1.png\ns3://bucket/photos/photo3.png\n")
    report = run(["s3://bucket/photos"], tmp_path / "index", encoder)
    assert (report.photos, report.failed) == (23 + 3, 0)
    index = ArchiveIndex.open(tmp_path / "index")
    paths = {index.path(position) for position in range(len(index))}
    assert {f"s3://bucket/photos/odd/{name}" for name in odd} < paths
    run([photos], tmp_path / "local", encoder)
    rows = {row.tobytes() for row in whole(index)}
    assert rows == {row.tobytes() for row in whole(ArchiveIndex.open(tmp_path / "local"))}
    [listed] = list_sources(["s3://bucket/lists/a.txt"])
    assert [photo.path for photo in listed.photos] == [
        "s3://bucket/photos/photo1.png",
        "s3://bucket/photos/photo3.png",
    ]
    assert all(photo.size > 0 for photo in listed.photos)
    with pytest.raises(BadImageError, match="no such file"):
        read_photo(Photo("s3://bucket/photos/none.png"))


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize(
    "key",
    ["img_emb/../../../evil.npy", "img_emb/%2e%2e/evil.npy", "../evil", "img_emb/a\\..\\b.npy"],
)
def test_crafted_keys_write_nothing_outside(tmp_path, encoder, bucket, monkeypatch, own, key):
    monkeypatch.setenv("RECOSEG_CACHE", str(tmp_path / "cache"))
    if own:
        run([make_folder(tmp_path / "photos", 3)], tmp_path / "index", encoder)
    else:
        foreign(tmp_path / "index", [3])
    bucket.put(f"{tmp_path}/index/", "bucket/crafted/", recursive=True)
    before = files_below(tmp_path)
    bucket.pipe_file(f"bucket/crafted/{key}", b"evil")
    try:
        with pytest.raises(ArchiveError, match="is refused, and nothing was fetched"):
            ArchiveIndex.open("s3://bucket/crafted")
    finally:
        bucket.rm("bucket/crafted", recursive=True)
    assert files_below(tmp_path) == before


def test_an_index_in_a_bucket(tmp_path, encoder, bucket, monkeypatch):
    monkeypatch.setenv("RECOSEG_CACHE", str(tmp_path / "cache"))
    folder = make_folder(tmp_path / "photos", 9)
    run([folder], tmp_path / "index", encoder)
    bucket.put(f"{tmp_path}/index/", "bucket/index/", recursive=True)
    local, there = ArchiveIndex.open(tmp_path / "index"), ArchiveIndex.open("s3://bucket/index")
    assert there.manifest == local.manifest
    assert not (there.root / "img_emb").exists()
    assert np.array_equal(whole(there), whole(local))
    make_folder(folder, 3, first=20)
    run([folder], tmp_path / "index", encoder)
    bucket.put(f"{tmp_path}/index/", "bucket/index/", recursive=True)
    assert len(ArchiveIndex.open("s3://bucket/index/")) == 12
