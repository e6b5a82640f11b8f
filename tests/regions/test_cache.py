import logging

import pytest
import torch

from recoseg.photos.refs import Photo
from recoseg.regions.cache import CachedRegions, RegionCache

PHOTO = Photo("a.jpg", hash="0123456789abcdef" * 2)
OTHER = Photo("b.jpg", hash="f123456789abcdef" * 2)
SIZE = (5, 7)
PIXELS = torch.zeros(3, *SIZE, dtype=torch.uint8)


class Counting:
    """Divides photos into regions of its own, and counts how often."""

    needs_features = False

    def __init__(self, key="counting(1)", is_cacheable=True):
        self.key = key
        self.is_cacheable = is_cacheable
        self.calls = 0

    def regions(self, photo, pixels, features=()):
        self.calls += 1
        torch.manual_seed(self.calls)
        return torch.randint(0, 60000, tuple(pixels.shape[1:]), dtype=torch.int32)


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_photo_is_divided_once(tmp_path):
    provider = Counting()
    first = CachedRegions(provider, RegionCache(tmp_path, 10**6)).regions(PHOTO, PIXELS)
    again = CachedRegions(provider, RegionCache(tmp_path, 10**6)).regions(PHOTO, PIXELS)
    assert provider.calls == 1
    assert again.dtype == torch.int32
    assert torch.equal(first, again)


def test_photos_keys_and_sizes_share_nothing(tmp_path):
    cache = RegionCache(tmp_path, 10**6)
    one, other = Counting(), Counting("counting(2)")
    wide = torch.zeros(3, 5, 8, dtype=torch.uint8)
    for provider, photo, pixels in (
        (one, PHOTO, PIXELS),
        (one, OTHER, PIXELS),
        (one, PHOTO, wide),
        (other, PHOTO, PIXELS),
    ):
        for _ in range(2):
            CachedRegions(provider, cache).regions(photo, pixels)
    assert (one.calls, other.calls) == (3, 1)
    assert len(files(tmp_path)) == 4


def test_photos_without_a_hash_and_providers_that_may_change_are_not_kept(tmp_path):
    cache = RegionCache(tmp_path, 10**6)
    changing, fixed = Counting(is_cacheable=False), Counting()
    for _ in range(2):
        CachedRegions(changing, cache).regions(PHOTO, PIXELS)
        CachedRegions(fixed, cache).regions(Photo("a.jpg"), PIXELS)
    assert (changing.calls, fixed.calls) == (2, 2)
    assert not files(tmp_path)


def test_more_regions_than_16_bits_hold_are_not_kept(tmp_path):
    cache = RegionCache(tmp_path, 10**6)
    labels = torch.full(SIZE, 65535, dtype=torch.int32)
    cache.put("key", PHOTO, SIZE, labels)
    assert torch.equal(cache.get("key", PHOTO, SIZE), labels)
    cache.put("key", OTHER, SIZE, labels + 1)
    assert cache.get("key", OTHER, SIZE) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-9],
        lambda data: data[:60] + bytes([data[60] ^ 4]) + data[61:],
        lambda data: b"",
        lambda data: b"\x00" * 99,
    ],
)
def test_damaged_files_count_as_absent_and_are_replaced(tmp_path, damage):
    provider, cache = Counting(), RegionCache(tmp_path, 10**6)
    kept = CachedRegions(provider, cache)
    kept.regions(PHOTO, PIXELS)
    (path,) = files(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    fresh = kept.regions(PHOTO, PIXELS)
    assert provider.calls == 2
    assert torch.equal(kept.regions(PHOTO, PIXELS), fresh)
    assert provider.calls == 2


def test_the_folder_stays_below_its_limit(tmp_path):
    cache = RegionCache(tmp_path, 5000)
    for number in range(60):
        photo = Photo("x", hash=f"{number:032x}")
        cache.put("key", photo, SIZE, Counting().regions(photo, PIXELS))
        assert sum(path.stat().st_size for path in files(tmp_path)) <= 5000
    assert cache.get("key", Photo("x", hash=f"{59:032x}"), SIZE) is not None
    assert cache.get("key", Photo("x", hash=f"{0:032x}"), SIZE) is None


def test_a_folder_that_cannot_be_written_stops_the_cache_only(tmp_path, caplog):
    cache = RegionCache(tmp_path / "cache", 10**6)
    (tmp_path / "cache").rmdir()
    (tmp_path / "cache").write_text("a file where the folder was")
    with caplog.at_level(logging.WARNING):
        CachedRegions(Counting(), cache).regions(PHOTO, PIXELS)
    assert "regions are no longer cached" in caplog.text


@pytest.mark.parametrize("name", ["../../outside", "/outside", "a\\b", "x" * 300, "\udcff", "AB"])
def test_no_hash_leads_out_of_the_folder(tmp_path, name):
    folder = tmp_path / "cache"
    photo = Photo("a.jpg", hash=name)
    provider = Counting()
    for _ in range(2):
        CachedRegions(provider, RegionCache(folder, 10**6)).regions(photo, PIXELS)
    assert provider.calls == 1
    assert files(tmp_path) == files(folder)
    assert len(files(folder)) == 1
