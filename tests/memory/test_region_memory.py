"""Search and values of a memory, here and at a URL; damage is found."""

import json

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F

from recoseg.errors import ArchiveError, EncoderMismatchError, RecosegError
from recoseg.memory.region_memory import NOT_FOUND, RegionMemory, open_memory
from recoseg.memory.verify import verify_memory
from recoseg.retrieval.approximate import ApproximateIndex
from recoseg.storage.checksums import checksum
from recoseg.storage.sealed import sealed

from .fakes import make_memory, synthetic


def queries_for(memory, count, seed=7):
    generator = torch.Generator().manual_seed(seed)
    return {
        info.key: torch.randn(count, info.dim, generator=generator) for info in memory.manifest.phi
    }


def slow_search(memory, keys, queries, k):
    """Sum of the cosines, one pair at a time."""
    scores = torch.zeros(len(next(iter(queries.values()))), len(keys), dtype=torch.float64)
    for key, rows in queries.items():
        stored = keys[:, memory.manifest.key_spans[key]] * len(memory.manifest.phi) ** 0.5
        for at, row in enumerate(F.normalize(rows, dim=1).double()):
            scores[at] += (stored * row).sum(1)
    order = scores.sort(dim=1, descending=True, stable=True)
    return order.values[:, :k], order.indices[:, :k]


@pytest.mark.parametrize("phi", [(6,), (6, 5), (4, 5, 6)])
def test_search_is_exact(tmp_path, phi):
    memory, keys = synthetic(tmp_path, 600, phi=phi)
    queries = queries_for(memory, 70)
    scores, positions = memory.search(queries, 20)
    want, order = slow_search(memory, keys, queries, 20)
    assert positions.equal(order)
    assert (scores - want).abs().max() < 1e-6


def test_phi_that_are_not_given_do_not_count(tmp_path):
    memory, keys = synthetic(tmp_path, 300)
    queries = queries_for(memory, 5)
    [_, second] = queries
    scores, positions = memory.search({second: queries[second]}, 3)
    want, order = slow_search(memory, keys, {second: queries[second]}, 3)
    assert positions.equal(order)
    assert (scores - want).abs().max() < 1e-6


def test_thousands_of_queries_in_several_passes(tmp_path, monkeypatch):
    memory, keys = synthetic(tmp_path, 900)
    queries = queries_for(memory, 2500)
    whole = memory.search(queries, 4)
    monkeypatch.setattr("recoseg.memory.region_memory._QUERIES", 999)
    parts = memory.search(queries, 4)
    assert whole[1].equal(parts[1])
    assert whole[0].equal(parts[0])
    assert whole[1].equal(slow_search(memory, keys, queries, 4)[1])


def test_fewer_regions_than_asked_for(tmp_path):
    memory, _ = synthetic(tmp_path, 30)
    scores, positions = memory.search(queries_for(memory, 2), 40)
    assert (positions[:, 30:] == NOT_FOUND).all()
    assert (scores[:, 30:] == float("-inf")).all()
    assert positions[:, :30].sort(1).values.equal(torch.arange(30).expand(2, -1))
    values = memory.values(positions, memory.manifest.texts[0].key)
    assert tuple(values.shape) == (2, 40, 4)
    assert (values[:, 30:] == 0).all()
    assert torch.allclose(values[:, :30].norm(dim=-1), torch.ones(2, 30), atol=1e-3)


def test_values_are_the_stored_rows(tmp_path):
    memory, _ = synthetic(tmp_path, 300)
    stored = np.concatenate([rows.values for rows in memory.shard_rows()])
    positions = torch.tensor([[299, 0], [101, 101], [100, 205]])
    for info, columns in zip(memory.manifest.texts, (slice(0, 4), slice(4, 7)), strict=True):
        got = memory.values(positions, info.key)
        assert got.equal(torch.from_numpy(stored[positions.numpy()][..., columns]).float())


def test_approximate_search(tmp_path):
    pytest.importorskip("faiss")
    memory, _ = synthetic(tmp_path, 900)
    queries = queries_for(memory, 20)
    found = ApproximateIndex.open(memory, tmp_path / "approximate", "hnsw")
    exact, near = memory.search(queries, 5), memory.search(queries, 5, approximate=found)
    same = exact[1] == near[1]
    assert same.float().mean() > 0.9
    assert near[0][same].equal(exact[0][same])


