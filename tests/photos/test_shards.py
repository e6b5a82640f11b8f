"""Tar shards: nothing is lost silently, whatever is damaged, and headers cannot fill the memory."""

import gzip
import io
import tarfile
import tracemalloc

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoseg.errors import BadImageError
from recoseg.photos import shards
from recoseg.photos.reading import UnreadableError, read_photo
from recoseg.photos.refs import Photo
from recoseg.photos.shards import MAX_EXTRA, MAX_NAME, Member, read_content
from recoseg.photos.sources import list_sources
from recoseg.segmentation.each_photo import each_photo
from tests.archive.fake_encoder import FakeEncoder
from tests.building import build_index

LOCAL = fsspec.filesystem("file")
LONG = "long/" + "n" * 150 + "é.jpg"


def packed(members, form=tarfile.PAX_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def header(name, size, kind=tarfile.REGTYPE):
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.USTAR_FORMAT)


def block(data):
    return data + bytes(-len(data) % 512)


END = bytes(1024)


def content(tmp_path, data, known=True):
    (tmp_path / "x.tar").write_bytes(data)
    return read_content(LOCAL, str(tmp_path / "x.tar"), len(data) if known else -1)


def listed(path):
    [source] = list_sources([path])
    return list(source.photos)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_those_that_tarfile_finds(tmp_path, form):
    members = [("a.jpg", b"1" * 700), ("b/c.png", b""), ("b/d.json", b"{}"), ("e.jpg", bytes(512))]
    if form != tarfile.USTAR_FORMAT:
        members.insert(1, (LONG, b"22"))
    path = tmp_path / "x.tar"
    path.write_bytes(packed(members, form))
    with tarfile.open(path, "a", format=form) as tar:
        for name, kind in (("folder", tarfile.DIRTYPE), ("link.jpg", tarfile.SYMTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "a.jpg"
            tar.addfile(info)
    with tarfile.open(path) as tar:
        expected = [Member(m.name, m.offset_data, m.size) for m in tar if m.isreg()]
    found = read_content(LOCAL, str(path), path.stat().st_size)
    assert (list(found.members.values()), found.repeated, found.problem) == (expected, (), "")
    assert len(expected) == len(members)


def test_sparse_members_and_global_headers_are_passed_over(tmp_path):
    sparse = bytearray(header("s.jpg", 512, tarfile.GNUTYPE_SPARSE))
    sparse[257:265] = b"ustar  \0"
    sparse[482] = 1  # one more header with positions
    sparse[148:156] = b" " * 8
    sparse[148:156] = b"%06o\0 " % sum(sparse)
    text = b"20 comment=12345678\n"
    body = block(text)
    pax = b"30 GNU.sparse.realsize=100000\n"
    data = (
        header("pax", len(text), tarfile.XGLTYPE)
        + body
        + bytes(sparse)
        + bytes(512)
        + bytes(512)
        + header("x", len(pax), tarfile.XHDTYPE)
        + block(pax)
        + header("t.jpg", 512)
        + bytes(512)
        + header("u.jpg", 3)
        + block(b"abc")
        + END
    )
    found = content(tmp_path, data)
    assert (list(found.members), found.problem) == (["u.jpg"], "")


MEMBERS = [(f"{number}.jpg", bytes([number + 1]) * 600) for number in range(8)]
WHOLE = packed(MEMBERS, tarfile.USTAR_FORMAT)


@settings(max_examples=200)
@given(member=st.integers(0, 7), byte=st.integers(0, 511), bit=st.integers(0, 7))
def test_a_flipped_bit_in_any_header_is_told(tmp_path_factory, member, byte, bit):
    data = bytearray(WHOLE)
    data[1536 * member + byte] ^= 1 << bit
    found = content(tmp_path_factory.mktemp("tar"), bytes(data))
    assert len(found.members) == 8 or found.problem
    before = [name for name, _ in MEMBERS[:member]]
    assert list(found.members)[:member] == before, "those before stay"


@settings(max_examples=100)
@given(st.integers(0, len(WHOLE) - 1))
def test_a_cut_anywhere_is_told(tmp_path_factory, end):
    found = content(tmp_path_factory.mktemp("tar"), WHOLE[:end])
    complete = end // 1536
    assert list(found.members)[:complete] == [name for name, _ in MEMBERS[:complete]]
    assert found.problem or end > 8 * 1536


@settings(max_examples=300)
@given(
    st.binary(max_size=3000)
    | st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.binary(max_size=40)), max_size=6)
)
def test_scribbled_shards_raise_nothing_and_end(tmp_path_factory, scribble):
    data = bytearray(WHOLE if isinstance(scribble, list) else scribble)
    if isinstance(scribble, list):
        for at, junk in scribble:
            data[at : at + len(junk)] = junk
    found = content(tmp_path_factory.mktemp("tar"), bytes(data))
    assert all(member.offset >= 512 and member.size >= 0 for member in found.members.values())


