"""The demo on a few photos, and its report."""

import importlib.metadata
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from recoseg.cli import app
from recoseg.concepts import ConceptBank
from recoseg.demo import package_photos, photos_per_class, run_demo
from recoseg.demo.standing import standing
from recoseg.encoders.defaults import default_settings
from recoseg.errors import ArchiveError, ConceptError, MissingExtraError
from recoseg.pipeline.classes import as_classes
from tests.pages import read_page


def json_lines(out):
    text = (out / "masks" / "segmentations.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    skimage = pytest.importorskip("skimage")
    folder = tmp_path_factory.mktemp("photos")
    data = Path(skimage.__file__).parent / "data"
    for name in ("chelsea.png", "rocket.jpg", "coffee.png", "astronaut.png"):
        with Image.open(data / name) as image:
            image = image.convert("RGB")
            image.thumbnail((200, 200))
            image.save(folder / f"{Path(name).stem} & <i>.jpg")
    (folder / "broken <u>.jpg").write_bytes(b"no photo")
    return folder


@pytest.fixture(scope="module")
def made(photos, tmp_path_factory):
    """The output folder of the demo, run on few photos so that it is quick."""

    def quick(saliency, phi, recipe=None):
        settings = default_settings(saliency, phi, recipe)
        return replace(
            settings,
            learn=replace(settings.learn, image_size=160),
            segment=replace(settings.segment, short_side=96),
        )

    out = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recoseg.pipeline.learn.default_settings", quick)
        report = run_demo(
            out, photos=[str(photos)], classes=["cat", "rocket", "<b>cup</b>"], precision="fp32"
        )
    assert report == out / "report/index.html"
    return out


def test_the_report_is_escaped_and_has_all_its_files(made, photos):
    text = (made / "report/index.html").read_text(encoding="utf-8")
    page = read_page(text)
    sources = [tag.attrs["src"] for tag in page.all("img") if "src" in tag.attrs]
    # The best result, and two retrieved photos of each class with what they have in common.
    assert len(sources) == 2 + 3 * (2 + 2)
    [row] = (made / "report/rows").iterdir()
    rows = row.read_text(encoding="utf-8")
    sources += re.findall(r"pictures/[0-9a-f]{20}\.jpg", rows)
    assert len(sources) == 14 + 2 * 4
    assert {path.name for path in (made / "report/pictures").iterdir()} == {
        source.removeprefix("pictures/") for source in sources
    }
    assert [tag.attrs["value"] for tag in page.all("option") if "selected" in tag.attrs] == ["most"]
    assert "<b>cup" not in text
    assert "&lt;b&gt;cup&lt;/b&gt;" in text
    for name in ("chelsea", "rocket", "coffee", "astronaut"):
        assert f'"name":"{name} & _i_"' in rows
    assert "broken &lt;u&gt;" in text
    assert "4 photos indexed" in text
    assert "3 classes learnt" in text
    assert "phi lite, threshold 0.4, presence 0.5" in text
    steps = {row[0]: row[2] for row in page.rows("timings")}
    assert steps["Segment the photos"] == steps["Draw the report"] == "4 photos"


def test_the_report_tells_which_classes_are_weak(made):
    text = (made / "report/index.html").read_text(encoding="utf-8")
    bank = ConceptBank.load(made / "bank.safetensors")
    found = [line["areas"] for line in json_lines(made) if "areas" in line]
    rows = read_page(text).rows("classes")[1:]
    for concept, (name, verdict, seen) in zip(bank.classes, rows, strict=True):
        times = sum(concept.name in areas for areas in found)
        assert name == concept.name
        assert verdict == standing(concept, times, 4).judgement
        assert seen == f"found in {times} of 4 photos"


def test_the_commands_of_the_report_are_those_of_the_run(made):
    page = read_page((made / "report/index.html").read_text(encoding="utf-8"))
    lines = [shlex.split(line) for pre in page.all("pre") for line in pre.text.splitlines()]
    commands = {words[1]: words for words in lines if words[0] == "recoseg"}
    assert commands.keys() == {"demo", "index", "learn", "segment"}
    bank = ConceptBank.load(made / "bank.safetensors")
    learn, segment = commands["learn"], commands["segment"]
    assert learn[learn.index("-k") + 1] == str(bank.settings.learn.k)
    assert learn[learn.index("--context") + 1] == "none"
    assert segment[segment.index("--presence") + 1] == "0.5"
    group = typer.main.get_command(app)
    for name, words in commands.items():
        command = group.commands[name]
        assert command.make_context(name, words[2:], resilient_parsing=False).params, words


def test_all_results_are_kept_beside_it(made):
    bank = ConceptBank.load(made / "bank.safetensors")
    assert [item.name for item in bank.classes] == ["cat", "rocket", "<b>cup</b>"]
    assert [info.name for info in bank.encoders.phi] == ["lite"]
    assert bank.settings.learn.regions == ""  # in two photos, a region in common may be the lawn
    assert bank.settings.segment.regions == "superpixels"
    assert bank.context == ()  # an archive this small has no photos of context alone
    assert all(len(item.retrieved) == photos_per_class(4) == 2 for item in bank.concepts)
    assert Path(bank.classes[0].retrieved[0].path).name.startswith("chelsea")
    assert Path(bank.classes[1].retrieved[0].path).name.startswith("rocket")
    assert len(list((made / "figures").glob("*.jpg"))) == 3
    assert len(list((made / "masks" / "labels").iterdir())) == 4
    assert sum("error" in line for line in json_lines(made)) == 1


def test_the_help_says_what_classes_may_be():
    shown = typer.main.get_command(app).commands["demo"].params
    [text] = [option.help for option in shown if option.name == "classes"]
    assert "File with one class per line" in text
    assert "'dog, cat'" in text


def test_classes_may_come_from_a_file(tmp_path, monkeypatch):
    file = tmp_path / "classes.txt"
    file.write_text("# pets\ncat: cat; kitten\ndog\n", encoding="utf-8")
    asked = []

    def stop(classes, *args, **options):
        asked.append(as_classes(classes))
        raise ArchiveError("enough")

    monkeypatch.setattr("recoseg.demo.as_classes", stop)
    for given in (str(file), "cat: cat; kitten, dog"):
        done = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "o"), "--classes", given])
        assert done.exit_code != 0
    assert [str(item) for item in asked[0]] == ["cat: cat; kitten", "dog"]
    assert asked[1] == asked[0]


