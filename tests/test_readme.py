"""What README and docs say is so: snippets run, options exist, links lead somewhere."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

from recoseg.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page):
    commands = typer.main.get_command(app).commands
    for line in re.findall(r"^recoseg .*$", page.read_text(encoding="utf-8"), re.MULTILINE):
        words = shlex.split(line)
        assert words[1] in commands, line
        known = {option for item in commands[words[1]].params for option in item.opts}
        assert {word for word in words if word.startswith("-")} <= known, line


def test_the_python_snippet_runs(tmp_path, monkeypatch, capsys):
    from tests.segmentation.fakes import ColourEncoder, make_bank

    bank = make_bank()
    bank.save(tmp_path / "bank.safetensors")
    Image.fromarray(np.full((40, 60, 3), (255, 0, 0), np.uint8)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    for role, info in (("phi", bank.encoders.phi[0]), ("saliency", bank.encoders.saliency)):
        monkeypatch.setattr(
            f"recoseg.segmentation.bank_encoders.build_{role}",
            lambda spec, compute, stride=info.stride: ColourEncoder(stride),
        )
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    exec(snippet, {})
    assert "(40, 60) {'red': 1.0}" in capsys.readouterr().out
    with Image.open(tmp_path / "red.png") as mask:
        assert mask.size == (60, 40)
        assert mask.getextrema() == (255, 255)
