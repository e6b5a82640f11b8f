"""Every command has a help text that is printed quickly, and reports wrong usage."""

import re
import subprocess
import sys

import pytest

from .command import run

COMMANDS = [
    "doctor",
    "fetch",
    "index",
    "retrieve",
    "learn",
    "remember",
    "inspect",
    "forget",
    "segment",
    "convert",
    "serve",
    "pseudo-label",
    "train",
    "export",
    "evaluate",
    "ablate",
    "verify",
    "datasets",
    "encoders",
    "demo",
]


class TestHelp:
    def test_all_commands_are_listed(self):
        result = run("--help")
        assert result.code == 0
        for command in COMMANDS:
            assert re.search(rf"^\s+{command}\s+\w", result.out, re.MULTILINE), command

    @pytest.mark.parametrize("command", COMMANDS)
    def test_each_command_explains_itself(self, command):
        result = run(command, "--help")
        assert result.code == 0
        assert re.search(rf"Usage: .*{command} \[OPTIONS\]", result.out)

    def test_help_is_quick(self):
        code = (
            "import sys; sys.argv = ['recoseg', '--help']\n"
            "from recoseg.cli import main\n"
            "try: main()\n"
            "except SystemExit as stop: assert not stop.code\n"
            "heavy = {'torch', 'timm', 'open_clip', 'transformers', 'numpy'} & set(sys.modules)\n"
            "assert not heavy, heavy\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def test_the_table_of_encoders(self):
        result = run("encoders")
        assert result.code == 0
        assert "lite" in result.out
        assert "NAME=random" in result.out


@pytest.mark.parametrize("arguments", [["nonsense"], ["segment"], ["index", "--out"]])
def test_wrong_usage(arguments):
    result = run(*arguments)
    assert result.code == 2
    assert "Traceback" not in result.err
