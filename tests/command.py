"""The command line as tests call it."""

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

import recoseg.cli


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


def run(*arguments: object) -> Result:
    """Call `main` as the installed program does; nothing but an exit may come out of it."""
    arguments = [str(argument) for argument in arguments]
    runner = CliRunner()
    with pytest.MonkeyPatch.context() as patch, runner.isolation() as streams:
        patch.setattr(sys, "argv", ["recoseg", *arguments])
        patch.setattr("recoseg.cli.keep_freed_memory", lambda: None)
        patch.setattr("recoseg.cli.share_cores", lambda: None)
        patch.setattr("recoseg.cli.collect_after_imports", lambda: None)
        patch.setattr("recoseg.cli.end_without_collecting", lambda: None)
        code = 0
        try:
            recoseg.cli.main()
        except SystemExit as stop:
            if isinstance(stop.code, str):
                print(stop.code, file=sys.stderr)
            code = stop.code if isinstance(stop.code, int) else int(bool(stop.code))
        sys.stdout.flush()
        sys.stderr.flush()
        return Result(code, *(streams[at].getvalue().decode() for at in (0, 1)))


@dataclass(frozen=True)
class Session:
    root: Path

    def __truediv__(self, name: str) -> Path:
        return self.root / name
