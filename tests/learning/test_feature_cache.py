"""The feature cache is bounded, removes the least recently used files and is never wrong."""

import io
import logging
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from recoseg.archive.index import ArchiveIndex
from recoseg.classes import parse_classes
from recoseg.encoders.bundle import Encoders
from recoseg.encoders.protocols import EncoderInfo
from recoseg.learning.feature_cache import FeatureCache
from recoseg.learning.learner import learn_bank
from tests.banks import references_of

from .fakes import Phi, Retrieval, Saliency, make_archive, make_encoders, make_photo
from .test_learner import settings

INFO = EncoderInfo("phi", "random", "c" * 16, 7, 16)
NAMES = [f"{number:032x}" for number in range(200)]
CLASSES = parse_classes(["rose", "grass", "sea"])
PHOTO_BYTES = 7 * 3 * 5 * 2


def make_cache(folder, limit=10**6, precision="fp32"):
    return FeatureCache(folder, limit, precision)


def numbers(seed=0):
    return np.random.default_rng(seed).standard_normal((7, 3, 5)).astype(np.float16)


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def total(folder):
    return sum(path.stat().st_size for path in files(folder))


def same_banks(one, other):
    for mine, theirs in zip(one.concepts, other.concepts, strict=True):
        assert torch.equal(references_of(mine), references_of(theirs))
        assert mine.retrieved == theirs.retrieved


@pytest.fixture
def index(tmp_path):
    return make_archive(tmp_path / "archive", Retrieval())


def test_stored_features_are_memory_mapped_by_another_cache(tmp_path):
    make_cache(tmp_path).put(INFO, 48, NAMES[3], numbers())
    got = make_cache(tmp_path).get(INFO, 48, NAMES[3])
    assert isinstance(got, np.memmap)
    assert got.dtype == np.float16
    np.testing.assert_array_equal(got, numbers())
    assert make_cache(tmp_path).get(INFO, 48, NAMES[4]) is None


@pytest.mark.parametrize(
    "other",
    [
        EncoderInfo("phi/other", "random", "c" * 16, 7, 16),
        EncoderInfo("phi", "random", "d" * 16, 7, 16),
        EncoderInfo("phi", "random", "c" * 16, 7, 8),
        EncoderInfo("phi", "random", "c" * 16, 9, 16),
    ],
)
def test_nothing_is_shared_between_encoders(tmp_path, other):
    make_cache(tmp_path).put(INFO, 48, NAMES[0], numbers())
    assert make_cache(tmp_path).get(other, 48, NAMES[0]) is None


def test_nothing_is_shared_between_sizes_and_precisions(tmp_path):
    make_cache(tmp_path).put(INFO, 48, NAMES[0], numbers())
    assert make_cache(tmp_path).get(INFO, 64, NAMES[0]) is None
    assert make_cache(tmp_path, precision="bf16").get(INFO, 48, NAMES[0]) is None


def test_the_folder_never_exceeds_its_limit(tmp_path):
    limit = 40 * PHOTO_BYTES
    cache = make_cache(tmp_path, limit)
    for name in NAMES:
        cache.put(INFO, 48, name, numbers())
        assert total(tmp_path) <= limit
    assert total(tmp_path) > limit // 2
    assert cache.get(INFO, 48, NAMES[-1]) is not None
    assert cache.get(INFO, 48, NAMES[0]) is None


def test_the_least_recently_used_is_removed_first(tmp_path):
    cache = make_cache(tmp_path)
    for age, name in enumerate(NAMES[:4]):
        cache.put(INFO, 48, name, numbers())
        (path,) = tmp_path.rglob(f"{name}.npy")
        os.utime(path, (1000 + age, 1000 + age))
    assert cache.get(INFO, 48, NAMES[0]) is not None  # now the most recently used
    size = total(tmp_path) // 4
    smaller = make_cache(tmp_path, int(2.5 * size))
    held = [name for name in NAMES[:4] if smaller.get(INFO, 48, name) is not None]
    assert held == [NAMES[0], NAMES[3]]


def test_a_photo_larger_than_the_limit_is_not_kept(tmp_path):
    make_cache(tmp_path, 50).put(INFO, 48, NAMES[0], numbers())
    assert not files(tmp_path)


def cut(data):
    return data[:-40]


def flip(data):
    return data[:-30] + bytes([data[-30] ^ 4]) + data[-29:]


def other_shape(data):
    return data.replace(b"(7, 3, 5)", b"(5, 3, 7)")


def npz(_):
    file = io.BytesIO()
    np.savez(file, numbers())
    return file.getvalue()


def deep(_):
    return b"\x93NUMPY\x01\x00" + (60_000).to_bytes(2, "little") + b"(" * 60_000


