"""The demo on a few photos, and its report."""

import importlib.metadata
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from recoseg.concepts import ConceptBank
from recoseg.demo import package_photos, photos_per_class, run_demo
from recoseg.device import Compute
from recoseg.encoders.defaults import default_settings
from recoseg.errors import ArchiveError, ConceptError, MissingExtraError

CPU = Compute(torch.device("cpu"), torch.float32)


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
    assert report == out / "report.html"
    return out


def test_the_report_is_one_escaped_file(made, photos):
    page = (made / "report.html").read_text(encoding="utf-8")
    sources = re.findall(r'<img[^>]*src="([^"]+)"', page)
    # A figure and two retrieved photos for each of three classes; an overlay of each photo.
    assert len(sources) == 3 * (1 + 2) + 4
    assert all(source.startswith("data:image/") for source in sources)
    assert not re.findall(r"""(?:src|href)=["']?https?:""", page)
    assert "<b>cup" not in page
    assert "&lt;b&gt;cup&lt;/b&gt;" in page
    assert "<i>" not in page
    for name in ("chelsea", "rocket", "coffee", "astronaut"):
        assert f"{name} &amp; " in page
    assert "broken &lt;u&gt;" in page
    assert "4 photos indexed" in page
    assert "3 classes learnt" in page
    assert "phi lite, threshold 0.4, presence 0.5" in page


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
    text = (made / "masks" / "segmentations.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    assert sum("error" in line for line in lines) == 1


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
