"""Code blocks of Markdown pages."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a language, those in tabs too, without their indentation."""
    fence = re.compile(rf"^( *)```{language}[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
    return [
        re.sub(f"^{indent}", "", code, flags=re.MULTILINE)
        for indent, code in fence.findall(page.read_text(encoding="utf-8"))
    ]


def prose(page: Path) -> str:
    """The text without its code blocks."""
    text = page.read_text(encoding="utf-8")
    return re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.MULTILINE | re.DOTALL)


def lines_of_code(code: str) -> int:
    """Lines that are neither empty, nor comments, nor docstrings of one line."""
    lines = [line.strip() for line in code.splitlines()]
    return sum(bool(line) and not line.startswith(("#", '"""')) for line in lines)
