"""A photo's memory is estimated before it is paid; what needs too much is left out alone."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from recoseg import allocator
from recoseg.allocator import LIMIT, memory_limit
from recoseg.control_groups import groups_of
from recoseg.device import Compute
from recoseg.encoders.encoder_table import build_phi
from recoseg.errors import BadImageError, RecosegError
from recoseg.photos import opening
from recoseg.photos.images import input_size
from recoseg.photos.load import LoadedPhoto
from recoseg.refinement.refiner import RefineSettings, build_refiner
from recoseg.regions import axes
from recoseg.regions.axes import axis_matrix
from recoseg.segmentation import batches
from recoseg.segmentation.bank_segmenter import bank_segmenter
from recoseg.segmentation.cost import OUT_OF_MEMORY, Cost, MemoryGuard, is_out_of_memory
from recoseg.segmentation.voting import Voting

from .fakes import ColourEncoder, make_bank


def segmenter(**options):
    phi, saliency = ColourEncoder(4), ColourEncoder(6)
    return bank_segmenter(make_bank(), phi=phi, saliency=saliency, **options)


class Blocks:
    """Regions of 16 x 16 pixels."""

    key, needs_features, is_cacheable = "blocks", False, False

    def regions(self, photo, pixels, features=()):
        rows, columns = (torch.arange(side) // 16 for side in pixels.shape[1:])
        return (rows[:, None] * 1000 + columns + 1).unique(return_inverse=True)[1].int() + 1


def picture(width, height):
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(values)


def peak(run):
    """The most bytes that tensors hold at once while something runs."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profiler:
        run()
    events = [
        event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"
    ]
    events.sort(key=lambda event: event.start_ns())
    return int(np.cumsum([event.nbytes() for event in events]).max())


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((640, 480), {}),
        ((2000, 300), {"resize": 0}),
        ((4000, 40), {"resize": 40}),
        ((640, 480), {"refine": "pamr"}),
        ((640, 480), {"keep_scores": True}),
        ((1000, 10), {"resize": 40, "window": 24}),
        ((500, 500), {"resize": 0, "window": 120}),
        ((500, 400), {"resize": 0, "window": 121, "window_step": 30}),
        ((640, 480), {"voting": Voting(Blocks())}),
        ((640, 480), {"voting": Voting(Blocks(), "mode")}),
        ((2000, 1500), {"voting": Voting(Blocks()), "resize": 200}),
        ((320, 240), {"refine": "lposs"}),
        ((240, 160), {"refine": "lposs", "resize": 100}),
        ((300, 200), {"refine": "lposs+", "resize": 100}),
    ],
)
def test_the_estimate_is_not_below_what_is_allocated(size, options):
    made, photo = segmenter(**options), picture(*size)
    axes._kept_axis_matrix.cache_clear()
    allocated = peak(lambda: made(photo))
    estimate = made.cost.bytes_of(size, input_size(size, made.plan.short_side))
    networks = 350 * size[0] * size[1]  # these encoders are no networks
    assert allocated <= estimate <= 3 * allocated + networks + 6e7


@pytest.mark.parametrize(("width", "height"), [(160, 160), (320, 96)])
def test_the_estimate_of_a_network(width, height):
    encoder = build_phi("deit-s16-sin=random", Compute(torch.device("cpu"), torch.float32))
    pixels = torch.zeros(1, 3, height, width, dtype=torch.uint8)
    with torch.inference_mode():
        allocated = peak(lambda: encoder.features(pixels))
    assert allocated / 6 < Cost(((16, 384),), 2).bytes_of((1, 1), (width, height)) / 1.1
    assert allocated < 350 * width * height


