"""`make bench` names what has become slower."""

import json
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def guard(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import guard

    times = {"ours": 1.0}

    @contextmanager
    def product():
        """Against something."""
        yield (lambda: "ours"), (lambda: "theirs")

    def alternately(runs, repeats):
        return [times[runs[0]()], 2.0]

    import measuring

    monkeypatch.setattr(measuring, "alternately", alternately)
    monkeypatch.setattr(guard, "ROWS", (product,))
    monkeypatch.setattr(guard, "STORED", tmp_path / "ratios.json")
    monkeypatch.setattr(sys, "argv", ["guard.py"])
    monkeypatch.setattr("recoseg.allocator.keep_freed_memory", lambda: None)
    monkeypatch.setattr("recoseg.cores.share_cores", lambda: None)
    yield guard, times
    for name in ("guard", "measuring"):
        sys.modules.pop(name, None)


def test_ratios_are_stored_and_a_fall_is_named(guard, monkeypatch, capsys):
    module, times = guard
    monkeypatch.setattr(sys, "argv", ["guard.py", "--store"])
    assert module.main() == 0
    assert json.loads(module.STORED.read_text())["ratios"] == {"product": 2.0}
    monkeypatch.setattr(sys, "argv", ["guard.py"])
    times["ours"] = 1.2  # 1.67 times as fast: a sixth is lost
    assert module.main() == 0
    times["ours"] = 1.3  # 1.54
    assert module.main() == 1
    assert "product: 1.54, was 2.00: slower by a fifth." in capsys.readouterr().out


def test_a_ratio_that_was_never_stored_is_no_fall(guard):
    module, _ = guard
    assert module.main() == 0
    assert module.fallen({"new": 0.1, "old": 0.79}, {"old": 1.0}) == ["old"]


def test_every_stored_ratio_has_its_row():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import guard
    finally:
        sys.path.remove(str(BENCHMARKS))
        sys.modules.pop("guard", None)
    stored = json.loads(guard.STORED.read_text())
    assert set(stored["ratios"]) == {row.__name__ for row in guard.ROWS}
    assert all(ratio > 0 for ratio in stored["ratios"].values())


@pytest.mark.parametrize("row", ["cosegmentation", "pamr", "searching", "regions"])
def test_both_sides_of_a_row_run(row, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    import guard

    with getattr(guard, row)() as runs:
        assert len(runs) == 2
        for run in runs:  # none raises an error
            run()
    for name in set(sys.modules) - before:
        if (BENCHMARKS / f"{name}.py").exists():
            del sys.modules[name]
