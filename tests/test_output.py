"""What commands print: names act on no terminal, no markup is read, every stream can take it."""

import ast
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import recoseg
from recoseg.classes import ClassNames
from recoseg.cli.output import refuse_nothing, say_json
from recoseg.concepts import ConceptBank
from recoseg.errors import RecosegError
from recoseg.evidence import RetrievedPhoto
from recoseg.progress import StageProgress
from recoseg.storage.shown import shown, shown_lines
from tests.command import run
from tests.learning.fakes import Retrieval, make_archive
from tests.segmentation.fakes import make_bank

EVIL = "a\x1b[2K\x1b]0;title\x07\r\x9b31m\x7f\u202e\u2066\u200f\u2028[/x][bold]:smile: été"
SAFE = (
    "a\\x1b[2K\\x1b]0;title\\x07\\r\\x9b31m\\x7f\\u202e\\u2066\\u200f\\u2028[/x][bold]:smile: été"
)
UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def evil_bank(path, name=EVIL):
    bank = make_bank(("red",))
    photo = RetrievedPhoto(f"/p/{name}\n\udcff.jpg", "0", 0.5, ((1, 2),), (0.25,))
    context, red = bank.concepts
    visible = re.sub(
        "[\x00-\x1f\x7f-\x9f\u2028]", "", name
    )  # others are refused in names of classes
    words = ClassNames(visible, ("red", "[/x]"))
    replace(bank, concepts=(context, replace(red, words=words, retrieved=(photo,)))).save(path)
    return path


def test_shown():
    assert shown(EVIL) == SAFE
    assert shown("\udcff\n\t\0\U000e0041") == "\\udcff\\n\\t\\x00\\U000e0041"
    for plain in ("", "dog.jpg", "été 犬 مرحبا", "👩\u200d🚒", "می\u200cخواهم", "a\\x1b", 3):
        assert shown(plain) == str(plain)
    assert shown_lines("a\n\tb\x1b\n") == "a\n\\tb\\x1b\n"


@given(st.text(st.characters(exclude_categories=[]), max_size=50))
def test_what_is_shown_is_one_line_that_any_terminal_prints(text):
    once = shown(text)
    assert not UNSAFE.search(once)
    assert len(once.splitlines()) <= 1
    assert once.encode().decode() == once
    assert shown(once) == once


def test_inspect_reads_no_markup_and_obeys_no_name(tmp_path):
    path = evil_bank(tmp_path / "bank.safetensors", "[/x]\u202e:smile:")
    result = run("inspect", path)
    assert result.code == 0, result.err
    assert "[/x]" in result.out
    assert "☺" not in result.out
    assert "😄" not in result.out
    assert not UNSAFE.search(result.out)


def test_json_is_the_same_after_all(tmp_path):
    path = evil_bank(tmp_path / "bank.safetensors")
    result = run("inspect", path, "--json")
    assert result.code == 0, result.err
    assert not UNSAFE.search(result.out)
    [photo] = json.loads(result.out)["concepts"][1]["retrieved"]
    assert photo["path"] == f"/p/{EVIL}\n\udcff.jpg"
    [stored] = ConceptBank.load(path).classes[0].retrieved
    assert stored.path == photo["path"]


def test_plain_json_stays_readable(capsys):
    say_json({"a": ["été", 犬 := "犬"]})
    out = capsys.readouterr().out
    assert "été" in out
    assert 犬 in out


