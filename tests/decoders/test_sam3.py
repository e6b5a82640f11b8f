"""SAM 3 by transformers' own classes, tiny and random, read from a folder as the Hub holds it."""

import pytest
import torch
from PIL import Image

from recoseg.decoders.class_maps import class_map
from recoseg.decoders.prompt_learning import mean_tokens
from recoseg.decoders.sam3 import Prompts, load_decoder
from recoseg.device import resolve_compute
from recoseg.errors import MissingWeightsError, RecosegError, UnknownNameError

from .tiny import SIDE, tiny_sam3

FP32 = resolve_compute("cpu", "fp32")
WORDS = ["dog", "cat", "a dog", "cats", "toad"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_sam3(tmp_path_factory.mktemp("sam3"))


@pytest.fixture(scope="module")
def decoder(folder):
    return load_decoder(f"sam3={folder}", FP32)


@pytest.fixture(scope="module")
def images():
    return torch.randint(
        0, 256, (2, 3, 33, 47), dtype=torch.uint8, generator=torch.Generator().manual_seed(2)
    )


def literal(folder, image, word, confidence):
    """The map of a word as the library's own pieces give it, in one call per word."""
    from transformers import Sam3Model, Sam3Processor

    model = Sam3Model.from_pretrained(folder).eval()
    processor = Sam3Processor.from_pretrained(folder)
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    inputs = processor(images=picture, text=word, return_tensors="pt")
    with torch.no_grad():
        outputs = model(**inputs)
    grid = tuple(outputs.semantic_seg.shape[2:])
    [semantic] = processor.post_process_semantic_segmentation(
        outputs, [grid], return_segmentation_scores=True
    )
    semantic = semantic["scores"] if isinstance(semantic, dict) else outputs.semantic_seg.sigmoid()
    [found] = processor.post_process_instance_segmentation(
        outputs, threshold=confidence, target_sizes=[grid]
    )
    present = outputs.presence_logits.sigmoid().item()
    scores = outputs.pred_logits[0].sigmoid() * present
    best = semantic.reshape(grid).clone()
    kept = 0
    for score, mask in zip(scores, outputs.pred_masks[0].sigmoid(), strict=True):
        if score > confidence:
            kept += 1
            best = torch.where(score * mask > best, score * mask, best)
    assert kept == len(found["scores"])
    torch.testing.assert_close(
        found["scores"].sort().values, scores[scores > confidence].sort().values
    )
    return present * best, kept


def test_maps_equal_those_of_the_library_word_by_word(folder, decoder, images):
    confidence = 0.2
    maps = decoder.maps(images, decoder.prompts(WORDS), confidence)
    assert maps.shape[:2] == (2, 5)
    instances = 0
    for number, image in enumerate(images):
        for place, word in enumerate(WORDS):
            expected, kept = literal(folder, image, word, confidence)
            instances += kept
            torch.testing.assert_close(maps[number, place], expected, atol=2e-5, rtol=1e-3)
    assert instances > 0
    assert len({round(float(one.mean()), 6) for one in maps.flatten(0, 1)}) == 10


def test_photos_and_words_do_not_depend_on_others(decoder, images):
    together = decoder.maps(images, decoder.prompts(WORDS))
    alone = decoder.maps(images[1:], decoder.prompts(WORDS[4:]))
    torch.testing.assert_close(together[1:, 4:], alone, atol=2e-5, rtol=1e-3)


def test_a_prompt_of_one_word_gives_the_maps_of_the_word(decoder, images):
    words = decoder.prompts(["cat", "a dog"])
    tokens, counted = mean_tokens(words.tokens, words.are_words, torch.tensor([0.0, 1.0]))
    own = Prompts(tokens[None], counted[None])
    expected = decoder.maps(images, words)[:, 1:]
    torch.testing.assert_close(decoder.maps(images, own), expected, atol=2e-5, rtol=1e-3)
    assert (decoder.maps(images, words)[:, :1] - expected).abs().max() > 1e-3


def test_half_precision(folder, images):
    half = load_decoder(f"sam3={folder}", resolve_compute("cpu", "bf16"))
    maps = half.maps(images[:1], half.prompts(["dog"]))
    assert maps.dtype == torch.float32
    assert ((maps >= 0) & (maps <= 1)).all()


def test_the_side_of_its_input(decoder):
    assert decoder.side == SIDE


def test_what_is_refused(tmp_path, decoder):
    with pytest.raises(UnknownNameError, match="sam3"):
        load_decoder("sam4")
    with pytest.raises(MissingWeightsError, match="No folder was found at '/no/such'"):
        load_decoder("sam3=/no/such", FP32)
    with pytest.raises(RecosegError, match="SAM 3 cannot be read from"):
        load_decoder(f"sam3={tmp_path}", FP32)
    with pytest.raises(RecosegError, match="sizes of SAM 3 are read"):
        load_decoder("sam3=random", FP32)
    with pytest.raises(RecosegError, match="at least one word"):
        decoder.prompts([])


def test_class_maps_equal_a_loop_over_pixels():
    torch.manual_seed(0)
    presence, semantic = torch.randn(()) + 1, torch.randn(3, 5)
    instances, masks = torch.randn(4), torch.randn(4, 3, 5)
    found = class_map(presence, semantic, instances, masks, 0.3)
    p = 1 / (1 + (-presence).exp())
    for y in range(3):
        for x in range(5):
            best = 1 / (1 + (-semantic[y, x]).exp())
            for score, mask in zip(instances, masks, strict=True):
                s = p / (1 + (-score).exp())
                if s >= 0.3:
                    best = max(best, s / (1 + (-mask[y, x]).exp()))
            assert found[y, x].item() == pytest.approx((p * best).item(), abs=1e-6)