def test_wrong_queries(tmp_path):
    memory, _ = synthetic(tmp_path, 60)
    key, other = (info.key for info in memory.manifest.phi)
    with pytest.raises(EncoderMismatchError, match="got queries of none"):
        memory.search({}, 3)
    with pytest.raises(EncoderMismatchError, match="got queries of clip"):
        memory.search({"clip": torch.ones(1, 6)}, 3)
    with pytest.raises(EncoderMismatchError, match="of length 6; got 5"):
        memory.search({key: torch.ones(1, 5)}, 3)
    with pytest.raises(RecosegError, match="same number of query regions"):
        memory.search({key: torch.ones(1, 6), other: torch.ones(2, 5)}, 3)
    with pytest.raises(EncoderMismatchError, match="has values of text0"):
        memory.values(torch.tensor([0]), key)
    with pytest.raises(IndexError, match="outside 0 to 59"):
        memory.values(torch.tensor([60]), memory.manifest.texts[0].key)


def test_no_queries(tmp_path):
    memory, _ = synthetic(tmp_path, 60)
    scores, positions = memory.search(queries_for(memory, 0), 3)
    assert tuple(scores.shape) == tuple(positions.shape) == (0, 3)


@pytest.fixture
def url(monkeypatch, tmp_path):
    monkeypatch.setenv("RECOSEG_CACHE", str(tmp_path / "cache"))
    yield "memory://bucket/regions"
    fs = fsspec.filesystem("memory")
    if fs.exists("/bucket"):
        fs.rm("/bucket", recursive=True)


def upload(folder):
    fs = fsspec.filesystem("memory")
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            fs.pipe_file(f"/bucket/regions/{path.relative_to(folder)}", path.read_bytes())
    return fs


class TestRemote:
    def test_a_memory_at_a_url_gives_the_same(self, tmp_path, url):
        here = make_memory(tmp_path)
        fs = upload(tmp_path / "memory")
        there = open_memory(url)
        assert (len(there), there.manifest, there.content) == (39, here.manifest, here.content)
        assert there.summary() == here.summary()
        assert not (there.root / "keys").exists()
        queries = queries_for(here, 6)
        for mine, theirs in zip(here.search(queries, 9), there.search(queries, 9), strict=True):
            assert mine.equal(theirs)
        assert not (there.root / "values").exists()
        text = here.manifest.texts[1].key
        positions = torch.tensor([17, 3])
        assert here.values(positions, text).equal(there.values(positions, text))
        assert len(list((there.root / "values").iterdir())) == 2
        assert there.region(20) == here.region(20)
        fs.rm("/bucket/regions/keys", recursive=True)
        assert open_memory(url).search(queries, 9)[1].equal(here.search(queries, 9)[1])

    def test_damaged_and_missing_files(self, tmp_path, url):
        make_memory(tmp_path)
        with pytest.raises(
            ArchiveError, match="No region memory was found at memory://bucket/regions"
        ):
            open_memory(url)
        fs = upload(tmp_path / "memory")
        data = fs.cat_file("/bucket/regions/keys/keys_1.npy")
        fs.pipe_file("/bucket/regions/keys/keys_1.npy", data[:-1] + b"x")
        memory = open_memory(url)
        with pytest.raises(ArchiveError, match=r"Cannot fetch keys/keys_1\.npy.*checksum"):
            memory.search(queries_for(memory, 1), 2)
        fs.pipe_file("/bucket/regions/keys/keys_1.npy", data * 400)
        with pytest.raises(ArchiveError, match=r"keys_1\.npy.*more than"):
            memory.search(queries_for(memory, 1), 2)
        fs.pipe_file("/bucket/regions/shards/shard_0.json", b"{}")
        with pytest.raises(ArchiveError, match="is damaged"):
            open_memory(url)

    def test_foreign_names_are_not_fetched(self, tmp_path, url, monkeypatch):
        make_memory(tmp_path)
        fs = upload(tmp_path / "memory")
        names = [
            "/bucket/regions/shards/shard_0.json",
            "/x/../../evil.json",
            "shards/shard_01.json",
        ]
        monkeypatch.setattr(fs, "ls", lambda path, detail: names)
        assert open_memory(url).summary().shards == 1