MEASURED = """
import sys
from pathlib import Path
import numpy as np
from PIL import Image
from tests.segmentation.test_cost import segmenter
from recoseg.photos.images import input_size
from recoseg.writers.formats import writer_of

folder, photo, formats = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
made = segmenter(resize=64)

def run(path):
    [result] = made.stream([path])
    for name in formats:
        writer = writer_of(name)
        writer.begin(folder, (), ())
        writer.write("a", result.image, result.segmentation)
    result.areas(), result.segmentation.background
    return result.image.size

def told(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) * 1024

run(str(folder / "small.png"))
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
before = told("VmRSS")
size = run(photo)
print(told("VmHWM") - before, made.cost.bytes_of(size, input_size(size, 64)))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are read on Linux")
@pytest.mark.parametrize(
    ("mode", "name", "formats"),
    [
        ("L", "photo.png", ("labels", "overlays")),
        ("F", "photo.tif", ()),
    ],
)
def test_the_estimate_of_a_large_photo_is_not_below_the_peak(mode, name, formats, tmp_path):
    Image.new("RGB", (64, 64), (200, 10, 10)).save(tmp_path / "small.png")
    Image.linear_gradient("L").resize((6000, 6000)).convert(mode).save(tmp_path / name)
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, tmp_path, tmp_path / name, *formats],
        capture_output=True,
        text=True,
        cwd=root,
    )
    assert done.returncode == 0, done.stderr
    found, estimate = map(int, done.stdout.split())
    assert found <= 1.02 * estimate <= 3 * found, (found / 36e6, estimate / 36e6)


def test_a_photo_is_checked_before_it_is_decoded(tmp_path, monkeypatch):
    def decoded(*_, **__):
        raise AssertionError("the photo was decoded")

    Image.new("L", (3000, 2000)).save(tmp_path / "a.png")
    made = segmenter(resize=16)
    monkeypatch.setenv(LIMIT, "0.16")
    with monkeypatch.context() as patch:
        patch.setattr("PIL.ImageFile.ImageFile.load", decoded)
        [result] = made.stream([str(tmp_path / "a.png")])
    assert "more than the limit of 0.2 GB" in result.failure


def test_what_was_asked_of_small_files():
    """The cost of a long photo grows with the square of its length, unlike its file."""
    lite = Cost(((16, 1280), (16, 1664)), 27)
    assert lite.bytes_of((20_000, 30), (213_333, 320)) > 30e9
    windows = Cost(lite.grids, 27, window=320, step=160, batch_size=8)
    assert windows.bytes_of((5_000, 1), (80_000, 16)) > 5e9
    assert lite.bytes_of((18_000, 9_900), (18_000, 9_900)) > 60e9
    assert lite.bytes_of((8_000, 6_000), (426, 320)) < 2e9, "a phone's photo"
    assert lite.bytes_of((16_000, 1_200), (4_266, 320)) < 2e9, "a panorama"


def test_a_long_thin_photo_is_left_out_before_it_grows(tmp_path, monkeypatch):
    Image.new("RGB", (20_000, 30)).save(tmp_path / "a.png")
    Image.new("RGB", (64, 48)).save(tmp_path / "b.png")

    def grown(*_, **__):
        raise AssertionError("the photo was scaled")

    made = segmenter(resize=320)
    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "resize", grown)
        patch.setattr(opening, "MAX_PIXELS", 10**12)
        [first] = made.stream([str(tmp_path / "a.png")])
    assert "too long and thin: 20000 x 30 pixels would become 213333 x 320" in first.failure
    assert "--resize" in first.failure
    results = list(made.stream(str(tmp_path)))
    assert [bool(result.failure) for result in results] == [True, False]


def test_a_photo_above_the_limit_is_left_out_and_the_others_go_on(monkeypatch):
    photos = [picture(300, 200), picture(2000, 1000), picture(200, 300)]
    whole = [result.labels for result in segmenter(resize=0).stream(photos)]
    monkeypatch.setenv(LIMIT, "0.3")
    results = list(segmenter(resize=0).stream(photos))
    assert [bool(result.failure) for result in results] == [False, True, False]
    assert "needs about 0." in results[1].failure
    assert "GB of memory, more than the limit of 0.3 GB" in results[1].failure
    assert LIMIT in results[1].failure
    np.testing.assert_array_equal(results[0].labels, whole[0])
    with pytest.raises(BadImageError, match="use a smaller --resize"):
        segmenter(resize=0)(photos[1])
    loaded = LoadedPhoto(results[1].photo.failed(""), torch.zeros(3, 1000, 2000).byte(), photos[1])
    [result] = segmenter(resize=0).stream([loaded])
    assert "more than the limit" in result.failure


def test_batches_of_large_photos_are_smaller(monkeypatch):
    made = segmenter(resize=0, batch_size=4)
    sizes = []
    real = batches._label_part

    def counted(items, label, segmenters):
        sizes.append(len(items))
        return real(items, label, segmenters)

    monkeypatch.setattr(batches, "_label_part", counted)
    need = made.cost.bytes_of((300, 200), (300, 200))
    monkeypatch.setenv(LIMIT, str(2.5 * need / 1e9))
    assert not any(result.failure for result in made.stream([picture(300, 200)] * 4))
    assert sizes == [2, 2]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_where_memory_runs_out_only_that_photo_is_left_out(error, monkeypatch):
    made = segmenter(resize=0, batch_size=3)
    real = ColourEncoder.features

    def features(self, pixels):
        if (pixels == 7).flatten(1).all(1).any():
            raise error
        return real(self, pixels)

    monkeypatch.setattr(ColourEncoder, "features", features)
    photos = [picture(30, 20), Image.new("RGB", (30, 20), (7, 7, 7)), picture(30, 20)]
    results = list(made.stream(photos))
    assert [result.failure for result in results] == ["", OUT_OF_MEMORY, ""]
    assert not is_out_of_memory(RuntimeError("a fault of the program"))
    monkeypatch.setattr(ColourEncoder, "features", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(made.stream(photos))


def test_memory_that_runs_out_while_a_photo_is_scaled(monkeypatch):
    def no_memory(*_, **__):
        raise MemoryError

    monkeypatch.setattr(Image.Image, "resize", no_memory)
    [result] = segmenter(resize=10).stream([picture(30, 20)])
    assert result.failure == "too large for this machine's memory"


def test_large_matrices_are_not_kept():
    axes._kept_axis_matrix.cache_clear()
    axis_matrix(300, 4, 1200, 15_000)
    assert axes._kept_axis_matrix.cache_info().currsize == 0
    kept = axis_matrix(30, 4, 120, 150)
    assert axis_matrix(30, 4, 120, 150) is kept


def test_the_limit_is_that_of_the_machine_the_container_or_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv(LIMIT, "1.5")
    assert memory_limit() == 1_500_000_000
    for wrong in ("much", "-1", "0", "nan", "inf"):
        monkeypatch.setenv(LIMIT, wrong)
        with pytest.raises(RecosegError, match=f"{LIMIT} is '{wrong}'; expected a number of GB"):
            memory_limit()
    monkeypatch.delenv(LIMIT)
    assert memory_limit() > 1e8
    (tmp_path / "membership").write_text("4:cpu,memory:/old\n0::/a/b\n")
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "memory.max").write_text("max\n")
    (tmp_path / "a" / "memory.max").write_text("5000\n")
    (tmp_path / "memory" / "old").mkdir(parents=True)
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("7000\n")
    found = list(allocator._of_groups(groups_of("memory", tmp_path / "membership", tmp_path)))
    assert sorted(found) == [5000, 7000]
    assert list(groups_of("memory", tmp_path / "none", tmp_path)) == []


def test_a_guard_takes_the_largest_of_several(monkeypatch):
    monkeypatch.setenv(LIMIT, "0.01")
    guard = MemoryGuard(
        [Cost(((4, 3),), 2), Cost(((4, 3),), 2, refiner=build_refiner(RefineSettings("pamr")))]
    )
    assert guard.count((10, 10), (10, 10)) > 1
    with pytest.raises(BadImageError, match="needs about"):
        guard.check((200, 200), (200, 200))
