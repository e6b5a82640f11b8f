import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from recoseg.config import Fusion
from recoseg.errors import BadImageError, ConceptError, EncoderMismatchError, RecosegError
from recoseg.segmentation.bank_segmenter import bank_segmenter

from .fakes import COLOURS, ColourEncoder, make_bank

PHI, TEXT = 4, 6


def photo(height, width):
    """Red at the left, green at the right, blue in the lowest third."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2] = COLOURS["red"]
    pixels[:, width // 2 :] = COLOURS["green"]
    pixels[2 * height // 3 :] = COLOURS["blue"]
    return pixels


def segmenter(bank=None, **options):
    options.setdefault("phi", ColourEncoder(PHI))
    options.setdefault("saliency", ColourEncoder(TEXT))
    return bank_segmenter(bank or make_bank(), **options)


def noise(seed, height, width):
    """Random blocks of 8 pixels."""
    blocks = np.random.default_rng(seed).integers(0, 256, (-(-height // 8), -(-width // 8), 3))
    return blocks.astype(np.uint8).repeat(8, 0).repeat(8, 1)[:height, :width]


def expected_product(pixels, names):
    """The published fusion, with interpolate and no strips."""
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    height, width = pixels.shape[:2]
    rows = torch.stack([F.normalize(torch.tensor(COLOURS[n]) - 127.5, dim=0) for n in names])
    parts = []
    for stride, scale in ((PHI, 1), (TEXT, 10)):
        features = F.normalize(ColourEncoder(stride).features(image), dim=1)
        probs = torch.sigmoid(scale * torch.einsum("nchw,mc->nmhw", features, rows))
        size = (probs.shape[2] * stride, probs.shape[3] * stride)
        up = F.interpolate(probs, size, mode="bilinear", align_corners=False)
        parts.append(up[0, :, :height, :width])
    return parts[0] * parts[1]


def test_colours_are_found_where_they_are():
    result = segmenter()(photo(60, 96))
    assert result.labels.dtype == np.uint8
    assert result.names == ("red", "green", "blue")
    for (y, x), label in {(5, 5): 0, (5, 90): 1, (55, 5): 2, (55, 90): 2}.items():
        assert result.labels[y, x] == label
    assert result.areas()["red"] == pytest.approx(1 / 3, abs=0.03)


@pytest.mark.parametrize("size", [(37, 53), (1, 1), (61, 7), (4, 200)])
def test_scores_equal_the_published_fusion(size):
    pixels = noise(0, *size)
    result = segmenter(keep_scores=True)(pixels)
    expected = expected_product(pixels, result.names)
    assert result.labels.shape == size
    np.testing.assert_allclose(result.scores, expected.numpy(), atol=1e-3)  # kept in fp16
    assert (result.labels == expected.argmax(0).numpy()).mean() > 0.995


@pytest.mark.parametrize("form", ["product", "sum", "visual", "text"])
def test_all_forms_find_the_colours(form):
    result = segmenter(fusion=Fusion(form))(photo(60, 96))
    assert result.labels[5, 5] == 0
    assert result.labels[55, 90] == 2


def test_a_form_of_one_part_runs_one_encoder_only():
    for form, used, unused in (("visual", "phi", "saliency"), ("text", "saliency", "phi")):
        encoders = {"phi": ColourEncoder(PHI), "saliency": ColourEncoder(TEXT)}
        segmenter(fusion=Fusion(form), **encoders)(photo(8, 8))
        assert encoders[used].calls
        assert not encoders[unused].calls


def test_batches_of_equal_size_equal_one_by_one():
    sizes = [(24, 36), (24, 36), (30, 18), (24, 36), (30, 18), (24, 36), (24, 36)]
    photos = [noise(seed, *size) for seed, size in enumerate(sizes)]
    phi = ColourEncoder(PHI)
    together = segmenter(phi=phi, batch_size=4)(photos)
    assert [shape[0] for shape in phi.calls] == [4, 1, 2]
    for pixels, result in zip(photos, together, strict=True):
        assert (result.labels == segmenter()(pixels).labels).all()


def test_resized_photos_give_labels_of_their_own_size():
    phi = ColourEncoder(PHI)
    result = segmenter(phi=phi, resize=24)(photo(90, 150))
    assert phi.calls == [(1, 3, 24, 40)]
    assert result.labels.shape == (90, 150)
    plain = segmenter()(photo(90, 150))
    assert (result.labels == plain.labels).mean() > 0.9
    phi = ColourEncoder(PHI)
    segmenter(make_bank(short_side=12), phi=phi)(photo(90, 150))
    assert phi.calls == [(1, 3, 12, 20)]


def test_windows_equal_the_whole_for_local_encoders():
    pixels = noise(3, 132, 96)  # windows of 48 every 12 pixels are whole cells of 4 and 6
    phi = ColourEncoder(PHI)
    plain = segmenter(phi=phi, keep_scores=True, window=48, window_step=12, batch_size=3)(pixels)
    assert set(phi.calls) <= {(3, 3, 48, 48), (1, 3, 48, 48)}
    whole = segmenter(keep_scores=True)(pixels)
    # Cells at the border of a window have no neighbours beyond it.
    assert np.abs(plain.scores - whole.scores).mean() < 0.01
    assert (plain.labels == whole.labels).mean() > 0.95


def test_windows_begin_at_any_pixel():
    pixels = noise(3, 131, 97)
    phi, saliency = ColourEncoder(14), ColourEncoder(32)
    bank = make_bank(phi_stride=14, text_stride=32)
    asked = {"window": 41, "window_step": 20}
    tiled = segmenter(bank, phi=phi, saliency=saliency, **asked)(pixels)
    assert sum(shape[0] for shape in phi.calls) == 6 * 4, "at 0, 20 .. 90 and 0, 20, 40, 56"
    assert {shape[2:] for shape in phi.calls} == {(41, 41)}
    assert tiled.labels.shape == (131, 97)
    # Batches hold windows of several photos, and each gets its own.
    both = segmenter(window=41, window_step=20)([pixels, pixels[::-1].copy()])
    assert (both[0].labels == segmenter(window=41, window_step=20)(pixels).labels).all()
    assert (
        both[1].labels == segmenter(window=41, window_step=20)(pixels[::-1].copy()).labels
    ).all()


def test_small_photos_need_no_window():
    phi = ColourEncoder(PHI)
    segmenter(phi=phi, window=48)(photo(40, 48))
    assert len(phi.calls) == 1


def test_background_by_threshold_and_by_name():
    plain = segmenter(keep_scores=True)(noise(1, 48, 48))
    cut = float(np.median(plain.scores.max(0)))
    result = segmenter(background_threshold=cut)(noise(1, 48, 48))
    assert 0.4 < (result.labels == 255).mean() < 0.6
    kept = result.labels != 255
    assert (result.labels[kept] == plain.labels[kept]).all()
    named = segmenter(background=["blue"])(photo(60, 96))
    assert named.labels[55, 5] == 255
    assert named.labels[5, 5] == 0
    with pytest.raises(RecosegError, match="Unknown background classes: sea"):
        segmenter(background=["sea"])


@pytest.mark.parametrize("names", [["sky"], ["context"]])
def test_context_classes_compete_as_background(names):
    white = np.full((48, 48, 3), 255, np.uint8)
    assert (segmenter()(white).labels < 3).all()
    result = segmenter(background=names, keep_scores=True)(white)
    assert (result.labels == 255).all()
    assert result.names == ("red", "green", "blue")
    assert result.scores.shape == (3, 48, 48)


def test_files_images_and_arrays_are_the_same(tmp_path):
    pixels = photo(30, 42)
    path = tmp_path / "été.png"
    Image.fromarray(pixels).save(path)
    results = segmenter()([path, str(path), Image.fromarray(pixels), pixels])
    assert all((result.labels == results[0].labels).all() for result in results)


def test_bad_photos_do_not_stop_the_stream(tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_text("no photo")
    results = list(segmenter(batch_size=2).stream([photo(8, 8), bad, photo(8, 8)] * 3))
    assert [result.failure == "" for result in results] == [True, False, True] * 3
    assert results[1].photo.path == str(bad)
    assert results[1].segmentation is None
    assert results[0].image.size == (8, 8)
    with pytest.raises(BadImageError, match=r"bad\.jpg: not an image"):
        results[1].areas()
    with pytest.raises(BadImageError, match=r"bad\.jpg: not an image"):
        segmenter()(bad)
    with pytest.raises(BadImageError, match=r"uint8 array \(h, w, 3\); got \(8, 8\)"):
        segmenter()(np.zeros((8, 8), np.uint8))


def test_other_encoders_are_refused():
    with pytest.raises(EncoderMismatchError, match="as phi encoder, got other"):
        segmenter(phi=ColourEncoder(PHI, "other", "f" * 16))
    with pytest.raises(EncoderMismatchError, match="saliency"):
        segmenter(saliency=ColourEncoder(TEXT + 1))


def test_settings_are_checked():
    with pytest.raises(ConceptError, match="has no class"):
        segmenter(make_bank(names=()))
    with pytest.raises(RecosegError, match="batch_size is 0"):
        segmenter(batch_size=0)
    with pytest.raises(RecosegError, match="window is -1"):
        segmenter(window=-1)


def test_a_saved_bank_gives_the_same(tmp_path):
    bank = make_bank()
    bank.save(tmp_path / "bank.safetensors")
    again = segmenter(tmp_path / "bank.safetensors")(photo(30, 42))
    assert (again.labels == segmenter(bank)(photo(30, 42)).labels).all()


def test_several_references_the_best_counts():
    bank = make_bank(names=("red", "black"))
    red, black = bank.classes
    merged = replace(
        red,
        references={
            key: torch.cat([rows, make_bank().classes[1].references[key]])
            for key, rows in red.references.items()
        },
    )
    bank = replace(bank, concepts=(merged, black))
    labels = segmenter(bank, fusion=Fusion("visual"))(photo(30, 42)[:18]).labels
    assert (labels == 0).all()  # red by one reference, green by the other


PROGRAM = """
import pathlib, torch
from tests_fakes import ColourEncoder, make_bank
import numpy as np
from dataclasses import replace
from recoseg.classes import ClassNames
from recoseg.config import Fusion
from recoseg.segmentation.bank_segmenter import bank_segmenter

