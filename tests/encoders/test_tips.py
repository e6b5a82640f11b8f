"""TIPSv2 by transformers' own class, tiny and random, read from a folder as the Hub holds it."""

import pytest
import torch
from torch.nn import functional as F

from recoseg.encoders.encoder_table import build_retrieval, build_saliency
from recoseg.encoders.tips import tips_values
from recoseg.errors import MissingWeightsError, RecosegError

from .conftest import BF16, FP32, photos

transformers = pytest.importorskip("transformers")
if not hasattr(transformers, "Tipsv2Model"):
    pytest.skip("this transformers has no TIPSv2", allow_module_level=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    config = transformers.Tipsv2Config(
        vision_config={
            "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "patch_size": 8,
            "image_size": 40, "num_register_tokens": 2, "layerscale_value": 0.7,
        },
        text_config={
            "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 20,
            "intermediate_size": 16, "max_position_embeddings": 7,
        },
    )  # fmt: skip
    torch.manual_seed(3)
    model = transformers.Tipsv2Model(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    path = tmp_path_factory.mktemp("tips")
    model.save_pretrained(path)
    merges = [
        tuple(pair.split()) for pair in ("▁ a", "d o", "do g", "▁ dog", "r e", "▁ re", "▁re d")
    ]
    words = ["<pad>", "<unk>", *"▁adogre", *map("".join, merges)]
    vocab = {word: number for number, word in enumerate(words)}
    transformers.Tipsv2Tokenizer(vocab=vocab, merges=merges).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def model(folder):
    return transformers.Tipsv2Model.from_pretrained(folder).eval()


@pytest.mark.parametrize("size", [(40, 40), (24, 56)])
def test_each_patch_is_the_only_one_that_the_last_layer_sees(model, size):
    vision = model.vision_model
    inputs = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))
    seen = []
    hook = vision.encoder.layer[-1].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        vision(inputs)
    hook.remove()
    [tokens] = seen
    with torch.no_grad():
        dense = tips_values(vision, inputs)
        rows, columns = size[0] // 8, size[1] // 8
        assert dense.shape == (2, 32, rows, columns)
        assert tokens.shape[1] == 1 + 2 + rows * columns
        for y in range(rows):
            for x in range(columns):
                token = tokens[:, 3 + y * columns + x]
                alone = vision.layernorm(vision.encoder.layer[-1](token[:, None]))[:, 0]
                torch.testing.assert_close(dense[:, :, y, x], alone, atol=1e-5, rtol=1e-4)


def test_photos_and_texts_are_embedded_as_by_the_library(folder, model):
    encoder = build_retrieval(f"tipsv2-b14={folder}", FP32)
    assert (encoder.frame.size, encoder.frame.resize) == (40, "squash")
    processor = transformers.Tipsv2ImageProcessor()
    assert processor.resample == 2  # bilinear, as the frame says
    assert not processor.do_normalize
    images = photos(2, 40, 40)
    texts = ["a red dog", "A dog", "a " * 20]
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(
        texts, padding="max_length", truncation=True, max_length=7, return_tensors="pt"
    )
    assert tokens["attention_mask"].sum(1).tolist() == [3, 2, 7]
    with torch.no_grad():
        expected = model(
            input_ids=tokens["input_ids"],
            attention_mask=tokens["attention_mask"],
            pixel_values=images / 255,
        )
    torch.testing.assert_close(encoder.embed_images(images), expected.image_embeds)
    found = encoder.embed_texts(texts)
    torch.testing.assert_close(found, expected.text_embeds)
    torch.testing.assert_close(encoder.embed_texts(texts[:1]), found[:1])
    with pytest.raises(RecosegError, match="at least one text"):
        encoder.embed_texts([])


def test_the_dense_encoder(folder):
    encoder = build_saliency(f"tipsv2-b14={folder}", FP32)
    features = encoder.features(photos(2, 45, 71))
    assert features.shape == (2, 32, 6, 9)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(2, 6, 9))
    assert (encoder.info.stride, encoder.info.licence) == (8, "Apache-2.0")
    assert encoder.info.file == str(folder)
    again = build_saliency(encoder.info, FP32)
    assert again.info == encoder.info
    half = build_saliency(f"tipsv2-b14={folder}", BF16).features(photos(2, 45, 71))
    assert F.cosine_similarity(half, features).min() > 0.99
    whole = build_retrieval(f"tipsv2-b14={folder}", FP32)
    assert not whole.info.same_as(encoder.info)
    assert torch.equal(whole.embed_texts(["a dog"]), encoder.embed_texts(["a dog"]))


def test_what_is_refused(tmp_path, monkeypatch):
    with pytest.raises(MissingWeightsError, match="No folder was found at '/no/such'"):
        build_saliency("tipsv2-b14=/no/such", FP32)
    with pytest.raises(RecosegError, match="TIPSv2 cannot be read from"):
        build_saliency(f"tipsv2-b14={tmp_path}", FP32)
    with pytest.raises(RecosegError, match="sizes of TIPSv2 are read from the published files"):
        build_saliency("tipsv2-b14=random", FP32)
    with pytest.raises(RecosegError, match="one form only: leave out '/naclip'"):
        build_saliency("tipsv2-b14/naclip", FP32)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("RECOSEG_CACHE", str(tmp_path))
    with pytest.raises(MissingWeightsError, match=r"model of 'tipsv2-l14'(.|\n)*tipsv2-l14-model"):
        build_saliency("tipsv2-l14", FP32)
