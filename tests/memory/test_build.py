"""Writing a memory: what it holds, and what a later run adds, keeps and removes."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recoseg.archive.index import ArchiveIndex
from recoseg.archive.selection import Selection
from recoseg.errors import ArchiveError, EncoderMismatchError, OutputError
from recoseg.executors.ray import RayExecutor
from recoseg.memory.build import merge_memories
from recoseg.memory.region_memory import RegionMemory
from recoseg.photos.frame import Frame
from recoseg.photos.load import load_frame
from recoseg.storage.locks import lock_folder
from tests.executors.losing import LosingExecutor
from tests.learning.fakes import SIZE, Phi, Saliency

from .fakes import Cut, contents, files, make_index, make_memory, second_phi, worker, write


def test_rows_are_means_over_regions(tmp_path):
    memory = make_memory(tmp_path)
    index = ArchiveIndex.open(tmp_path / "index")
    phi, texts = [Phi(), second_phi()], [Saliency(stride=8), Saliency("e" * 16, stride=8)]
    assert [info.key for info in memory.manifest.phi] == [one.info.key for one in phi]
    assert memory.manifest.provider == "cut"
    assert (memory.manifest.photos, memory.manifest.regions) == (13, len(memory))
    position = 0
    for photo in index.photos():
        pixels = load_frame(photo, Frame(SIZE)).pixels[None]
        of_phi = [one.features(pixels)[0] for one in phi]
        labels = Cut().regions(photo, pixels[0], of_phi)
        for region in (1, 2, 3):  # the fourth is too small
            mask = labels == region
            parts = [F.normalize(one, dim=0)[:, mask].mean(1) for one in of_phi]
            key = torch.cat([F.normalize(part, dim=0) for part in parts]) / 2**0.5
            assert (memory.embeddings([position])[0] - key).abs().max() < 1e-3
            for text in texts:
                value = F.normalize(text.features(pixels)[0], dim=0)[:, mask].mean(1)
                got = memory.values(torch.tensor([position]), text.info.key)[0]
                assert (got - F.normalize(value, dim=0)).abs().max() < 1e-3
            found = memory.region(position)
            assert memory.photo_id(position) == photo.id
            assert (found.photo.path, found.photo.width) == (photo.path, photo.width)
            assert found.area == pytest.approx(float(mask.float().mean()))
            y, x = mask.nonzero().T
            assert found.box[:2] == pytest.approx((float(y.min()) / 6, float(x.min()) / 6))
            position += 1
    assert position == len(memory) == 39
    [first] = [rows for _, rows in memory.blocks()][:1]
    assert first.dtype == np.float16
    assert np.abs(np.linalg.norm(first.astype(np.float32), axis=1) - 1).max() < 1e-3


def test_later_runs_add_new_photos_only(tmp_path):
    index = make_index(tmp_path)
    first = write(index, tmp_path / "memory")
    assert (first.photos, first.new, first.skipped, first.missing) == (13, 13, 0, 0)
    before = files(tmp_path / "memory")
    again = write(index, tmp_path / "memory", lambda: worker([Phi(), second_phi()]))
    assert (again.photos, again.new, again.skipped) == (13, 0, 13)
    assert files(tmp_path / "memory") == before
    added = write(make_index(tmp_path, 4, 50), tmp_path / "memory")
    assert (added.photos, added.new, added.skipped) == (17, 4, 13)
    now = files(tmp_path / "memory")
    changed = {name for name in before if now[name] != before[name]}
    assert changed == {"manifest.json"}
    write(ArchiveIndex.open(tmp_path / "index"), tmp_path / "fresh")
    memories = [RegionMemory.open(tmp_path / name) for name in ("memory", "fresh")]
    assert contents(memories[0]) == contents(memories[1])


def test_copies_are_described_once(tmp_path):
    make_index(tmp_path, 3)
    shutil.copy(tmp_path / "photos/photo0.png", tmp_path / "photos/copy.png")
    index = make_index(tmp_path, 0)
    assert len(index) == 4
    assert write(index, tmp_path / "memory").photos == 3


def test_photos_that_left_are_not_found_or_pruned(tmp_path):
    memory = make_memory(tmp_path)
    index = ArchiveIndex.open(tmp_path / "index")
    gone = [index.photo_id(0), index.photo_id(7)]
    smaller = ArchiveIndex.open(tmp_path / "index", Selection(dict.fromkeys(gone, "blurred")))
    everything = contents(memory)
    kept = {name: rows for name, rows in everything.items() if name not in gone}
    report = write(smaller, tmp_path / "memory")
    assert (report.photos, report.missing, report.removed, report.new) == (13, 2, 0, 0)
    query = {memory.manifest.phi[0].key: torch.randn(2, 29)}
    for opened in (
        RegionMemory.open(tmp_path / "memory", index=smaller),
        RegionMemory.open(tmp_path / "memory", selection=smaller.selection),
    ):
        _, positions = opened.search(query, 39)
        assert (positions >= 0).sum(1).tolist() == [33, 33]
        found = {opened.photo_id(at) for at in positions.flatten().tolist() if at >= 0}
        assert found == kept.keys()
        assert not opened.is_selected(0)
        assert opened.is_selected(5)
    report = write(smaller, tmp_path / "memory", prune=True)
    assert (report.photos, report.regions, report.missing, report.removed) == (11, 33, 2, 2)
    assert contents(RegionMemory.open(tmp_path / "memory")) == kept
    assert len(list((tmp_path / "memory/keys").iterdir())) == 3
    report = write(index, tmp_path / "memory")
    assert (report.photos, report.new) == (13, 2)
    assert contents(RegionMemory.open(tmp_path / "memory")).keys() == everything.keys()


def test_unusable_photos_are_reported_and_tried_again(tmp_path):
    index = make_index(tmp_path)
    changed, gone = (tmp_path / "photos" / f"photo{number}.png" for number in (3, 4))
    good = changed.read_bytes()
    shutil.copy(tmp_path / "photos/photo0.png", changed)
    gone.unlink()
    report = write(index, tmp_path / "memory")
    assert (report.photos, report.new) == (11, 11)
    reasons = {photo.path: photo.failure for photo in report.failures}
    assert "changed since it was indexed" in reasons[str(changed)]
    assert "no such file" in reasons[str(gone)]
    changed.write_bytes(good)
    report = write(index, tmp_path / "memory")
    assert (report.photos, report.new, len(report.failures)) == (12, 1, 1)


class Broken(Phi):
    """Gives no number for a photo whose first pixel has this value."""

    def features(self, images):
        found = super().features(images)
        return torch.where(images[:, :1, :1, :1] == self.poison, float("nan"), found)


def test_features_that_are_not_finite(tmp_path):
    index = make_index(tmp_path, 5)
    phi = Broken()
    photos = list(index.photos())
    phi.poison = load_frame(photos[2], Frame(SIZE)).pixels[0, 0, 0]
    report = write(index, tmp_path / "memory", lambda: worker([phi]))
    broken = [photo.path for photo in report.failures]
    assert photos[2].path in broken
    assert report.photos == 5 - len(broken) < 5
    assert all("not finite" in photo.failure for photo in report.failures)


def test_unfinished_shards_are_done_by_the_next_run(tmp_path):
    index = make_index(tmp_path)
    report = write(index, tmp_path / "memory", executor=LosingExecutor(1))
    assert report.undone == ("5 photos: it rained",)
    assert report.photos == 8
    report = write(index, tmp_path / "memory")
    assert (report.photos, report.new, report.undone) == (13, 5, ())


@pytest.mark.timeout(120)
def test_ray_writes_the_same_files(tmp_path, cluster):
    index = make_index(tmp_path)
    write(index, tmp_path / "local")
    report = write(index, tmp_path / "ray", executor=RayExecutor(2))
    assert report.photos == 13
    assert files(tmp_path / "ray") == files(tmp_path / "local")


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: worker([Phi()]), "the phi"),
        (lambda: worker(texts=[Saliency(stride=8)]), "the text encoders"),
        (lambda: worker(size=40), "the size 48, not 40"),
        (lambda: worker(precision="bf16"), "the precision fp32, not bf16"),
    ],
)
def test_other_settings_are_refused(tmp_path, build, match):
    index = make_index(tmp_path, 3)
    write(index, tmp_path / "memory")
    before = files(tmp_path / "memory")
    with pytest.raises(EncoderMismatchError, match=match):
        write(index, tmp_path / "memory", build)
    assert files(tmp_path / "memory") == before


def test_refusals(tmp_path):
    index = make_index(tmp_path, 3)
    with pytest.raises(ArchiveError, match="Expected a local folder"):
        write(index, "memory://bucket/memory")
    with pytest.raises(ArchiveError, match="is a file"):
        write(index, tmp_path / "photos/photo0.png")
    with pytest.raises(OutputError, match="holds the output of another command"):
        write(index, tmp_path / "index")
    with lock_folder(tmp_path / "memory"), ThreadPoolExecutor(1) as pool:
        other = pool.submit(write, index, tmp_path / "memory")
        with pytest.raises(OutputError, match="Another process"):
            other.result()
    with pytest.raises(ArchiveError, match="No region memory was found"):
        RegionMemory.open(tmp_path / "nothing")
    with pytest.raises(ArchiveError, match="holds no region memory"):
        RegionMemory.open(tmp_path / "index")


class TestMerge:
    @pytest.fixture
    def parts(self, tmp_path):
        """Memories of photos 0 to 7 and 5 to 12."""
        write(make_index(tmp_path / "a", 8), tmp_path / "first")
        write(make_index(tmp_path / "b", 8, 5), tmp_path / "second")
        return [tmp_path / "first", tmp_path / "second"]

    def test_photos_are_taken_once(self, parts, tmp_path):
        report = merge_memories(parts, tmp_path / "both")
        assert (report.photos, report.new, report.skipped, report.regions) == (13, 13, 3, 39)
        both = RegionMemory.open(tmp_path / "both")
        want = contents(RegionMemory.open(parts[1])) | contents(RegionMemory.open(parts[0]))
        assert contents(both) == want
        again = merge_memories(parts, tmp_path / "both")
        assert (again.photos, again.new, again.skipped) == (13, 0, 16)

    def test_a_merge_continues(self, parts, tmp_path):
        merge_memories(parts, tmp_path / "both")
        merge_memories(parts[:1], tmp_path / "steps")
        merge_memories(parts, tmp_path / "steps")
        assert files(tmp_path / "steps") == files(tmp_path / "both")

    def test_refusals(self, parts, tmp_path):
        write(make_index(tmp_path / "c", 2), tmp_path / "other", lambda: worker([Phi()]))
        with pytest.raises(EncoderMismatchError, match="was made with the phi"):
            merge_memories([parts[0], tmp_path / "other"], tmp_path / "both")
        with pytest.raises(ArchiveError, match="is one of the memories"):
            merge_memories(parts, parts[0])
        with pytest.raises(ArchiveError, match="got none"):
            merge_memories([], tmp_path / "both")
        assert not (tmp_path / "both").exists()