@pytest.mark.parametrize(
    ("photos", "expected"),
    [(1, 1), (2, 2), (4, 2), (149, 2), (150, 3), (2_499, 49), (2_500, 50), (10**6, 50)],
)
def test_photos_per_class(photos, expected):
    assert photos_per_class(photos) == expected


def test_nothing_to_show(tmp_path, photos):
    with pytest.raises(ArchiveError, match=r"None of the photos in .* can be used"):
        run_demo(tmp_path / "out", photos=[str(photos / "broken <u>.jpg")])
    with pytest.raises(ConceptError, match="occur twice: cat"):
        run_demo(tmp_path / "out", photos=[str(photos)], classes=["cat", "cat"])


def test_the_photos_inside_packages():
    for package in ("skimage", "sklearn", "foolbox", "matplotlib"):
        pytest.importorskip(package)
    paths = package_photos()
    assert len(paths) == len(set(paths)) == 30
    assert all(path.is_file() for path in paths)


@pytest.mark.parametrize("package", ["scikit-image", "scikit-learn", "foolbox", "matplotlib"])
def test_a_missing_package_is_named(monkeypatch, tmp_path, package):
    class Installed:
        def locate_file(self, folder):
            return tmp_path / folder

    def distribution(name):
        if name == package:
            raise importlib.metadata.PackageNotFoundError(name)
        return Installed()

    monkeypatch.setattr("importlib.metadata.distribution", distribution)
    with pytest.raises(MissingExtraError, match=rf"'{package}'(.|\n)*recoseg\[demo\]"):
        package_photos()
