"""Files on disk: names stay in their folder, reads end, writes are whole, changes are noticed."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from recoseg.errors import FileError, MissingFileError, OptionError, OutputError
from recoseg.storage import arrays
from recoseg.storage.atomic import TEMPORARY, remove_leftovers, write_atomically, write_bytes
from recoseg.storage.checksums import check_file, file_checksum
from recoseg.storage.claim import claim, format_in
from recoseg.storage.locks import lock_file
from recoseg.storage.paths import inside
from recoseg.storage.reading import parse_json, read_bytes, read_json, read_lines, read_text
from recoseg.storage.tensors import has_checksum, read_metadata, read_tensors, write_tensors


@pytest.mark.parametrize(
    "name",
    [
        *("../x", "a/../../x", "/etc/passwd", "..", "a/..", "C:/x", "C:x", r"..\x", r"\\host\x"),
        *("", ".", "\0", "a\0b", None, 3, ["x"]),
    ],
)
def test_names_that_leave_the_folder(tmp_path, name):
    with pytest.raises(FileError):
        inside(tmp_path, name)


@pytest.mark.parametrize("name", ["x", "a/b.png", "..x", "a..b/c", "été/a::b.jpg", "./x"])
def test_names_within_the_folder(tmp_path, name):
    assert inside(tmp_path, name) == tmp_path / name


def test_links_that_leave_the_folder(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "out").symlink_to(tmp_path)
    (tmp_path / "folder" / "loop").symlink_to("loop")
    for name in ("out/x", "out", "loop/x"):
        with pytest.raises(FileError, match="leaves the folder"):
            inside(tmp_path / "folder", name)
    (tmp_path / "link").symlink_to(tmp_path / "folder")  # the folder itself may be a link
    assert inside(tmp_path / "link", "x") == tmp_path / "link" / "x"


def test_reads_are_bounded(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    assert read_bytes(tmp_path / "file", 5) == b"12345"
    with pytest.raises(FileError, match="more than 4 bytes"):
        read_bytes(tmp_path / "file", 4)
    with pytest.raises(MissingFileError, match="No file was found"):
        read_bytes(tmp_path / "none", 4)
    with pytest.raises(FileError, match="cannot be read"):
        read_bytes(tmp_path, 4)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes by name here")
def test_what_is_no_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(FileError, match="not a regular file"):
            read_bytes(path, 4)


def test_texts(tmp_path):
    path = tmp_path / "text"
    path.write_bytes("\ufeffa\u2028b\r\nc\n\nd".encode())
    assert read_lines(path) == ["a\u2028b", "c", "", "d"]
    path.write_bytes(b"")
    assert read_lines(path) == []
    path.write_bytes(b"\xff")
    with pytest.raises(FileError, match="not UTF-8"):
        read_text(path)


@pytest.mark.parametrize("text", ["[]", "null", "3", '"a"', "{", "", "[" * 100_000, "nan"])
def test_json_that_is_no_object(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(FileError, match="damaged"):
        read_json(tmp_path / "x.json")
    assert parse_json('{"a": 1}', "x") == {"a": 1}


def test_writes_leave_nothing_behind(tmp_path):
    def fail(file):
        file.write(b"half")
        raise KeyError("x")

    write_bytes(tmp_path / "a", b"old")
    with pytest.raises(KeyError):
        write_atomically(tmp_path / "a", fail)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_leftovers_of_a_file_or_of_all(tmp_path, monkeypatch):
    def killed(file):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.unlink", lambda *_, **__: None)
    for name in ("a", "b"):
        with pytest.raises(KeyboardInterrupt):
            write_atomically(tmp_path / name, killed)
    monkeypatch.undo()
    assert len(list(tmp_path.glob(f"{TEMPORARY}*"))) == 2
    remove_leftovers(tmp_path, "a")
    assert len(list(tmp_path.glob(f"{TEMPORARY}*"))) == 1
    remove_leftovers(tmp_path)
    assert not list(tmp_path.iterdir())
    remove_leftovers(tmp_path / "none")


def test_writers_of_one_file_do_not_mix(tmp_path):
    def write(byte):
        for _ in range(20):
            write_atomically(tmp_path / "x", lambda f: [f.write(byte) for _ in range(1000)])

    threads = [threading.Thread(target=write, args=(byte,)) for byte in (b"a", b"b")]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if (tmp_path / "x").exists():
            assert (tmp_path / "x").read_bytes() in (b"a" * 1000, b"b" * 1000)
    for thread in threads:
        thread.join()
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_checksums_of_files(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    known = file_checksum(tmp_path / "x")
    check_file(tmp_path / "x", known)
    (tmp_path / "x").write_bytes(b"abd")
    with pytest.raises(FileError, match="x is damaged: its checksum"):
        check_file(tmp_path / "x", known)
    with pytest.raises(FileError, match="cannot be read"):
        check_file(tmp_path / "y", known)


TENSORS = {
    "a": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "half": torch.ones(3, dtype=torch.bfloat16),
    "empty": torch.empty(0, 4),
    "one": torch.tensor(7),
}


def test_tensors_and_metadata(tmp_path):
    path = tmp_path / "x.safetensors"
    write_tensors(path, TENSORS, {"format": "x"})
    tensors, metadata = read_tensors(path)
    assert metadata == read_metadata(path) == {"format": "x"}
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert has_checksum(path)


def test_equal_tensors_and_metadata_give_equal_files(tmp_path):
    path = tmp_path / "x.safetensors"
    metadata = {name: name for name in "zyxwvuts"}
    found = set()
    for order in (metadata, dict(reversed(metadata.items()))):
        for _ in range(3):
            write_tensors(path, TENSORS, order)
            found.add(path.read_bytes())
    assert len(found) == 1
    data = found.pop()
    assert int.from_bytes(data[:8], "little") % 8 == 0
    assert read_metadata(path) == metadata


def test_each_changed_bit_of_a_tensor_file_is_noticed(tmp_path):
    path = tmp_path / "x.safetensors"
    write_tensors(path, TENSORS, {"format": "x", "note": "déjà"})
    whole = path.read_bytes()
    unnoticed = []
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        try:
            tensors, metadata = read_tensors(path)
        except FileError:
            continue
        # Only bits that change nothing of what is read may pass, and those of the checksum's name.
        same = all(
            tensors[name].dtype == TENSORS[name].dtype and torch.equal(tensors[name], TENSORS[name])
            for name in TENSORS
        )
        if not same or {key: metadata.get(key) for key in ("format", "note")} != {
            "format": "x",
            "note": "déjà",
        }:
            unnoticed.append(at)
    assert not unnoticed
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(FileError):
            read_tensors(path)


def test_a_folder_belongs_to_one_run(tmp_path):
    def ask(**options):
        return claim(tmp_path, "recoseg-masks-1", ["labels", "x"], what="masks", **options)

    assert ask() is False
    (tmp_path / "notes.txt").write_text("mine")
    assert ask() is ask(resume=True) is ask(overwrite=True) is False
    (tmp_path / "settings.json").write_text('{"format": "recoseg-masks-1"}')
    assert format_in(tmp_path) == "recoseg-masks-1"
    with pytest.raises(OutputError, match=r"masks of an earlier run.*--resume.*--overwrite"):
        ask()
    assert ask(resume=True) is ask(overwrite=True) is True
    with pytest.raises(OptionError, match="got both"):
        ask(resume=True, overwrite=True)


MESSAGES = ("holds labels, which this command did not write", "is not known what wrote")


@pytest.mark.parametrize("mark", ['{"format": "other"}', "[]", "null", "{}", '{"format": 3}', "{"])
def test_files_of_others_are_not_taken(tmp_path, mark):
    (tmp_path / "settings.json").write_text(mark)
    assert format_in(tmp_path) is None
    assert not claim(tmp_path, "recoseg-masks-1", ["labels"], what="masks", overwrite=True)
    (tmp_path / "labels").mkdir()
    for option in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(OutputError, match=MESSAGES[mark in ("[]", "null", "{")]):
            claim(tmp_path, "recoseg-masks-1", ["labels"], what="masks", **option)


@pytest.mark.parametrize("option", [{}, {"resume": True}, {"overwrite": True}])
@pytest.mark.parametrize("mark", ["manifest.json", "settings.json", "pseudo_labels.json"])
def test_outputs_of_two_commands_are_not_mixed(tmp_path, mark, option):
    (tmp_path / mark).write_text('{"format": "recoseg-index"}')
    for _ in range(2):
        with pytest.raises(OutputError, match=rf"output of another command of recoseg, as {mark}"):
            claim(tmp_path, "recoseg-masks-1", ["labels"], what="masks", **option)
        # Neither is a folder accepted in which both have written already.
        other = "manifest.json" if mark == "settings.json" else "settings.json"
        (tmp_path / other).write_text('{"format": "recoseg-masks-1"}')


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("there", [True, False])
def test_an_output_folder_with_a_link_to_elsewhere_is_refused(tmp_path, marked, there):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "labels").symlink_to(tmp_path / "elsewhere")
    if there:
        (tmp_path / "elsewhere").mkdir()
    if marked:
        (folder / "settings.json").write_text('{"format": "recoseg-masks-1"}')
    with pytest.raises(FileError, match="leaves the folder"):
        claim(folder, "recoseg-masks-1", ["labels"], what="masks", overwrite=True)


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "out/.bank.lock").symlink_to(tmp_path / "mine")
    with pytest.raises(FileError, match="leaves the folder"), lock_file(tmp_path / "out/bank"):
        pass
    assert (tmp_path / "mine").read_text() == "mine"


def test_one_thread_at_a_time_parses_headers_of_arrays(tmp_path, monkeypatch):
    np.save(tmp_path / "array.npy", np.zeros((7, 3), np.float16))
    working, together = [], []

    def slow(file):
        working.append(1)
        together.append(len(working))
        time.sleep(0.002)
        working.pop()
        return np.lib.format.read_array_header_1_0(file)

    monkeypatch.setitem(arrays._READERS, (1, 0), slow)
    with ThreadPoolExecutor(8) as pool:
        headers = list(pool.map(arrays.array_header, [tmp_path / "array.npy"] * 16))
    assert {header.shape for header in headers} == {(7, 3)}
    assert together == [1] * 16