@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize(
    "variables",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0"}],
)
def test_streams_that_hold_ascii_only(tmp_path, options, variables):
    path = evil_bank(tmp_path / "bank.safetensors", "été 犬")
    done = subprocess.run(
        [sys.executable, "-m", "recoseg", "inspect", path, *options],
        capture_output=True,
        env=os.environ | variables,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    if options:
        concepts = json.loads(done.stdout)["concepts"]
        assert concepts[1]["words"]["name"] == "été 犬"
    else:
        assert b"\\xe9" in done.stdout or "été".encode() in done.stdout


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    photos = {"a": (1, "rose"), "b\x1b[2K<i>\nLeft out: x": (2, "rose"), "c'\">\u202e": (3, "rose")}
    return make_archive(tmp_path_factory.mktemp("evil"), Retrieval(), photos)


def test_retrieve_prints_one_safe_line_per_photo(archive, monkeypatch):
    monkeypatch.setattr("recoseg.pipeline.retrieve.check_encoder", lambda *_: None)
    monkeypatch.setattr("recoseg.pipeline.retrieve.build_retrieval", lambda *_: Retrieval())
    result = run("retrieve", archive.root, "rose", "-k", 3, "--prompts", "none")
    assert result.code == 0, result.err
    assert result.out.count("\n") == 4
    assert not UNSAFE.search(result.out)
    assert "b\\x1b[2K<i>\\nLeft out: x.png" in result.out
    as_json = run("retrieve", archive.root, "rose", "-k", 3, "--prompts", "none", "--json")
    paths = {hit["path"] for hit in json.loads(as_json.out)["rose"]}
    assert paths == {archive.path(position) for position in range(3)}


def test_an_index_without_photos(tmp_path, monkeypatch):
    monkeypatch.setattr("recoseg.pipeline.retrieve.check_encoder", lambda *_: None)
    monkeypatch.setattr("recoseg.pipeline.retrieve.build_retrieval", lambda *_: Retrieval())
    whole = make_archive(tmp_path, Retrieval(), {"a": (1, "rose")})
    omit = tmp_path / "selection.json"
    recoseg.Selection({whole.photo_id(0): "blurred"}).save(omit)
    result = run("retrieve", whole.root, "rose", "--prompts", "none", "--selection", omit)
    assert result.code == 1
    assert "has no photo to retrieve" in result.err


def test_the_contact_sheet_escapes_everything(archive, tmp_path):
    names = ["rose", '</script><script>alert(1)</script>" onload="x', "javascript:x\u202e"]
    sheet = tmp_path / "sheet.html"
    recoseg.retrieve(
        archive,
        [ClassNames(name, ("rose",)) for name in names],
        k=3,
        retrieval=Retrieval(),
        prompts="none",
        sheet=sheet,
    )
    page = sheet.read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<i>" not in page
    assert ' onload="' not in page
    assert not UNSAFE.search(page)
    targets = re.findall(r"""(?:href|src)=["']?([^"'>]*)""", page)
    assert len(targets) == 3 + 9
    assert all(re.match(r"#class-\d+$|data:image/jpeg;base64,", target) for target in targets)
    assert "b\\x1b[2K&lt;i&gt;\\nLeft out: x.png" in page


def test_progress_reads_no_markup(capsys):
    with StageProgress("[/x] \x1b[2K", 2) as bar:
        bar.advance()
    assert capsys.readouterr().err.startswith("[/x] \\x1b[2K: 1 image")
    with StageProgress("[/x] \x9b", 2, enabled=True) as bar:
        bar.advance()
    assert "[/x] \\x9b" in capsys.readouterr().err


def test_warnings_obey_no_name(tmp_path):
    code = (
        "import logging, sys; sys.argv = ['recoseg', '--version']\n"
        "from recoseg.cli import main\n"
        "try: main()\n"
        "except SystemExit: logging.getLogger('recoseg.x').warning('left out: \\x1b[2K\\udcff')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stderr == b"left out: \\x1b[2K\\udcff\n"


def test_nothing_usable():
    refuse_nothing(1, 2, "segmented")
    refuse_nothing(0, 0, "segmented")
    with pytest.raises(RecosegError, match="None of the 1,200 photos could be segmented"):
        refuse_nothing(0, 1_200, "segmented")


def test_only_one_module_prints():
    folder = Path(recoseg.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        if path.name == "output.py" and path.parent.name == "cli":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            where = f"{path.name}:{getattr(node, 'lineno', 0)}"
            assert called not in ("typer.echo", "click.echo", "typer.secho"), where
            assert called != "print" or path.name == "failures.py", where
            if called == "Console":
                assert path.name in ("progress.py", "download.py"), where
            if called == "TextColumn":
                assert "markup=False" in ast.unparse(node), where
