"""Many classes and several photos at once, and instances, against the library's own calls."""

import pytest
import torch

from recoseg.classes import WordSpans
from recoseg.decoders import decoding
from recoseg.decoders.class_maps import of_words
from recoseg.decoders.preview import Preview
from recoseg.decoders.sam3 import load_decoder
from recoseg.device import resolve_compute

from .tiny import SIDE, tiny_sam3

WORDS = ["dog", "cat", "a dog", "cats", "toad", "god", "act", "tag"]
SPANS = WordSpans.of([(1, 0), (2, 1), (1, 0), (1, 1), (1, 0)])  # of five classes
RULE = Preview(above=3, side=28, quantile=0.4, most=2)
CLOSE = {"atol": 2e-5, "rtol": 1e-3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_sam3(tmp_path_factory.mktemp("sam3"))


@pytest.fixture(scope="module")
def decoder(folder):
    return load_decoder(f"sam3={folder}", resolve_compute("cpu", "fp32"))


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (2, 3, 33, 47), dtype=torch.uint8, generator=generator)


def presences(folder, images, side):
    """The presence of each word in each photo, by a model that was built for inputs of a side."""
    from transformers import Sam3Config, Sam3Model, Sam3Processor

    config = Sam3Config.from_pretrained(folder)
    config.vision_config.backbone_config.image_size = side
    model = Sam3Model.from_pretrained(folder, config=config).eval()
    processor = Sam3Processor.from_pretrained(folder)
    size = {"height": side, "width": side}
    found = []
    for image in images:
        inputs = [
            processor(images=image, text=word, size=size, return_tensors="pt") for word in WORDS
        ]
        with torch.no_grad():
            found.append([model(**one).presence_logits.sigmoid().item() for one in inputs])
    return found


def test_classes_that_a_preview_leaves_out_have_nothing_and_the_others_all(folder, decoder, images):
    prompts = decoder.prompts(WORDS)
    words = decoder.maps(images, prompts)
    chosen = set()
    decoded = decoder.decode(images, prompts, SPANS, RULE)
    for presence, maps, found in zip(presences(folder, images, 28), words, decoded, strict=True):
        of_classes = [max(presence[part]) for part in SPANS.positive]
        kept = RULE.chosen(torch.tensor(of_classes))
        assert len(kept) == 2
        chosen |= set(kept)
        for index, pair in enumerate(zip(SPANS.positive, SPANS.negative, strict=True)):
            expected = of_words(maps, *pair) if index in kept else torch.zeros_like(maps[0])
            torch.testing.assert_close(found.maps[index], expected, **CLOSE)
        assert set(found.instances.classes.tolist()) <= set(kept)
    assert chosen < set(range(5))


def test_a_preview_at_the_model_s_own_side_needs_no_second_look(decoder, images, monkeypatch):
    monkeypatch.setattr(
        "recoseg.decoders.sam3.at_side", lambda *_: pytest.fail("encodes photos twice")
    )
    rule = Preview(above=3, side=SIDE * 2, quantile=0.4, most=2)
    prompts = decoder.prompts(WORDS)
    [found] = decoder.decode(images[:1], prompts, SPANS, rule)
    assert sum(bool(one.any()) for one in found.maps) <= 2


def test_one_by_one_gives_the_same_as_all_together(decoder, images, monkeypatch):
    prompts = decoder.prompts(WORDS)
    calls = []
    counted = decoding.detect
    monkeypatch.setattr(decoding, "detect", lambda *given: calls.append(1) or counted(*given))
    together = list(decoder.decode(images, prompts, SPANS, RULE, 0.2))
    many = len(calls)
    monkeypatch.setattr(decoding, "pairs_at_once", lambda *_, **__: 1)
    monkeypatch.setattr(decoding, "photos_at_once", lambda *_: 1)
    alone = [next(decoder.decode(image[None], prompts, SPANS, RULE, 0.2)) for image in images]
    assert many < len(calls) - many
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one.maps, other.maps, **CLOSE)
        assert one.instances.classes.tolist() == other.instances.classes.tolist()
        torch.testing.assert_close(one.instances.scores, other.instances.scores, **CLOSE)
        torch.testing.assert_close(one.instances.masks, other.instances.masks, atol=2e-3, rtol=0)
    assert sum(len(one.instances.scores) for one in together)


def test_instances_are_those_of_the_library(folder, decoder, images):
    from transformers import Sam3Model, Sam3Processor

    model = Sam3Model.from_pretrained(folder).eval()
    processor = Sam3Processor.from_pretrained(folder)
    spans = WordSpans.of([(1, 0)] * 2)
    decoded = decoder.decode(images, decoder.prompts(WORDS[:2]), spans, confidence=0.2)
    total = 0
    for image, found in zip(images, decoded, strict=True):
        for index, word in enumerate(WORDS[:2]):
            inputs = processor(images=image, text=word, return_tensors="pt")
            with torch.no_grad():
                outputs = model(**inputs)
            grid = tuple(outputs.semantic_seg.shape[2:])
            [own] = processor.post_process_instance_segmentation(
                outputs, threshold=0.2, mask_threshold=0.5, target_sizes=[grid]
            )
            mine = found.instances.classes == index
            for score, mask in zip(
                found.instances.scores[mine], found.instances.masks[mine], strict=True
            ):
                [place] = (own["scores"] - score).abs().lt(1e-4).nonzero().flatten().tolist()
                assert torch.equal(mask > 0.5, own["masks"][place].bool())
                total += 1
    assert total > 1
