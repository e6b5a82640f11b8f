"""A tiny SAM 3 of transformers' own classes with random weights, as the Hub would hold it."""

import json

import pytest
import torch

SIDE = 56
"""Side of its input, pixels."""


def tiny_sam3(path):
    """Write the model, and return the folder."""
    transformers = pytest.importorskip("transformers")
    if not hasattr(transformers, "Sam3Model"):
        pytest.skip("this transformers has no SAM 3")
    small = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 32}
    layered = {**small, "num_layers": 1}
    config = transformers.Sam3Config(
        vision_config={
            "backbone_config": {
                **small, "model_type": "sam3_vit_model", "num_hidden_layers": 2, "image_size": SIDE,
                "patch_size": 14, "window_size": 2, "global_attn_indexes": [1],
                "pretrain_image_size": 28,
            },
            "fpn_hidden_size": 32,
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        },
        text_config={
            **small, "model_type": "clip_text_model", "vocab_size": 20, "projection_dim": 16,
            "num_hidden_layers": 1, "max_position_embeddings": 32, "bos_token_id": 0,
            "eos_token_id": 1, "pad_token_id": 1,
        },
        geometry_encoder_config=layered,
        detr_encoder_config=layered,
        detr_decoder_config={**layered, "num_queries": 7},
        mask_decoder_config={"hidden_size": 32, "num_attention_heads": 2},
    )  # fmt: skip
    torch.manual_seed(5)
    model = transformers.Sam3Model(config).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.25)
    model.save_pretrained(path)
    words = ["<|startoftext|>", "<|endoftext|>", *"dogcats", *(f"{one}</w>" for one in "dogcats")]
    vocab = {word: number for number, word in enumerate(dict.fromkeys(words))}
    tokenizer = transformers.CLIPTokenizer(vocab=vocab, merges=[])
    size = {"height": SIDE, "width": SIDE}
    processor = transformers.Sam3Processor(transformers.Sam3ImageProcessor(size=size), tokenizer)
    processor.save_pretrained(path)
    assert json.loads((path / "config.json").read_text())["model_type"] == "sam3"
    return path