def peak():
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024

bank = make_bank(names=("red",), phi_stride=16, text_stride=32)
one = bank.classes[0]
many = [replace(one, words=ClassNames(str(i), (str(i),))) for i in range(171)]
bank = replace(bank, concepts=tuple(many))
photo = np.zeros((1024, 2048, 3), np.uint8)
for form in ("product", "sum"):
    segment = bank_segmenter(
        bank, phi=ColourEncoder(16), saliency=ColourEncoder(32), fusion=Fusion(form)
    )
    segment(photo[:64, :64])
    before = peak()
    segment(photo)
    print((peak() - before) / 1e6)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_memory_of_171_classes_at_2048_by_1024():
    fakes = Path(__file__).with_name("fakes.py").as_posix()
    load = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('tests_fakes', {fakes!r})\n"
        "sys.modules['tests_fakes'] = module = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", load + PROGRAM], capture_output=True, text=True, check=True
    )
    # MB; the score maps alone would be 1,434.
    assert max(float(line) for line in run.stdout.split()) < 400, run.stdout


def test_a_threshold_that_no_score_reaches_is_refused():
    for fusion, limit in ((Fusion(), 1), (Fusion("sum", text_weight=0.5), 1.5)):
        options = {"phi": ColourEncoder(4), "saliency": ColourEncoder(6), "fusion": fusion}
        assert bank_segmenter(make_bank(), background_threshold=limit, **options)
        with pytest.raises(
            RecosegError, match=rf"threshold is 7; no score .* is above {limit}, so"
        ):
            bank_segmenter(make_bank(), background_threshold=7, **options)


def test_context_as_background_of_a_bank_without_context_is_refused():
    bank = make_bank()
    bare = replace(bank, concepts=bank.classes)
    with pytest.raises(RecosegError, match="The bank has no context classes, so --background"):
        bank_segmenter(
            bare, phi=ColourEncoder(PHI), saliency=ColourEncoder(TEXT), background=["context"]
        )
