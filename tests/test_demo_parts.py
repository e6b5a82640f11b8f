"""What the demo says of classes and photos."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from recoseg.classes import parse_class
from recoseg.concepts import Concept
from recoseg.demo.best import edge_fit
from recoseg.demo.segmented import Segmented
from recoseg.demo.standing import standing
from recoseg.demo.watch import Watch, describe_machine
from recoseg.device import Compute
from recoseg.evidence import Evidence, RetrievedPhoto
from recoseg.labels import Segmentation
from recoseg.photos.refs import Photo
from recoseg.segmentation.result import Result

PALETTE = ((230, 159, 0), (120, 190, 235))


def concept(scores, name="dog", photos=30, alike=0.4):
    """A class whose photos have these scores, in steps above the median of all."""
    retrieved = tuple(RetrievedPhoto(f"{n}.jpg", "", s, (), ()) for n, s in enumerate(scores))
    evidence = Evidence(photos=photos, median=0.0, step=1.0, seeds_alike=alike)
    text = torch.eye(1, 2)
    return Concept(parse_class(name), "class", {}, text, text, retrieved, evidence)


@pytest.mark.parametrize(
    ("item", "found", "judgement", "said"),
    [
        (concept([8, 7]), 2, "good", "Both retrieved photos fit the words clearly better"),
        (concept([8, 7, 1, 1]), 2, "good", "2 of its 4 retrieved photos fit"),
        (concept([8, 8], photos=500), 2, "good", "Both retrieved photos fit"),
        (concept([8, 6.9]), 2, "weak", "Only one of its 2 retrieved photos fits"),
        (concept([6, 5]), 2, "weak", "None of its 2 retrieved photos fits"),
        (concept([8, 8, 1, 1, 1]), 2, "weak", "Only 2 of its 5 retrieved photos fit "),
        (concept([9]), 2, "unknown", "learnt from one photo"),
        (concept([8, 7], alike=0.19), 2, "weak", "differs from photo to photo (cosine 0.19"),
        (concept([8, 7]), 0, "weak", "found in none of the 30 photos"),
        (concept([9]), 0, "weak", "found in none of the 30 photos"),
        (concept([8, 8, 8, 1, 1, 1, 1], photos=500), 2, "weak", "Only 3 of 7 photos stand out"),
        (concept([1, 1], photos=500), 2, "probably absent", "Hardly any photo fits better"),
        (concept([1, 1], photos=500), 0, "probably absent", "found in none"),
        (concept([1, 1], "tree", photos=500), 2, "unknown", "everyday things such as this"),
        (replace(concept([8, 7]), evidence=None), 2, "unknown", "Nothing was measured"),
    ],
)
def test_each_verdict_has_a_reason(item, found, judgement, said):
    judged = standing(item, found, 30)
    assert judged.judgement == judgement
    assert said in " ".join(judged.reasons)


def test_all_reasons_are_told():
    assert len(standing(concept([1, 1], alike=0.1), 0, 30).reasons) == 3


def two_halves(border):
    """A photo, dark left of column 50 and light right of it, with a border somewhere."""
    pixels = np.zeros((60, 100, 3), np.uint8)
    pixels[:, 50:] = 200
    labels = np.full((60, 100), 255, np.uint8)
    labels[:, :border] = 0
    return Image.fromarray(pixels), labels


def test_borders_on_edges_fit_best():
    image, labels = two_halves(50)
    # Of 60 * 99 + 59 * 100 pairs of neighbours, 60 differ, all of them across the border.
    assert edge_fit(image, labels) == pytest.approx((60 * 99 + 59 * 100) / 60)
    assert edge_fit(*two_halves(30)) == 0
    assert edge_fit(image, np.zeros_like(labels)) == 0
    assert edge_fit(Image.new("RGB", (100, 60)), labels) == 0
    big = image.resize((1000, 600), Image.Resampling.NEAREST)
    assert edge_fit(big, labels.repeat(10, 0).repeat(10, 1)) > 50


def result(name, border, label=0, edge=50):
    image, labels = two_halves(border)
    pixels = np.roll(np.asarray(image), edge - 50, axis=1)
    labels = np.where(labels == 0, np.uint8(label), labels)
    found = Segmentation(labels, ("dog", "sky"), PALETTE)
    return Result(Photo(f"/{name}.jpg"), Image.fromarray(pixels), found)


class Bank:
    """The classes of a bank, of which sky is weak."""

    classes = (concept([8, 7]), concept([1, 1], "sky"))


def test_the_best_result_comes_first():
    segmented = Segmented({"dog": "#e69f00", "sky": "#78beeb"})
    segmented.add("rough", result("rough", 60))
    segmented.add("weak", result("weak", 50, label=1))
    segmented.add("close", result("close", 40, edge=40))
    segmented.add("all", result("all", 100))
    segmented.add("bare", result("bare", 0))
    segmented.add("broken", Result(Photo("/broken.jpg", failure="no photo")))
    assert segmented.photos == 5
    assert segmented.found == {"dog": 3, "sky": 1}
    assert segmented.best(Bank).name == "close"


def test_without_good_classes_the_best_edges_come_first():
    segmented = Segmented({})
    segmented.add("weak", result("weak", 50, label=1))
    segmented.add("rough", result("rough", 60, label=1))
    assert segmented.best(Bank).name == "weak"
    assert Segmented({}).best(Bank) is None


def test_many_photos_are_counted_and_the_fullest_kept(monkeypatch):
    monkeypatch.setattr("recoseg.demo.segmented._CANDIDATES", 2)
    segmented = Segmented({})
    for border in (10, 30, 20, 40, 0, 0):
        segmented.add(str(border), result("a", border))
    assert segmented.photos == 6
    assert [one.name for one in segmented.candidates] == ["40", "30"]


def test_steps_follow_each_other(monkeypatch):
    times = iter([10.0, 12.5, 20.5])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    watch = Watch()
    watch.lap("load")
    watch.lap("index", 4, "photos")
    assert [(lap.step, lap.count, lap.seconds) for lap in watch.laps] == [
        ("load", 0, 2.5),
        ("index", 4, 8.0),
    ]
    assert watch.laps[1].rate == "0.5"


def test_the_machine_is_named(monkeypatch):
    compute = Compute(torch.device("cpu"), torch.float32)
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    assert describe_machine(compute) == "CPU, 2 threads, fp32"
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    assert describe_machine(compute) == "CPU, 1 thread, fp32"
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "Some GPU")
    cuda = Compute(torch.device("cuda"), torch.bfloat16)
    assert describe_machine(cuda) == "Some GPU, bf16"