@pytest.mark.parametrize(
    "damage", [cut, flip, other_shape, npz, deep, lambda _: b"", lambda _: b"\x80" * 99]
)
def test_damaged_files_count_as_absent_and_are_replaced(tmp_path, damage):
    cache = make_cache(tmp_path)
    cache.put(INFO, 48, NAMES[0], numbers())
    (path,) = files(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    assert cache.get(INFO, 48, NAMES[0]) is None
    cache.put(INFO, 48, NAMES[0], numbers(1))
    np.testing.assert_array_equal(cache.get(INFO, 48, NAMES[0]), numbers(1))


@pytest.mark.parametrize("name", ["../../../evil", "..", "a\0b"])
def test_hashes_from_a_strangers_index_stay_in_the_folder(tmp_path, name):
    cache = make_cache(tmp_path / "cache")
    cache.put(INFO, 48, name, numbers())
    np.testing.assert_array_equal(cache.get(INFO, 48, name), numbers())
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.parents[2] for path in written] == [tmp_path / "cache"]


def test_files_of_others_are_never_removed(tmp_path):
    group = f"{'0' * 16}-48-fp32"
    names = ["2024/05/holiday.npy", f"{group}/ab/notes.txt", f"{group}/zz/ab.npy", "a.npy"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(10_000))
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "ab").mkdir(parents=True)
    (elsewhere / "ab" / "abc.npy").write_bytes(bytes(10_000))
    (tmp_path / f"{'1' * 16}-48-fp32").symlink_to(elsewhere)
    cache = FeatureCache(tmp_path, 3 * numbers().nbytes, "fp32")
    for name in NAMES:
        cache.put(INFO, 48, name, numbers())
    assert all((tmp_path / name).is_file() for name in names)
    assert (elsewhere / "ab" / "abc.npy").is_file()


def test_what_killed_writers_have_left_is_removed(tmp_path):
    cache = make_cache(tmp_path)
    cache.put(INFO, 48, NAMES[0], numbers())
    (path,) = files(tmp_path)
    old, young = path.with_name(".tmp-old"), path.with_name(".tmp-young")
    old.write_bytes(b"x"), young.write_bytes(b"x")
    os.utime(old, (1000, 1000))
    make_cache(tmp_path)
    assert set(files(tmp_path)) == {path, young}


def test_a_pickle_is_never_opened(tmp_path):
    cache = make_cache(tmp_path)
    cache.put(INFO, 48, NAMES[0], numbers())
    (path,) = files(tmp_path)
    np.save(path, np.array([{"an": "object"}]), allow_pickle=True)
    assert cache.get(INFO, 48, NAMES[0]) is None


def test_a_folder_that_cannot_be_written_stops_the_cache_only(tmp_path, caplog):
    cache = make_cache(tmp_path / "cache")
    (tmp_path / "cache").rmdir()
    (tmp_path / "cache").write_text("a file where the folder was")
    with caplog.at_level(logging.WARNING):
        cache.put(INFO, 48, NAMES[0], numbers())
        cache.put(INFO, 48, NAMES[1], numbers())
    assert len(caplog.records) == 1
    assert "no longer cached" in caplog.text


WRITER = """
import sys
from pathlib import Path
import numpy as np
from recoseg.encoders.protocols import EncoderInfo
from recoseg.learning.feature_cache import FeatureCache
from tests.banks import references_of

info = EncoderInfo("phi", "random", "c" * 16, 7, 16)
cache = FeatureCache(Path(sys.argv[1]), int(sys.argv[2]), "fp32")
for turn in range(300):
    number = turn * 7 % 50
    features = np.full((7, 3, 5), number, np.float16)
    found = cache.get(info, 48, f"{number:032x}")
    assert found is None or np.array_equal(found, features)
    cache.put(info, 48, f"{number:032x}", features)
"""


def test_two_processes_share_a_folder(tmp_path):
    limit = 30 * 400
    command = [sys.executable, "-c", WRITER, str(tmp_path), str(limit)]
    writers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [writer.communicate()[1] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0], errors
    assert total(tmp_path) <= limit * 1.1
    assert not list(tmp_path.rglob(".tmp*"))


def test_a_second_bank_passes_no_photo_through_an_encoder(index, tmp_path):
    first, second = make_encoders(), make_encoders()
    cache = make_cache(tmp_path / "cache")
    bank = learn_bank(index, CLASSES, first, settings(), cache=cache)
    again = learn_bank(index, CLASSES, second, settings(), cache=make_cache(tmp_path / "cache"))
    same_banks(bank, again)
    same_banks(bank, learn_bank(index, CLASSES, make_encoders(), settings()))
    assert first.phi[0].seen
    assert not second.phi[0].seen
    assert not second.saliency.seen


