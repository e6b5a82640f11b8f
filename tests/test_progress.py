import re

import pytest

from recoseg import progress
from recoseg.progress import StageProgress, resumable, telling_what_is_kept


@pytest.mark.parametrize(
    ("done", "seconds", "line"),
    [
        (6, 2.0, "Learning: 6 banks in 2.0 s, 3.0 banks/s"),
        (4, 10.0, "Learning: 4 banks in 10.0 s, 2.5 s each"),
        (0, 10.0, "Learning: 0 banks in 10.0 s, 0.0 banks/s"),
    ],
)
def test_the_final_line(monkeypatch, capsys, done, seconds, line):
    clock = iter([0.0, 0.0])
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock, seconds))
    with StageProgress("Learning", 9, unit="banks") as bar:
        if done:
            bar.advance(done)
    assert capsys.readouterr().err.strip() == line


def test_failures_are_counted(capsys):
    with StageProgress("Indexing", 2) as bar:
        bar.advance()
        bar.advance(failed=1)
    assert re.fullmatch(r"Indexing: 2 images in .*, 1 failed\n", capsys.readouterr().err)


def test_long_work_writes_a_line_every_half_minute(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now)
    with StageProgress("Indexing", 1200) as bar:
        for _ in range(12):
            now += 10
            bar.advance(100)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Indexing: 300 of 1,200 images so far, 10.0 images/s, about 90 s left"
    assert [line.split(" of ")[0] for line in lines[:4]] == [
        f"Indexing: {done}" for done in ("300", "600", "900", "1,200")
    ]
    assert lines[4] == "Indexing: 1,200 images in 120.0 s, 10.0 images/s"
    assert len(lines) == 5


@pytest.mark.parametrize(
    ("total", "left"),
    [(161, "about 4 min left"), (12_000, "about 5.7 h left"), (10, ""), (None, "")],
)
def test_a_line_tells_what_is_left(monkeypatch, capsys, total, left):
    now = 0.0
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now)
    with StageProgress("Training", total, unit="iterations") as bar:
        now += 31
        bar.advance(18)
    assert capsys.readouterr().err.splitlines()[0].endswith(left or "s each")


def test_steps_of_an_earlier_run_count_as_done_but_not_as_speed(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now)
    with StageProgress("Training", 300, unit="iterations", start=100) as bar:
        now += 50
        bar.advance(100)
        assert bar.per_second == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == ("Training: 200 of 300 iterations so far, 2.0 iterations/s, about 50 s left")
    assert lines[1] == "Training: 200 iterations in 50.0 s, 2.0 iterations/s"


def test_a_note_is_asked_for_only_where_it_is_shown(monkeypatch, capsys):
    now, asked = 0.0, []
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now)
    with StageProgress("Training", 4, unit="iterations") as bar:
        for number in range(4):
            now += 10
            bar.advance(note=lambda number=number: asked.append(number) or f"loss {number}")
    lines = capsys.readouterr().err.splitlines()
    assert asked == [2, 3]
    assert [re.search("loss [0-9]", line)[0] for line in lines] == ["loss 2", "loss 3"]


def test_nothing_is_written_when_it_is_not_enabled(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now)
    with StageProgress("Indexing", None, enabled=False) as bar:
        now += 100
        bar.advance()
    assert capsys.readouterr().err == ""


def test_an_interruption_says_what_is_kept_once(tmp_path):
    with (
        pytest.raises(KeyboardInterrupt, match=r"^Interrupted. out keeps what is done; go on with"),
        telling_what_is_kept(lambda: "never said"),
        telling_what_is_kept(lambda: resumable("out")),
    ):
        raise KeyboardInterrupt
    with pytest.raises(ValueError, match=r"^other$"), telling_what_is_kept(lambda: "never said"):
        raise ValueError("other")
