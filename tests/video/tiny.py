"""Tiny trackers of transformers' own classes with random weights, as the Hub would hold them."""

import pytest
import torch

SIDE = 56
"""Side of their input, pixels."""

_WIDTH = 128
"""Of features: the library's tracker needs twice the 64 of its memory."""

_MEMORY = {
    "memory_attention_hidden_size": _WIDTH, "memory_attention_num_layers": 1,
    "memory_attention_feed_forward_hidden_size": 32, "memory_encoder_hidden_size": _WIDTH,
    "memory_fuser_embed_dim": _WIDTH, "memory_fuser_intermediate_dim": 32,
    "memory_fuser_num_layers": 1, "mask_downsampler_embed_dim": _WIDTH, "num_maskmem": 3,
    "max_object_pointers_in_encoder": 4,
}  # fmt: skip
_DECODER = {
    "hidden_size": _WIDTH, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 32,
    "num_hidden_layers": 1,
}  # fmt: skip


def _library(name):
    transformers = pytest.importorskip("transformers")
    if not hasattr(transformers, name):
        pytest.skip(f"this transformers has no {name}")
    return transformers


def _save(model, processor, path):
    torch.manual_seed(7)
    for name, parameter in model.named_parameters():
        if "obj_score" in name:
            parameter.data.fill_(0.1)  # so that things are never taken to be hidden
        elif parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.25)
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path


def tiny_sam2(path):
    """Write a tracker of SAM 2.1, and return the folder."""
    library = _library("Sam2VideoModel")
    from transformers.models.sam2 import Sam2HieraDetConfig, Sam2VisionConfig
    from transformers.models.sam2.image_processing_sam2 import Sam2ImageProcessor
    from transformers.models.sam2_video.video_processing_sam2_video import Sam2VideoVideoProcessor

    side, widths = 64, [8, 16, 32, 64]
    backbone = Sam2HieraDetConfig(
        hidden_size=8, image_size=[side, side], blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=widths, num_attention_heads_per_stage=[1, 1, 2, 2],
        window_size_per_stage=[4, 4, 4, 2], global_attention_blocks=[3],
    )  # fmt: skip
    vision = Sam2VisionConfig(
        backbone_config=backbone, backbone_channel_list=widths[::-1], fpn_hidden_size=_WIDTH,
        backbone_feature_sizes=[[side // 4] * 2, [side // 8] * 2, [side // 16] * 2],
    )  # fmt: skip
    prompt = {
        "hidden_size": _WIDTH, "image_size": side, "patch_size": 16, "mask_input_channels": 4,
    }  # fmt: skip
    config = library.Sam2VideoConfig(
        vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=_DECODER,
        image_size=side, memory_attention_rope_feat_sizes=[side // 16] * 2, **_MEMORY,
    )  # fmt: skip
    size = {"height": side, "width": side}
    processor = library.Sam2VideoProcessor(
        Sam2ImageProcessor(size=size), Sam2VideoVideoProcessor(size=size), target_size=side
    )
    return _save(library.Sam2VideoModel(config), processor, path)


def tiny_sam3(path):
    """Write the video model of SAM 3, whose folder holds detector and tracker; return it."""
    library = _library("Sam3TrackerVideoModel")
    from transformers.models.sam2_video.video_processing_sam2_video import Sam2VideoVideoProcessor

    small = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 32}
    layered = {**small, "hidden_size": _WIDTH, "num_layers": 1}
    vision = {
        "backbone_config": {
            **small, "model_type": "sam3_vit_model", "num_hidden_layers": 2, "image_size": SIDE,
            "patch_size": 14, "window_size": 2, "global_attn_indexes": [1],
            "pretrain_image_size": 28,
        },
        "fpn_hidden_size": _WIDTH,
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
    }  # fmt: skip
    text = {
        **small, "model_type": "clip_text_model", "vocab_size": 20, "projection_dim": 16,
        "num_hidden_layers": 1, "max_position_embeddings": 32, "bos_token_id": 0,
        "eos_token_id": 1, "pad_token_id": 1,
    }  # fmt: skip
    detector = {
        "vision_config": vision, "text_config": text, "geometry_encoder_config": layered,
        "detr_encoder_config": layered, "detr_decoder_config": {**layered, "num_queries": 7},
        "mask_decoder_config": {"hidden_size": _WIDTH, "num_attention_heads": 2},
    }  # fmt: skip
    prompt = {"hidden_size": _WIDTH, "patch_size": 14, "mask_input_channels": 4}
    tracker = {
        "vision_config": {"model_type": "sam3_vision_model", **vision}, "image_size": SIDE,
        "prompt_encoder_config": prompt, "mask_decoder_config": _DECODER, **_MEMORY,
    }  # fmt: skip
    config = library.Sam3VideoConfig(detector_config=detector, tracker_config=tracker)
    size = {"height": SIDE, "width": SIDE}
    processor = library.Sam3TrackerVideoProcessor(
        library.Sam3ImageProcessor(size=size), Sam2VideoVideoProcessor(size=size), target_size=SIDE
    )
    return _save(library.Sam3VideoModel(config), processor, path)
