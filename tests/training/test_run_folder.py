"""Folders of runs: one writer, the newest whole checkpoint, and nothing else removed or left."""

import errno
import logging
import os
import signal
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recoseg.errors import DatasetError, FileError, OptionError, OutputError, RecosegError
from recoseg.pipeline.train import export_onnx
from recoseg.pipeline.train import train as train_by_name
from recoseg.storage.locks import lock_file, lock_folder
from recoseg.training import checkpoints
from recoseg.training.checkpoints import CheckpointFile, damage, newest_whole
from recoseg.training.data import TrainingStream
from recoseg.training.rounds import train_rounds
from recoseg.training.run_folder import open_run
from recoseg.training.trainer import Machines, train
from recoseg.training.training_set import readable
from tests.training.runs import CPU, files, quick, resume, same, write_pairs

LAST = "checkpoints/step=6.ckpt"


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A finished run of six steps of which all checkpoints were kept, its data and its model."""
    root = tmp_path_factory.mktemp("kept")
    data = write_pairs(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "remove_others", lambda folder, step: None)
        patch.setattr("recoseg.training.trainer.remove_others", lambda folder, step: None)
        model = train(data, quick(), root / "run", machines=CPU, checkpoint_every=2)
    return root / "run", data, model


@pytest.fixture
def copied(kept, tmp_path):
    """A copy of that run without its model, as a killed run leaves it."""
    folder, data, model = kept
    for name in files(folder) - {"model.safetensors"}:
        path = tmp_path / "run" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((folder / name).read_bytes())
    return tmp_path / "run", data, model


def test_checkpoints_do_not_use_the_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    train(write_pairs(tmp_path), quick(), tmp_path / "run", machines=CPU, checkpoint_every=2)
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == ["step=6.ckpt"]


@pytest.mark.parametrize("harm", ["cut", "empty", "bit", "other step", "no checkpoint", "folder"])
def test_a_damaged_newest_checkpoint_is_passed_over(copied, harm, caplog):
    folder, data, model = copied
    newest = folder / LAST
    content = newest.read_bytes()
    if harm == "cut":
        newest.write_bytes(content[: len(content) // 2])
    elif harm == "empty":
        newest.write_bytes(b"")
    elif harm == "bit":
        at = len(content) // 2
        newest.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    elif harm == "other step":
        newest.write_bytes((folder / "checkpoints/step=2.ckpt").read_bytes())
    elif harm == "no checkpoint":
        torch.save({"state_dict": {}}, newest)
    else:
        newest.unlink()
        (folder / "checkpoints/step=9.ckpt").mkdir()
    (folder / "checkpoints/step=abc.ckpt").write_bytes(b"mine")
    (folder / "checkpoints/step=7.ckpt.bak").write_bytes(b"mine")
    with caplog.at_level(logging.WARNING):
        assert same(resume(folder, data), model)
    told = [text for text in caplog.messages if "The run continues from step 4" in text]
    assert len(told) == (harm != "folder")
    assert {name for name in files(folder) if name.startswith("checkpoints/")} == {
        LAST,
        "checkpoints/step=abc.ckpt",
        "checkpoints/step=7.ckpt.bak",
    }


def test_without_a_whole_checkpoint_there_is_one_line(copied):
    folder, data, _ = copied
    for path in (folder / "checkpoints").iterdir():
        path.write_bytes(b"")
    with pytest.raises(FileError, match=r"step=6\.ckpt is damaged.*--overwrite") as caught:
        resume(folder, data)
    assert "\n" not in str(caught.value)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_changed_bit_of_a_checkpoint_changes_what_is_read(kept, tmp_path, draw):
    whole = kept[0] / LAST
    content = bytearray(whole.read_bytes())
    at = draw.draw(st.integers(0, 8 * len(content) - 1))
    content[at // 8] ^= 1 << at % 8
    path = tmp_path / whole.name
    path.write_bytes(content)
    if damage(path) is None:  # the bit is one of those that fill the archive up
        one, other = (torch.load(file, weights_only=True) for file in (path, whole))
        assert repr(one) == repr(other)


def test_what_killed_writers_have_left_is_removed(copied):
    folder, data, model = copied
    for name in (".tmp-1", "checkpoints/.tmp-2", "previews/.tmp-3"):
        (folder / name).write_bytes(b"half")
    (folder / "logs/from_4").mkdir()
    (folder / "logs/from_4/metrics.csv").write_bytes(b"loss,step\n1.0,")
    (folder / LAST).unlink()
    assert same(resume(folder, data), model)
    left = files(folder)
    assert not {name for name in left if ".tmp-" in name}
    assert {name for name in left if name.startswith("checkpoints/")} == {LAST}
    lines = (folder / "logs/from_4/metrics.csv").read_text().splitlines()
    assert len(lines) > 1
    assert len({line.count(",") for line in lines}) == 1
    assert sum("from_4/events" in name for name in left) == 1


def test_a_second_process_is_refused(copied):
    folder, data, _ = copied
    before = files(folder)
    with lock_folder(folder), ThreadPoolExecutor(1) as pool:
        other = pool.submit(resume, folder, data)
        with pytest.raises(OutputError, match="Another process is writing to"):
            other.result()
    assert files(folder) == before


def test_overwriting_removes_what_a_run_has_written_and_nothing_else(copied):
    folder, data, _ = copied
    own = {"notes.txt", "checkpoints/step=x.ckpt", "logs/other/metrics.csv", "previews/a.jpg"}
    for name in own:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"--resume.*--overwrite"):
        train(data, quick(), folder, machines=CPU)
    with pytest.raises(OptionError, match="either --resume or --overwrite"):
        train(data, quick(), folder, machines=CPU, resume=True, overwrite=True)
    before = files(folder)
    train(data, quick(iterations=2), folder, machines=CPU, overwrite=True)
    events = {name for name in files(folder) | before if "events" in name}
    assert files(folder) - events == own | {
        *(".lock", "settings.json", "left_out.json", "classes.txt", "model.safetensors"),
        *("checkpoints/step=2.ckpt", "logs/from_0/metrics.csv", "logs/from_0/hparams.yaml"),
        "previews/000001.jpg",
    }
    assert all((folder / name).read_bytes() == b"mine" for name in own)


def test_a_link_out_of_the_folder_is_not_followed_when_overwriting(copied, tmp_path):
    folder, data, _ = copied
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/000001.jpg").write_bytes(b"mine")
    for path in (folder / "previews").iterdir():
        path.unlink()
    (folder / "previews").rmdir()
    (folder / "previews").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileError, match="leaves the folder"):
        train(data, quick(), folder, machines=CPU, overwrite=True)
    assert (tmp_path / "elsewhere/000001.jpg").read_bytes() == b"mine"
    assert (folder / LAST).exists()


@pytest.mark.parametrize(
    "name", ["checkpoints", "previews", "logs", "logs/from_0", "logs/from_0/metrics.csv", "round-1"]
)
def test_a_run_does_not_write_through_links(tmp_path, name):
    out, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    (out / name).parent.mkdir(parents=True)
    (out / "settings.json").write_text('{"format": "recoseg-training-1"}')
    elsewhere.mkdir()
    if name.endswith(".csv"):
        elsewhere = elsewhere / "mine.csv"
        elsewhere.write_text("mine")
    (out / name).symlink_to(elsewhere)
    with pytest.raises(FileError, match="leaves the folder"):
        open_run(out, {}, resume=True)


@pytest.mark.parametrize("text", ["[]", "null", "", "{", "[" * 100_000, '{"format": 3}'])
@pytest.mark.parametrize("way", [{}, {"resume": True}, {"overwrite": True}])
def test_foreign_settings_are_left_alone(tmp_path, text, way):
    data = write_pairs(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/settings.json").write_text(text)
    with pytest.raises(OutputError, match=r"settings\.json.*(did not write|not known what wrote)"):
        train(data, quick(), tmp_path / "run", machines=CPU, **way)
    assert (tmp_path / "run/settings.json").read_text() == text


def test_a_run_is_not_resumed_on_other_masks(tmp_path):
    data, _ = readable(write_pairs(tmp_path))
    train(data, quick(iterations=2), tmp_path / "run", machines=CPU)
    again, _ = readable(data)
    assert again.fingerprint == data.fingerprint
    masks = [tmp_path / f"masks/{number}.png" for number in range(2)]
    contents = [path.read_bytes() for path in masks]
    for path, content in zip(masks, reversed(contents), strict=True):
        path.write_bytes(content)
    changed, _ = readable(data)
    with pytest.raises(OutputError, match=r"other settings \(training_set\)"):
        train(changed, quick(iterations=2), tmp_path / "run", machines=CPU, resume=True)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_failing_disk_keeps_the_last_checkpoint(tmp_path, monkeypatch, number):
    data, plain = write_pairs(tmp_path), checkpoints.write_atomically

    def full(path, write):
        if path.name == "step=4.ckpt":
            raise OSError(number, os.strerror(number), str(path))
        plain(path, write)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write_atomically", full)
        with pytest.raises(OutputError, match=r"keeps the checkpoint of step 2") as caught:
            train(data, quick(), tmp_path / "run", machines=CPU, checkpoint_every=2)
    assert os.strerror(number) in str(caught.value)
    assert "\n" not in str(caught.value)
    resumed = resume(tmp_path / "run", data)
    assert same(resumed, train(data, quick(), tmp_path / "whole", machines=CPU))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_photo_that_vanishes_during_the_run_is_named(tmp_path, workers):
    data = write_pairs(tmp_path)
    for number in range(6):
        (tmp_path / f"masks/{number}.png").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"^\d can no longer be trained on: its mask") as caught:
        train(data, quick(), tmp_path / "run", machines=Machines("cpu", workers=workers))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_reader_that_dies_is_told_in_one_line(tmp_path, monkeypatch):
    def die(self, position):
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(TrainingStream, "__getitem__", die)
    with pytest.raises(RecosegError, match=r"A process that reads photos has died.*--workers"):
        train(write_pairs(tmp_path), quick(), tmp_path / "run", machines=Machines("cpu", workers=1))


@pytest.mark.parametrize("name", ["checkpoint_every", "preview_every", "truth_every"])
def test_steps_of_nothing_are_refused(tmp_path, name):
    with pytest.raises(RecosegError, match="expected 1 or more"):
        train(write_pairs(tmp_path), quick(), tmp_path / "run", machines=CPU, **{name: 0})


def test_several_rounds_are_resumed_and_overwritten(tmp_path):
    data, out = write_pairs(tmp_path), tmp_path / "run"
    first = train_rounds(data, quick(iterations=2), out, rounds=2, machines=CPU)
    (out / "model.safetensors").unlink()
    again = train_rounds(data, quick(iterations=2), out, rounds=2, machines=CPU, resume=True)
    assert same(first, again)
    with pytest.raises(OutputError, match=r"other settings \(recipe\.iterations\)"):
        train_rounds(data, quick(iterations=3), out, rounds=2, machines=CPU, resume=True)
    with pytest.raises(OutputError, match=r"other settings \(several_rounds\)"):
        train_rounds(data, quick(iterations=2), out, rounds=1, machines=CPU, resume=True)
    train_rounds(data, quick(iterations=3), out, rounds=1, machines=CPU, overwrite=True)
    assert not {
        name
        for name in files(out)
        if name.startswith("round-") and not {".lock", "pseudo"} & {*name.split("/")}
    }
    assert (out / "checkpoints/step=3.ckpt").exists()


def test_an_export_has_one_writer(tmp_path, monkeypatch, run):
    monkeypatch.setattr("recoseg.training.export.export_onnx", lambda model, path: 0.0)
    out = tmp_path / "model.onnx"
    with lock_file(out), pytest.raises(OutputError, match="Another process"):
        export_onnx(run.out, out)
    assert export_onnx(run.out, out) == (out, 0.0)


def test_the_early_check_comes_before_all_photos_are_read(tmp_path, monkeypatch):
    data = write_pairs(tmp_path)
    train(data, quick(iterations=2), tmp_path / "run", machines=CPU)
    monkeypatch.setattr("recoseg.pipeline.train.readable", lambda *_, **__: pytest.fail("read"))
    with pytest.raises(OutputError, match="of an earlier run"):
        train_by_name(tmp_path / "run", masks=tmp_path / "masks", images=tmp_path / "images")


def test_a_checkpoint_in_another_thread_is_written(tmp_path):
    path = tmp_path / "step=1.ckpt"
    thread = threading.Thread(target=CheckpointFile().save_checkpoint, args=({"a": 1}, path))
    thread.start()
    thread.join()
    assert CheckpointFile().load_checkpoint(path, weights_only=False) == {"a": 1}
    CheckpointFile().remove_checkpoint(path)
    assert newest_whole(tmp_path) is None
