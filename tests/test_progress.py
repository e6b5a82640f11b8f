import re

import pytest

from recoseg import progress
from recoseg.progress import StageProgress


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
