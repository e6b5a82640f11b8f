"""Writing banks: two processes never lose a class or mix bytes, and what was learnt is kept."""

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import recoseg
from recoseg.concepts import ConceptBank
from recoseg.errors import OutputError, RecosegError
from recoseg.storage.atomic import TEMPORARY, write_bytes
from recoseg.storage.locks import lock_file
from tests.command import run
from tests.learning.fakes import SIZE, Retrieval, make_archive, make_encoders
from tests.segmentation.fakes import make_bank

ROOT = Path(__file__).parents[2]
SETTINGS = {"k": 2, "image_size": SIZE, "prompts": "none", "context": ()}

WRITER = """
import sys
from tests.segmentation.fakes import make_bank
one, other = make_bank(("red", "green", "blue")), make_bank(("black", "white"))
for _ in range(int(sys.argv[2])):
    one.save(sys.argv[1])
    other.save(sys.argv[1])
"""

HOLDER = """
import sys
from pathlib import Path
from recoseg.storage.locks import lock_file
with lock_file(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def python(code, *arguments, **streams):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])},
        **streams,
    )


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive"), Retrieval())


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECOSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def learn(archive, classes, **options):
    return recoseg.learn(archive, classes, encoders=make_encoders(), **SETTINGS | options)


def names(path):
    return [concept.name for concept in ConceptBank.load(path).classes]


def leftovers(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(TEMPORARY)]


@pytest.mark.slow
def test_two_writers_and_a_reader(tmp_path):
    path = tmp_path / "bank.safetensors"
    make_bank(("red", "green", "blue")).save(path)
    writers = [python(WRITER, path, 80) for _ in range(2)]
    seen, reads = set(), 0
    try:
        while any(writer.poll() is None for writer in writers):
            seen.add(tuple(names(path)))
            reads += 1
    finally:
        for writer in writers:
            writer.wait()
    assert [writer.returncode for writer in writers] == [0, 0]
    assert reads > 10
    assert seen <= {("red", "green", "blue"), ("black", "white")}
    assert leftovers(tmp_path) == []


@pytest.fixture
def held(tmp_path):
    """A bank that another process is writing."""
    path = tmp_path / "bank.safetensors"
    make_bank().save(path)
    process = python(HOLDER, path, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline().strip() == b"locked"
    yield path
    process.communicate()


def test_a_second_writer_is_refused_before_the_work(held, archive, monkeypatch):
    def worked(*_, **__):
        raise AssertionError("the work has begun")

    monkeypatch.setattr("recoseg.pipeline.learn.learn_bank", worked)
    before = held.read_bytes()
    for options in ({}, {"add_to": held}):
        with pytest.raises(OutputError, match="Another process is writing to"):
            learn(archive, ["rose"], out=held, **options)
    result = run("forget", held, "red")
    assert result.code == 1
    assert "Another process is writing to" in result.err
    assert held.read_bytes() == before


ADDS = """
import sys
import recoseg
from recoseg.errors import OutputError
from tests.learning.fakes import make_encoders
index, bank, *classes = sys.argv[1:]
for name in classes:
    while True:
        try:
            recoseg.learn(index, [name], encoders=make_encoders(), out=bank, add_to=bank)
            break
        except OutputError:
            pass
