"""The trackers of SAM 2.1 and SAM 3 by transformers' own classes, tiny and random."""

import numpy as np
import pytest
import torch
from PIL import Image

from recoseg.device import resolve_compute
from recoseg.encoders.tracker_sources import TRACKERS
from recoseg.errors import MissingWeightsError, RecosegError, UnknownNameError
from recoseg.video.sam import load_tracker
from recoseg.video.tracker import parts_of

from .tiny import tiny_sam2, tiny_sam3

FP32 = resolve_compute("cpu", "fp32")
MAKE = {"sam2": tiny_sam2, "sam3": tiny_sam3}
HW = (36, 60)


@pytest.fixture(scope="module", params=list(MAKE))
def spec(request, tmp_path_factory):
    return f"{request.param}={MAKE[request.param](tmp_path_factory.mktemp('tracker'))}"


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(4)
    return [Image.fromarray(random.integers(0, 256, (*HW, 3), np.uint8)) for _ in range(7)]


@pytest.fixture(scope="module")
def parts():
    found = np.zeros(HW, np.int32)
    found[5:20, 5:25] = 1
    found[22:33, 30:50] = 2
    return found


def by_the_library(spec, images, parts):
    """Masks of instances 1 and 2 in all frames, by the library's own walk through a whole film."""
    import transformers

    name, _, folder = spec.partition("=")
    row = next(row for row in TRACKERS if row.name == name)
    model_class, processor_class = (getattr(transformers, one) for one in row.classes)
    model, info = model_class.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    processor = processor_class.from_pretrained(folder)
    session = processor.init_video_session()
    for image in images:
        session.add_new_frame(processor(images=image, return_tensors="pt").pixel_values)
    masks = [parts == 1, parts == 2]
    processor.add_inputs_to_inference_session(session, 0, [1, 2], input_masks=masks)
    outputs = model.eval().propagate_in_video_iterator(session, start_frame_idx=0)
    return [one.pred_masks[:, 0] for one in outputs]


def followed(tracker, images, parts):
    tracker.see(images[0])
    tracker.begin(parts, 2)
    found = []
    for image in images[1:]:
        tracker.see(image)
        found.append(tracker.masks())
    return found


def test_masks_equal_those_of_the_library(spec, images, parts):
    tracker = load_tracker(spec, FP32)
    found = followed(tracker, images, parts)
    expected = by_the_library(spec, images, parts)
    assert len(found) == len(images) - 1
    spread = 0.0
    for own, literal in zip(found, expected[1:], strict=True):
        scale = float(literal.abs().max())
        torch.testing.assert_close(own / scale, literal / scale, atol=1e-4, rtol=1e-3)
        spread += float((own > 0).float().mean())
    assert 0 < spread < len(found)
    # The same again: what came before is forgotten, and memory holds the last frames alone.
    torch.testing.assert_close(followed(tracker, images, parts), found)
    outputs = tracker._session.output_dict_per_obj[0]["non_cond_frame_outputs"]
    assert len(outputs) == 4
    assert len(tracker._session.processed_frames) == 1


def test_nothing_to_follow(spec, images):
    tracker = load_tracker(spec, FP32)
    tracker.see(images[0])
    tracker.begin(np.zeros(HW, np.int32), 0)
    tracker.see(images[1])
    assert tracker.masks().shape == (0, 1, 1)
    assert not parts_of(tracker.masks(), HW).any()


def test_half_precision(spec, images, parts):
    half = load_tracker(spec, resolve_compute("cpu", "bf16"))
    [masks] = followed(half, images[:2], parts)
    assert masks.dtype == torch.float32
    assert masks.isfinite().all()
    assert half.settings["precision"] == "bf16"


def test_settings_and_licences(spec, caplog):
    tracker = load_tracker(spec, FP32)
    name = spec.partition("=")[0]
    assert tracker.settings["name"] == name
    assert tracker.settings["licence"] == {"sam2": "Apache-2.0", "sam3": "SAM licence"}[name]
    assert len(tracker.settings["fingerprint"]) == 16
    assert ("licence of Meta's own" in caplog.text) == (name == "sam3")


def test_what_is_refused(tmp_path, monkeypatch):
    with pytest.raises(UnknownNameError, match=r"sam2-tiny, sam3, none"):
        load_tracker("sam4")
    with pytest.raises(MissingWeightsError, match="No folder was found at '/no/such'"):
        load_tracker("sam2=/no/such", FP32)
    with pytest.raises(RecosegError, match="The tracker sam3 cannot be read from"):
        load_tracker(f"sam3={tmp_path}", FP32)
    with pytest.raises(RecosegError, match="sizes of the tracker sam2 are read"):
        load_tracker("sam2=random", FP32)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("RECOSEG_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    with pytest.raises(MissingWeightsError, match="do without: --tracker none"):
        load_tracker("sam2-tiny", FP32)


def test_parts_equal_a_loop_over_pixels():
    torch.manual_seed(1)
    masks = torch.randn(3, 4, 5)
    size = (9, 11)
    grown = torch.nn.functional.interpolate(masks[None], size, mode="bilinear")[0]
    found = parts_of(masks, size)
    for y, x in np.ndindex(size):
        logits = grown[:, y, x].tolist()
        best = max(logits)
        assert found[y, x] == (logits.index(best) + 1 if best > 0 else 0)
    assert set(np.unique(found)) == {0, 1, 2, 3}
