"""What README and docs say is so: names exist, links lead somewhere, pages build."""

import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

import recoseg
from recoseg.cli import app
from tests.snippets import PAGES, ROOT, blocks, name_of, prose

COMMANDS = typer.main.get_command(app).commands
OPTIONS = {
    name: {option for item in command.params for option in (*item.opts, *item.secondary_opts)}
    for name, command in COMMANDS.items()
}
ELSEWHERE = {"--strict", "--help", "--version"} | {  # the latter of CVAT's client
    *("--allow-unmatched-labels", "--conf-threshold", "--conv-mask-to-poly"),
}
"""Options that pages name and that are not of one command of recoseg."""

pages = pytest.mark.parametrize("page", PAGES, ids=name_of)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    plain = [re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings]
    return {re.sub(r"[\s-]+", "-", heading) for heading in plain}


def find(name: str) -> object:
    """What a dotted name stands for: a module, or something in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError as error:
            if error.name not in {".".join(parts[:end]) for end in range(1, length + 1)}:
                pytest.skip(f"{error.name} is not installed")
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


@pages
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        assert other.exists(), target
        assert not anchor or anchor in anchors(other), target


@pages
def test_names_that_pages_refer_to_exist(page):
    text = prose(page)
    named = re.findall(r"\]\[(recoseg[\w.]*)\]", text) + re.findall(
        r"\[`(recoseg[\w.]+)`\]\[\]", text
    )
    for name in (*named, *re.findall(r"^::: (\S+)", text, re.MULTILINE)):
        assert find(name) is not None, name


@pages
def test_commands_and_options_exist(page):
    lines = [line for code in blocks(page, "sh") for line in code.splitlines()]
    for line in lines:
        words = shlex.split(line, comments=True)
        if not words or words[0] != "recoseg":
            continue
        assert words[1] in COMMANDS, line
        given = {word for word in words[2:] if word.startswith("-") and not word[1:].isdigit()}
        assert given <= OPTIONS[words[1]] | ELSEWHERE, line


@pages
def test_commands_and_options_in_the_text_exist(page):
    text = prose(page)
    for command in re.findall(r"`recoseg ([a-z][a-z-]*)", text):
        assert command in COMMANDS, command
    known = set.union(*OPTIONS.values()) | ELSEWHERE
    for code in re.findall(r"`([^`\n]+)`", text):
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", code)) <= known, code


@pages
def test_python_is_valid(page):
    for code in blocks(page, "python"):
        if not code.startswith("--8<--"):
            compile(code, name_of(page), "exec")


def test_every_command_has_its_call():
    text = (ROOT / "docs/guides/index.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `recoseg ([a-z-]+)` \| \[`", text, re.MULTILINE)
    assert sorted(rows) == sorted(COMMANDS)


def test_every_public_name_is_in_the_reference():
    text = (ROOT / "docs/reference/index.md").read_text(encoding="utf-8")
    missing = [name for name in recoseg.__all__ if f"[`{name}`]" not in text]
    assert missing == ["__version__"]


def test_every_page_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r"[\w/-]+\.md", text))
    assert listed == {page.relative_to(ROOT / "docs").as_posix() for page in PAGES[2:]}


def test_citation():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (cited["cff-version"], cited["title"]) == ("1.2.0", "recoseg")
    assert cited["version"] == recoseg.__version__
    assert [item["title"] for item in cited["references"]] == [
        "ReCo: Retrieve and Co-segment for Zero-shot Transfer"
    ]


@pytest.mark.slow
def test_pages_build_and_load_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings_handlers.python")
    site = tmp_path / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe)[^>]* src=\"?(https?:[^\"\s>]+)", text)
        loaded += re.findall(r"<link[^>]* href=\"?(https?:[^\"\s>]+)", text)
        assert not loaded, page
    assert not re.findall(
        r"@import|url\(https?:",
        "".join(page.read_text(encoding="utf-8") for page in site.rglob("*.css")),
    )