"""


@pytest.mark.slow
def test_two_processes_that_add_lose_no_class(archive, tmp_path):
    path = tmp_path / "bank.safetensors"
    learn(archive, ["rose"], out=path)
    added = (["grass", "sea", "sun"], ["sky", "road", "violet"])
    processes = [python(ADDS, archive.root, path, *classes) for classes in added]
    assert [process.wait() for process in processes] == [0, 0]
    assert sorted(names(path)) == sorted(["rose", *added[0], *added[1]])


def test_what_killed_writers_left_is_removed(archive, tmp_path):
    path = tmp_path / "bank.safetensors"
    learn(archive, ["rose", "sea"], out=path)

    class Killed(BaseException):
        pass

    def killed(_):
        raise Killed

    def leave(folder):
        # As a kill leaves it: the temporary file under its own name, half written.
        other = {entry.name for entry in folder.iterdir()}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("os.fsync", killed)
            patch.setattr("pathlib.Path.unlink", lambda *_, **__: None)
            with pytest.raises(Killed):
                write_bytes(path, b"half")
        assert len({entry.name for entry in folder.iterdir()} - other) == 1

    leave(tmp_path)
    assert len(leftovers(tmp_path)) == 1
    assert run("forget", path, "sea").code == 0
    assert leftovers(tmp_path) == []
    leave(tmp_path)
    learn(archive, ["grass"], out=path, add_to=path)
    assert leftovers(tmp_path) == []
    assert names(path) == ["rose", "grass"]


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_at_the_end_does_not_lose_the_bank(archive, tmp_path, monkeypatch, cache):
    folder = tmp_path / "full"
    real = ConceptBank.save

    def save(bank, path):
        if Path(path).parent == folder:
            full()
        real(bank, path)

    monkeypatch.setattr(ConceptBank, "save", save)
    with pytest.raises(
        OutputError, match=r"No space left on device\. The bank is complete"
    ) as info:
        learn(archive, ["rose"], out=folder / "bank.safetensors")
    [rescued] = (cache / "rescued").iterdir()
    assert str(rescued) in str(info.value)
    assert names(rescued) == ["rose"]
    cache_file = tmp_path / "file"
    cache_file.write_text("no folder")
    monkeypatch.setenv("RECOSEG_CACHE", str(cache_file))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with pytest.raises(OutputError) as info:
        learn(archive, ["rose"], out=folder / "bank.safetensors")
    [rescued] = (tmp_path / "temporary").iterdir()
    assert str(rescued) in str(info.value)
    assert names(rescued) == ["rose"]
    monkeypatch.setattr(ConceptBank, "save", full)
    with pytest.raises(OutputError, match="could not be kept"):
        learn(archive, ["rose"], out=folder / "bank.safetensors")


def test_a_full_disk_for_figures_does_not_lose_the_bank(archive, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("recoseg.learning.figure_folder.write_atomically", full)
    path = tmp_path / "bank.safetensors"
    learn(archive, ["rose", "sea"], out=path, figures=tmp_path / "figures")
    assert names(path) == ["rose", "sea"]
    [line] = [line for line in caplog.text.splitlines() if "No more figures" in line]
    assert line.endswith("No space left on device.")


BAD = {
    "folder.safetensors": "is a folder",
    "pipe.safetensors": "not a regular file",
    "file/bank.safetensors": "is not a folder",
    f"{'x' * 300}.safetensors": "File name too long",
    f"{'x' * 300}/bank.safetensors": "File name too long",
}


@pytest.mark.skipif(os.name == "nt", reason="other systems have other names")
@pytest.mark.parametrize("name", BAD)
def test_bad_outputs_are_refused_before_the_work(archive, tmp_path, monkeypatch, name):
    (tmp_path / "file").write_text("a file")
    (tmp_path / "folder.safetensors").mkdir()
    os.mkfifo(tmp_path / "pipe.safetensors")
    make_bank().save(tmp_path / "bank.safetensors")
    monkeypatch.setattr("recoseg.pipeline.learn.open_index", full)
    with pytest.raises(RecosegError, match=BAD[name]):
        recoseg.learn(archive.root, ["rose"], out=tmp_path / name)
    result = run("forget", tmp_path / "bank.safetensors", "red", "--out", tmp_path / name)
    assert result.code == 1
    assert BAD[name] in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_place_without_room_is_refused_before_the_work(archive, tmp_path, monkeypatch, number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("recoseg.pipeline.checks.tempfile.TemporaryFile", refuse)
    monkeypatch.setattr("recoseg.pipeline.learn.learn_bank", full)
    with pytest.raises(RecosegError, match=rf"Cannot write .*: {os.strerror(number)}\."):
        learn(archive, ["rose"], out=tmp_path / "bank.safetensors")
    with pytest.raises(RecosegError, match="Cannot write"):
        recoseg.retrieve(archive, ["rose"], retrieval=Retrieval(), sheet=tmp_path / "s.html")
    assert list(tmp_path.glob("*.safetensors")) == []


def test_errors_of_complete_writes_name_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space") as info:
        make_bank().save(tmp_path / "bank.safetensors")
    assert info.value.filename == str(tmp_path / "bank.safetensors")


def test_the_lock_is_free_after_an_error(archive, tmp_path):
    path = tmp_path / "bank.safetensors"
    with pytest.raises(RecosegError):
        learn(archive, ["rose"], out=path, add_to=tmp_path / "none.safetensors")
    with lock_file(path):
        assert not path.exists()
    learn(archive, ["rose"], out=path)
    assert names(path) == ["rose"]
