"""A memory of stored regions, which others may change: what a later run describes again."""

import numpy as np
import pytest
from PIL import Image

from recoseg.archive.index import ArchiveIndex
from recoseg.memory.build import merge_memories
from recoseg.memory.region_memory import RegionMemory
from recoseg.pipeline.remember import remember
from recoseg.regions.files import FileRegions
from tests.learning.fakes import SIZE, Phi, Saliency

from .fakes import Cut, contents, files, make_index, worker, write


def masks(folder, index, split=3):
    """A label map for each photo, whose left part is one region and whose right part another."""
    folder.mkdir(exist_ok=True)
    for photo in index.photos():
        name = photo.path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
        labels = np.ones((SIZE, SIZE), np.uint8)
        labels[:, split * SIZE // 6 :] = 2
        Image.fromarray(labels).save(folder / f"{name}.png")


@pytest.fixture
def index(tmp_path):
    made = make_index(tmp_path, 5)
    masks(tmp_path / "masks", made)
    return made


def described(index, out, folder, **options):
    provider = FileRegions(folder)
    return write(index, out, lambda: worker(provider=provider), stamp=provider.stamp, **options)


def test_changed_masks_are_noticed(tmp_path, index):
    folder, out = tmp_path / "masks", tmp_path / "memory"
    first = described(index, out, folder)
    assert (first.new, first.changed, first.photos) == (5, 0, 5)
    before, whole = contents(RegionMemory.open(out)), files(out)
    again = described(index, out, folder)
    assert (again.new, again.changed, again.skipped, files(out)) == (0, 0, 5, whole)

    changed = index.photo(2)
    name = changed.path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    labels = np.ones((SIZE, SIZE), np.uint8)
    labels[: SIZE // 2] = 2
    Image.fromarray(labels).save(folder / f"{name}.png", compress_level=1)
    report = described(index, out, folder)
    assert (report.new, report.changed, report.skipped, report.photos) == (0, 1, 4, 5)
    after = contents(RegionMemory.open(out))
    assert {key for key in before if before[key] != after[key]} == {changed.id}
    described(index, tmp_path / "anew", folder)
    assert after == contents(RegionMemory.open(tmp_path / "anew"))


def test_masks_that_are_gone_leave_their_photo_out(tmp_path, index):
    folder, out = tmp_path / "masks", tmp_path / "memory"
    described(index, out, folder)
    gone = sorted(folder.iterdir())[0]
    gone.rename(tmp_path / "kept.png")
    report = described(index, out, folder)
    assert (report.changed, report.photos) == (1, 4)
    assert "No masks of" in report.failures[0].failure
    (tmp_path / "kept.png").rename(gone)
    assert described(index, out, folder).photos == 5


def test_memories_without_stamps_are_described_again_once(tmp_path, index):
    """As early versions wrote them; a merge keeps the stamps that there are."""
    provider, out = FileRegions(tmp_path / "masks"), tmp_path / "memory"
    blind = type("Blind", (), {"key": provider.key, "needs_features": False})()
    blind.regions = provider.regions
    write(index, out, lambda: worker(provider=blind))
    assert described(index, out, tmp_path / "masks").changed == 5
    assert described(index, out, tmp_path / "masks").changed == 0
    merge_memories([out], tmp_path / "merged")
    assert described(index, tmp_path / "merged", tmp_path / "masks").changed == 0


def test_computed_regions_have_no_stamps(tmp_path, index):
    write(index, tmp_path / "memory", lambda: worker(provider=Cut()))
    [rows, *_] = RegionMemory.open(tmp_path / "memory").shard_rows()
    assert set(rows.stamps) == {""}


def test_the_command_compares_them(tmp_path, index):
    options = {"phi": Phi(), "saliency": Saliency(stride=8), "size": SIZE}
    spec = f"files:{tmp_path / 'masks'}"
    out = tmp_path / "memory"
    assert remember(index, out, regions=spec, **options).report.new == 5
    masks(tmp_path / "masks", ArchiveIndex.open(tmp_path / "index"), split=2)
    found = remember(index, out, regions=spec, **options).report
    assert (found.new, found.changed, found.photos) == (0, 5, 5)