def test_a_later_header_that_is_damaged(tmp_path):
    data = bytearray(WHOLE)
    data[1536 * 3 + 5] ^= 1
    (tmp_path / "x.tar").write_bytes(data)
    photos = listed(tmp_path / "x.tar")
    assert [photo.path.rpartition("::")[2] for photo in photos[:3]] == ["0.jpg", "1.jpg", "2.jpg"]
    assert [bool(photo.failure) for photo in photos] == [False, False, False, True]
    assert photos[3].path == str(tmp_path / "x.tar")
    assert "damaged or cut off at byte 4,608 (bad checksum)" in photos[3].failure
    assert photos[3].stamp, "a shard that has not changed is not tried again"


def test_without_an_end_the_members_are_used_and_the_end_is_missed(tmp_path):
    for end in (8 * 1536, 3 * 1536):
        (tmp_path / "x.tar").write_bytes(WHOLE[:end])
        *members, shard = listed(tmp_path / "x.tar")
        assert len(members) == end // 1536
        assert not any(photo.failure for photo in members)
        assert f"at byte {end:,} (the end-of-archive marker is missing)" in shard.failure
    for end in (8 * 1536 + 512, 8 * 1536 + 1024):
        assert content(tmp_path, WHOLE[:end]).problem == ""


def test_data_after_the_end_is_told(tmp_path):
    for data in (WHOLE + WHOLE, WHOLE + bytes(2 << 20) + WHOLE):
        found = content(tmp_path, data)
        assert len(found.members) == 8
        assert "data follows the end-of-archive marker" in found.problem
    overwritten = WHOLE[:1536] + bytes(512) + WHOLE[2048:]
    assert "at byte 1,536 (data follows" in content(tmp_path, overwritten).problem


def test_a_last_member_that_is_cut_off_has_its_size_in_the_reason(tmp_path):
    shard = tmp_path / "x.tar"
    shard.write_bytes(WHOLE[: 2 * 1536 + 512 + 100])
    *_, cut, end = listed(shard)
    assert cut.failure == f"cut off: 100 of 600 bytes are in {shard}"
    assert "end-of-archive marker" in end.failure
    with pytest.raises(BadImageError, match="cut off: 100 of 600 bytes"):
        read_photo(Photo(cut.path))
    assert read_photo(Photo(f"{shard}::1.jpg")) == MEMBERS[1][1]
    with pytest.raises(UnreadableError, match=r"no member '5\.jpg' in .* \(the tar shard is damag"):
        read_photo(Photo(f"{shard}::5.jpg"))


