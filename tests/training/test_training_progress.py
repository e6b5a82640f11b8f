"""What is told of a training run while it runs."""

import re

import pytest

from recoseg import progress
from recoseg.training.rounds import train_rounds
from recoseg.training.trainer import Machines, train

from .runs import quick, write_pairs


@pytest.fixture
def data(tmp_path):
    return write_pairs(tmp_path / "data")


def lines_of(text):
    return [line for line in text.splitlines() if line.startswith("Training")]


def test_lines_tell_iteration_loss_learning_rate_and_what_is_left(
    data, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(progress, "_LINE_SECONDS", 0.0)
    train(data, quick(iterations=3), tmp_path / "run", machines=Machines("cpu"), progress=None)
    lines = lines_of(capsys.readouterr().err)
    speed, loss = r"[0-9.]+ (iterations/s|s each)", r"loss [0-9.]+, learning rate [0-9.e-]+"
    for number, line in enumerate(lines[:2], 1):
        told = rf"Training: {number} of 3 iterations so far, {speed}, {loss}, about .* left"
        assert re.fullmatch(told, line), line
    assert re.fullmatch(rf"Training: 3 iterations in [0-9.]+ s, {speed}, {loss}", lines[-1])


def test_the_loss_is_that_of_the_log_whatever_the_parts_of_a_step(data, tmp_path, capsys):
    told = []
    for name, parts in (("whole", 1), ("parts", 2)):
        machines = Machines("cpu", accumulate=parts)
        chosen = quick(iterations=1, batch_size=4)
        train(data, chosen, tmp_path / name, machines=machines, progress=None)
        [line] = lines_of(capsys.readouterr().err)
        told.append(float(re.search(r"loss ([0-9.]+)", line)[1]))
    assert told[1] == pytest.approx(told[0], rel=0.5)  # batch statistics differ a little


def test_a_resumed_run_goes_on_counting(data, tmp_path, monkeypatch, capsys):
    def run(**options):
        machines, chosen = Machines("cpu"), quick(iterations=4)
        train(data, chosen, tmp_path / "run", machines=machines, checkpoint_every=1, **options)

    plain = progress.StageProgress.advance

    def advance(self, *given, **named):
        plain(self, *given, **named)
        if self.done == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(progress.StageProgress, "advance", advance)
        with pytest.raises(KeyboardInterrupt):
            run(progress=None)
    monkeypatch.setattr(progress, "_LINE_SECONDS", 0.0)
    capsys.readouterr()
    run(progress=None, resume=True)
    first, *_, last = lines_of(capsys.readouterr().err)
    assert re.match("Training: [34] (of 4 )?iterations", first)
    assert last.startswith("Training: 4 iterations in ")


def test_each_round_is_named(data, tmp_path, capsys):
    train_rounds(
        data,
        quick(iterations=1),
        tmp_path / "run",
        rounds=2,
        machines=Machines("cpu"),
        progress=None,
    )
    told = capsys.readouterr().err
    named = [line.partition(":")[0] for line in lines_of(told)]
    assert named == ["Training, round 1 of 2", "Training, round 2 of 2"]
    assert "Segmenting: 6 images" in told


def test_nothing_is_told_unless_it_is_asked_for(data, tmp_path, capsys):
    train(data, quick(iterations=1), tmp_path / "run", machines=Machines("cpu"))
    assert capsys.readouterr().err == ""


def test_a_bar_on_a_terminal_shows_the_loss(data, tmp_path, capsys):
    train(data, quick(iterations=2), tmp_path / "run", machines=Machines("cpu"), progress=True)
    told = capsys.readouterr().err
    assert "Training" in told
    assert "2/2" in told
    assert "loss" in told