def test_encoders_share_one_batch(index):
    # Encoders that share a backbone (`lite`) run it once.
    encoders, batches = make_encoders(), []
    for encoder in (encoders.phi[0], encoders.saliency):
        encoder.count = lambda images: batches.append(images)
    learn_bank(index, CLASSES, encoders, settings())
    assert len(batches) >= 2
    assert all(one is other for one, other in zip(batches[::2], batches[1::2], strict=True))


def test_another_phi_leaves_the_saliency_encoder_s_features_in_use(index, tmp_path):
    cache = make_cache(tmp_path / "cache")
    learn_bank(index, CLASSES, make_encoders(), settings(), cache=cache)
    encoders = Encoders(Retrieval(), Saliency(), (Phi(fingerprint="e" * 16),))
    encoders.phi[0].mix = encoders.phi[0].mix.flip(0)
    bank = learn_bank(index, CLASSES, encoders, settings(), cache=cache)
    assert encoders.phi[0].seen
    assert not encoders.saliency.seen
    same_banks(bank, learn_bank(index, CLASSES, encoders, settings()))


def test_a_cache_with_no_room_changes_nothing(index, tmp_path):
    bank = learn_bank(
        index, CLASSES, make_encoders(), settings(), cache=make_cache(tmp_path / "cache", 20_000)
    )
    same_banks(bank, learn_bank(index, CLASSES, make_encoders(), settings()))
    assert 0 < total(tmp_path / "cache") <= 20_000


def test_half_of_the_cache_damaged(index, tmp_path):
    cache = make_cache(tmp_path / "cache")
    bank = learn_bank(index, CLASSES, make_encoders(), settings(), cache=cache)
    for path in sorted(files(tmp_path / "cache"))[::2]:
        path.write_bytes(flip(path.read_bytes()))
    encoders = make_encoders()
    same_banks(bank, learn_bank(index, CLASSES, encoders, settings(), cache=cache))
    assert encoders.phi[0].seen


def test_a_photo_changed_since_it_was_indexed_is_kept_by_its_present_content(tmp_path):
    photos = {f"rose{n}": (n, "rose") for n in range(4)}
    index = make_archive(tmp_path / "archive", Retrieval(), photos)
    path = tmp_path / "archive" / "photos" / "rose0.png"
    original = path.read_bytes()
    make_photo(77, "violet").save(path)
    learn_bank(
        index, CLASSES[:1], make_encoders(), settings(), cache=make_cache(tmp_path / "cache")
    )
    path.write_bytes(original)
    encoders = make_encoders()
    bank = learn_bank(
        index, CLASSES[:1], encoders, settings(), cache=make_cache(tmp_path / "cache")
    )
    same_banks(bank, learn_bank(index, CLASSES[:1], make_encoders(), settings()))
    assert len(encoders.phi[0].seen) == 1


def test_features_of_two_contents_of_a_photo_are_not_mixed(tmp_path):
    photos = {f"rose{n}": (n, "rose") for n in range(4)}
    index = make_archive(tmp_path / "archive", Retrieval(), photos)
    cache = make_cache(tmp_path / "cache")
    learn_bank(index, CLASSES[:1], make_encoders(), settings(guidance=False), cache=cache)
    make_photo(77, "rose").save(tmp_path / "archive" / "photos" / "rose0.png")
    encoders = make_encoders()  # cached: phi's features of the old content, but not saliency's
    bank = learn_bank(index, CLASSES[:1], encoders, settings(), cache=cache)
    assert len(encoders.phi[0].seen) == 1
    same_banks(bank, learn_bank(index, CLASSES[:1], make_encoders(), settings()))


def test_photos_without_a_recorded_hash_are_not_cached(tmp_path):
    folder = tmp_path / "index"
    (tmp_path / "photos").mkdir()
    paths = []
    for n in range(3):
        paths.append(str(tmp_path / "photos" / f"{n}.png"))
        make_photo(n, "rose").save(paths[-1])
    encoder = Retrieval()
    pixels = torch.stack(
        [torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1) for path in paths]
    )
    (folder / "img_emb").mkdir(parents=True)
    (folder / "metadata").mkdir()
    np.save(folder / "img_emb" / "img_emb_0.npy", encoder.embed_images(pixels).half().numpy())
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"image_path": paths}), folder / "metadata" / "metadata_0.parquet")
    index = ArchiveIndex.open(folder)
    learn_bank(
        index, CLASSES[:1], make_encoders(), settings(), cache=make_cache(tmp_path / "cache")
    )
    assert not files(tmp_path / "cache")
