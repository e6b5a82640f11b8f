"""The record of a run: lines count beside their own settings only, whenever a run was killed."""

import errno
import json
import os

import pytest

from recoseg.errors import FileError, OutputError
from recoseg.storage import run_record as module
from recoseg.storage.json_lines import line_of, read_json_lines, write_json_lines
from recoseg.storage.run_record import RunRecord, read_run_lines

FORM = "recoseg-test-1"


class Killed(BaseException):
    pass


def work(folder, names, settings, **options):
    """A run that writes one file per name, whose content is that of the settings."""
    record = RunRecord(
        folder, "lines.jsonl", FORM, settings, what="things", entries=["files"], **options
    )
    with record:
        done = {fields.get("name") for fields in record.lines}
        for name in names:
            if name in done:
                continue
            with record.writing():
                record.expect([f"files/{name}"])
                module.write_bytes(folder / "files" / name, json.dumps(settings).encode())
                record.add({"name": name, "files": {"one": f"files/{name}"}})


def contents(folder):
    """All files but the lock; lines without the digests, in any order."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.name == ".lock":
            continue
        data = path.read_bytes()
        if path.suffix == ".jsonl":
            lines = [json.loads(line) for line in data.splitlines()]
            data = sorted(str({**line, "run": "", "line": ""}) for line in lines)
        if path.name == "settings.json":
            data = {**json.loads(data), "run": "", "checksum": ""}
        found[path.relative_to(folder).as_posix()] = data
    return found


class Steps:
    """Stops before the given step among all calls that change something on the disk."""

    NAMES = ("write_bytes", "write_json_lines", "remove_leftovers", "_replace")

    def __init__(self, monkeypatch, last):
        self.count, self.last, self.dead = 0, last, False
        for name in self.NAMES:
            monkeypatch.setattr(module, name, self.stepping(getattr(module, name)))
        for name in ("unlink", "rmdir"):
            monkeypatch.setattr(module.Path, name, self.stepping(getattr(module.Path, name)))
        real = RunRecord.add
        monkeypatch.setattr(RunRecord, "add", self.stepping(real))
        # A killed process cleans nothing up.
        close = RunRecord._close
        monkeypatch.setattr(RunRecord, "_close", lambda one: None if self.dead else close(one))

    def stepping(self, real):
        def call(*arguments, **options):
            if not self.dead:
                self.count += 1
                if self.count > self.last:
                    self.dead = True
                    raise Killed
            return real(*arguments, **options)

        return call


A, B = {"bank": "a"}, {"bank": "b"}


@pytest.mark.parametrize("second", [A, B], ids=["equal settings", "other settings"])
@pytest.mark.parametrize("first_killed", [None, 4, 7, 9], ids=lambda at: f"first killed at {at}")
def test_killed_before_any_step_of_replacing(tmp_path, monkeypatch, first_killed, second):
    """A run of three files, whole or killed, is replaced by one of two files, killed anywhere."""
    work(tmp_path / "expected", ["1", "4"], second)
    step, stopped = 0, True
    while stopped:
        folder = tmp_path / str(step)
        stopped = False
        for names, settings, last, options in (
            (["1", "2", "3"], A, first_killed, {}),
            (["1", "4"], second, step, {"overwrite": True}),
        ):
            with monkeypatch.context() as patch:
                if last is not None:
                    Steps(patch, last)
                try:
                    work(folder, names, settings, **options)
                    stopped = False
                except Killed:
                    stopped = True
        settings = folder / "settings.json"
        kept = json.loads(settings.read_text()) if settings.is_file() else {}
        untouched = kept.get("run") == run_of(A)
        if untouched and second != A:
            with pytest.raises(OutputError, match=r"made with other settings \(bank\)"):
                work(folder, ["1", "4"], second, resume=True)
        work(folder, ["1", "4"], second, resume=not untouched, overwrite=untouched)
        assert contents(folder) == contents(tmp_path / "expected"), step
        step += 1
    assert step > 8


def run_of(settings):
    """The digest of the first run of these settings in a folder."""
    text = json.dumps([FORM, settings, ""], sort_keys=True)
    return module.checksum(text.encode())[:16]


def test_lines_of_other_settings_never_count(tmp_path):
    """Lines that a killed run has left beside settings that another one has written."""
    work(tmp_path, ["1", "2"], A)
    lines = (tmp_path / "lines.jsonl").read_bytes()
    work(tmp_path, ["1"], B, overwrite=True)
    with (tmp_path / "lines.jsonl").open("ab") as file:
        file.write(lines)
    (tmp_path / "files/2").write_bytes(b"of a")
    work(tmp_path, ["1", "3"], B, resume=True)
    assert sorted(path.name for path in (tmp_path / "files").iterdir()) == ["1", "3"]
    assert [fields["name"] for fields in read_run_lines(tmp_path, "lines.jsonl")] == ["1", "3"]


def test_only_files_that_lines_name_are_removed(tmp_path):
    outside = tmp_path / "mine.txt"
    folder = tmp_path / "out"
    work(folder, ["1"], A)
    (folder / "files/notes.txt").write_text("mine")
    (folder / "link").symlink_to(tmp_path)
    outside.write_text("mine")
    run = json.loads((folder / "settings.json").read_text())["run"]
    names = ["../mine.txt", str(outside), "link/mine.txt", "settings.json", ".", "files", "", 3]
    with (folder / "lines.jsonl").open("ab") as file:
        file.write(line_of({"run": run, "name": "x", "files": names}))
        file.write(line_of({"run": run, "name": "y", "files": {"a": names[0]}}))
        file.writelines(line_of({"run": run, "files": files}) for files in (None, 3, "x", [[]]))
    work(folder, ["1"], A, resume=True)
    work(folder, ["1"], A, overwrite=True)
    assert outside.read_text() == (folder / "files/notes.txt").read_text() == "mine"
    assert (folder / "files/1").is_file()


def test_a_file_of_lines_that_is_a_link_is_not_written(tmp_path):
    folder, outside = tmp_path / "out", tmp_path / "mine.txt"
    work(folder, ["1"], A)
    outside.write_text("mine\n")
    for name in ("lines.jsonl", ".unfinished"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(outside)
        with pytest.raises(FileError, match="leaves the folder"):
            work(folder, ["1"], A, resume=True)
        (folder / name).unlink()
    assert outside.read_text() == "mine\n"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_disk_that_fails_keeps_what_is_finished(tmp_path, monkeypatch, code):
    real = module.write_bytes

    def fail(path, data):
        if path.name == "2":
            raise OSError(code, os.strerror(code))
        real(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_bytes", fail)
        with pytest.raises(OutputError, match=rf"{os.strerror(code)}\. What is finished is kept"):
            work(tmp_path, ["1", "2"], A)
    assert [fields["name"] for fields in read_run_lines(tmp_path, "lines.jsonl")] == ["1"]
    work(tmp_path, ["1", "2"], A, resume=True)
    work(tmp_path / "expected", ["1", "2"], A)
    expected = contents(tmp_path / "expected")
    assert {name: contents(tmp_path)[name] for name in expected} == expected


@pytest.mark.parametrize("text", ["[]", "null", "", "{", "[" * 100_000, "\xff"])
def test_damaged_settings_are_an_error(tmp_path, text):
    work(tmp_path, ["1"], A)
    (tmp_path / "settings.json").write_text(text, encoding="latin-1")
    for options in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(OutputError, match=r"settings\.json .*is not known what wrote"):
            work(tmp_path, ["1"], A, **options)


def test_damaged_lines_are_left_out(tmp_path):
    work(tmp_path, ["1", "2"], A)
    path = tmp_path / "lines.jsonl"
    whole = path.read_bytes()
    path.write_bytes(b"\xff{\n[]\nnull\n" + b"[" * 100_000 + b"\n" + whole[:-1])
    with RunRecord(tmp_path, path.name, FORM, A, what="things", resume=True) as record:
        assert [fields["name"] for fields in record.lines] == ["1"]  # the last is cut off
    assert path.read_bytes() == whole[: whole.index(b"\n") + 1]


NAMES = ["talk\u2028notes", "next\x85line", "caf\udce9", "été", "a\nb", "\x1c"]


def test_lines_hold_any_name(tmp_path):
    path = tmp_path / "x.jsonl"
    write_json_lines(path, ({"name": name} for name in NAMES))
    assert [fields["name"] for fields in read_json_lines(path)] == NAMES
    assert len(path.read_bytes().decode().splitlines()) == len(NAMES)  # for other programs
    assert "été" in path.read_text("utf-8")


def test_long_lines_are_damaged_and_the_next_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("recoseg.storage.json_lines.MAX_LINE", 100)
    path = tmp_path / "x.jsonl"
    write_json_lines(path, [{"name": "x" * 1000}, {"name": "y"}])
    assert list(read_json_lines(path)) == [None, {"name": "y"}]