def test_of_equal_names_the_first_is_used_by_all(tmp_path):
    shard = tmp_path / "x.tar"
    shard.write_bytes(packed([("a.jpg", b"first"), ("b.jpg", b"other"), ("a.jpg", b"second")]))
    *photos, note = listed(shard)
    assert [read_photo(photo) for photo in photos] == [b"first", b"other"]
    assert [read_photo(Photo(photo.path)) for photo in photos] == [b"first", b"other"]
    assert note.path == str(shard)
    assert note.failure.startswith(
        "left out: 1 with the name of an earlier member, such as 'a.jpg'"
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (gzip.compress(WHOLE), "damaged or compressed"),
        (b"", "the file is empty"),
        (header("x", 10_000_000_000 % 0o77777777777, tarfile.XHDTYPE) + END, "more than 1,048,576"),
        (header("x", 4 << 30, tarfile.GNUTYPE_LONGNAME) + bytes(2 << 20), "more than 1,048,576"),
        (
            (header("x", 0, tarfile.XHDTYPE)) * 3000 + header("a.jpg", 0) + END,
            "more than 1,048,576",
        ),
        (header("x", 9, tarfile.XHDTYPE) + block(b"9 size=-5") + END, "damaged pax header"),
        (header("x", 11, tarfile.XHDTYPE) + block(b"11 size=-5\n") + END, "not a number"),
        (header("x", 8, tarfile.XHDTYPE) + block(b"99999999") + END, "damaged pax header"),
        (header("x", 99, tarfile.XHDTYPE) + b"cut", "a header is cut off"),
        (
            header("x", MAX_NAME + 2, tarfile.GNUTYPE_LONGNAME)
            + block(b"n" * (MAX_NAME + 1) + b"\0")
            + header("x", 0)
            + END,
            "a name of 4,097 characters",
        ),
    ],
)
def test_headers_are_bounded(tmp_path, data, reason):
    tracemalloc.start()
    found = content(tmp_path, data)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reason in found.problem
    assert not found.members
    assert most < 8 * MAX_EXTRA + len(data)


def test_a_negative_size_does_not_walk_backwards(tmp_path):
    negative = bytearray(header("a.jpg", 0))
    negative[124:136] = b"\xff" * 10 + b"\xfe\x00"  # -512 in base 256
    negative[148:156] = b" " * 8
    negative[148:156] = b"%06o\0 " % sum(negative)
    found = content(tmp_path, bytes(negative) + END)
    assert "negative size" in found.problem


def test_shards_of_unknown_size(tmp_path):
    assert content(tmp_path, WHOLE, known=False) == content(tmp_path, WHOLE)
    found = content(tmp_path, WHOLE[:2100], known=False)
    assert (list(found.members), bool(found.problem)) == (["0.jpg", "1.jpg"], True)


def test_a_shard_that_cannot_be_read_is_a_photo_with_a_reason(tmp_path, monkeypatch):
    (tmp_path / "x.tar").write_bytes(WHOLE)

    def broken(*_):
        raise ConnectionError("no route to the host")

    monkeypatch.setattr(shards, "open_file", broken)
    [photo] = listed(tmp_path / "x.tar")
    assert photo.failure == "the tar shard cannot be read: no route to the host"


def test_index_and_segment_find_the_same(tmp_path):
    """Of compressed, cut and repeating shards, and of names that are not UTF-8."""
    latin = packed([("caf\udce9.jpg", b"x"), ("plain.jpg", b"y")], tarfile.USTAR_FORMAT)
    for name, data in {
        "cut": WHOLE[:5300],
        "gz": gzip.compress(WHOLE),
        "latin": latin,
        "twice": packed([("0.jpg", b"a"), ("0.jpg", b"b")]),
    }.items():
        (tmp_path / f"{name}.tar").write_bytes(data)
    sources = [f"{tmp_path}/*.tar"]
    streamed = {photo.path: photo.failure for photo in each_photo(sources)}
    report = build_index(sources, tmp_path / "out", FakeEncoder())
    indexed = {photo.path: photo.failure for photo in report.failures}
    assert set(indexed) == set(streamed), "no photo of these can be decoded"
    told = {path: reason for path, reason in streamed.items() if reason}
    assert len(told) == 5
    assert {path: indexed[path] for path in told} == told