class TestDamage:
    def test_verify_finds_changed_bytes(self, tmp_path):
        make_memory(tmp_path)
        good = verify_memory(tmp_path / "memory")
        assert (good.what, good.checked, good.unchecked) == ("region memory", 3 * 4 + 3 + 1, 0)
        assert good.problems == ()
        path = tmp_path / "memory/values/values_1.npy"
        data = bytearray(path.read_bytes())
        data[-3] ^= 1
        path.write_bytes(data)
        (tmp_path / "memory/regions/regions_2.parquet").unlink()
        problems = verify_memory(tmp_path / "memory").problems
        assert len(problems) == 2
        assert "regions_2.parquet cannot be read" in problems[1]
        assert "values_1.npy is damaged" in problems[0]

    @pytest.mark.parametrize("part", ["keys", "values"])
    def test_arrays_are_checked_when_a_memory_is_opened(self, tmp_path, part):
        make_memory(tmp_path)
        path = tmp_path / "memory" / part / f"{part}_0.npy"
        path.write_bytes(path.read_bytes()[:-2])
        with pytest.raises(ArchiveError, match=rf"{part}_0\.npy is not a readable array"):
            open_memory(tmp_path / "memory")
        np.save(path, np.zeros((2, 3), np.float16))
        with pytest.raises(ArchiveError, match=r"holds float16 \(2, 3\)\. Expected float16 \(15"):
            open_memory(tmp_path / "memory")

    def test_changed_markers_and_manifests_are_refused(self, tmp_path):
        make_memory(tmp_path)
        for name in ("shards/shard_0.json", "manifest.json"):
            path = tmp_path / "memory" / name
            good = path.read_bytes()
            path.write_bytes(good.replace(b'"regions": ', b'"regions": 1'))
            with pytest.raises(ArchiveError, match="is damaged"):
                RegionMemory.open(tmp_path / "memory")
            path.write_bytes(good)
        assert len(RegionMemory.open(tmp_path / "memory")) == 39


def rewritten(root, part, change):
    """Change a table of a memory, and the checksum in its marker, as a stranger can."""
    path = root / part / f"{part}_0.parquet"
    pq.write_table(change(pq.read_table(path)), path)
    marker = root / "shards" / "shard_0.json"
    fields = json.loads(marker.read_text())
    del fields["checksum"]
    fields["checksums"][part] = checksum(path.read_bytes())
    marker.write_bytes(sealed(fields))


def with_column(name, make):
    def change(table):
        place = table.schema.get_field_index(name)
        values = pa.array(make(table[name].to_pylist()), table.schema.field(name).type)
        return table.set_column(place, name, values)

    return change


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("photos", with_column("regions", lambda all_: [2**31 - 1] * len(all_)), "not those of"),
        ("photos", with_column("regions", lambda all_: [-1] * len(all_)), "not those of"),
        ("regions", with_column("photo", lambda all_: [99] * len(all_)), "not those of"),
        ("regions", with_column("photo", lambda all_: [-1] * len(all_)), "not those of"),
        ("photos", with_column("image_path", lambda all_: ["x" * 2**21] * len(all_)), "bytes"),
        ("photos", lambda table: table.drop_columns(["photo_id"]), "Expected `photo_id`"),
        ("regions", lambda table: pa.concat_tables([table] * 3), "rows. Expected"),
    ],
)
def test_tables_that_would_fill_the_memory_are_refused(tmp_path, part, change, message):
    make_memory(tmp_path)
    rewritten(tmp_path / "memory", part, change)
    memory = open_memory(tmp_path / "memory")
    with pytest.raises(ArchiveError, match=message):
        memory.photo_id(0), memory.region(0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", 0),
        ("size", 10**9),
        ("regions", -1),
        ("photos", 10**12),
        ("dim", 10**12),
        ("dim", 0),
        ("dim", 60_000),  # each may have it, but not their row
    ],
)
def test_numbers_of_manifests_are_bounded(tmp_path, field, value):
    make_memory(tmp_path)
    path = tmp_path / "memory" / "manifest.json"
    fields = json.loads(path.read_text())
    del fields["checksum"]
    for info in fields["phi"] if field == "dim" else [fields]:
        info[field] = value
    path.write_bytes(sealed(fields))
    with pytest.raises(ArchiveError, match=r"is damaged .*[Ee]xpected .*[01] to"):
        open_memory(tmp_path / "memory")
