import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from recoseg.device import resolve_compute
from recoseg.errors import MissingWeightsError, RecosegError
from recoseg.photos.refs import Photo
from recoseg.regions import sam2 as module
from recoseg.regions.masks import paint
from recoseg.regions.sam2 import Sam2Regions, _grid, crop_boxes

library = pytest.importorskip("transformers.models.sam2.image_processing_sam2")
SIDE = 64
CPU = resolve_compute("cpu", "fp32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny model of the same classes with random weights, as the library stores it."""
    from transformers import Sam2Config, Sam2Model, Sam2Processor
    from transformers.models.sam2 import Sam2HieraDetConfig, Sam2VisionConfig

    torch.manual_seed(0)
    widths = [8, 16, 32, 64]
    backbone = Sam2HieraDetConfig(
        hidden_size=8,
        image_size=[SIDE, SIDE],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=widths,
        num_attention_heads_per_stage=[1, 1, 2, 2],
        window_size_per_stage=[4, 4, 4, 2],
        global_attention_blocks=[3],
    )
    vision = Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=widths[::-1],
        backbone_feature_sizes=[[SIDE // 4] * 2, [SIDE // 8] * 2, [SIDE // 16] * 2],
        fpn_hidden_size=32,
    )
    prompt = {"hidden_size": 32, "image_size": SIDE, "patch_size": 16, "mask_input_channels": 4}
    decoder = {
        "hidden_size": 32,
        "mlp_dim": 32,
        "num_attention_heads": 2,
        "iou_head_hidden_dim": 32,
    }
    config = Sam2Config(
        vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder
    )
    processor = Sam2Processor(
        library.Sam2ImageProcessor(
            size={"height": SIDE, "width": SIDE}, mask_size={"height": 16, "width": 16}
        )
    )
    path = tmp_path_factory.mktemp("models") / "tiny"
    model = Sam2Model(config)
    for part in (model.mask_decoder, model.vision_encoder.neck):
        for parameter in part.parameters():
            parameter.data *= 18  # masks of small random weights would be nearly flat
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path


@pytest.fixture
def pixels():
    torch.manual_seed(1)
    return torch.randint(0, 256, (3, 30, 50), dtype=torch.uint8)


def provider(folder, **options):
    chosen = {"points": 4, "iou": 0.0, "stability": 0.0, "compute": CPU}
    return Sam2Regions(str(folder), **{**chosen, **options})


def test_masks_are_painted_with_the_smallest_on_top(folder, pixels):
    one = provider(folder)
    masks = one.masks(pixels)
    assert masks.shape[1:] == (30, 50)
    assert masks.any(dim=(1, 2)).any()
    regions = one.regions(Photo(""), pixels)
    assert regions.dtype == torch.int32
    assert torch.equal(regions, paint(masks))
    assert torch.equal(regions, provider(folder).regions(Photo(""), pixels))


def test_large_photos_are_divided_at_the_longest_side(folder, pixels, monkeypatch):
    monkeypatch.setattr(module, "MAX_SIDE", 25)
    one, seen = provider(folder), []
    masks = one.masks
    monkeypatch.setattr(one, "masks", lambda small: seen.append(small.shape) or masks(small))
    assert one.regions(Photo(""), pixels).shape == (30, 50)
    assert seen == [(3, 15, 25)]


def test_thresholds_leave_masks_out(folder, pixels):
    everything = provider(folder).masks(pixels)
    none = provider(folder, iou=1.0).regions(Photo(""), pixels)
    assert len(everything) > 0
    assert none.eq(0).all()
    assert none.shape == (30, 50)


def literal_masks(folder, pixels, points):
    """The best masks by the library's model, point by point; without those of alike boxes."""
    from transformers import Sam2Model, Sam2Processor

    model = Sam2Model.from_pretrained(folder).eval()
    processor = Sam2Processor.from_pretrained(folder)
    height, width = pixels.shape[1:]
    found = []
    for row in range(points):
        for column in range(points):
            point = [(column + 0.5) / points * width, (row + 0.5) / points * height]
            inputs = processor(
                images=pixels, input_points=[[[point]]], input_labels=[[[1]]], return_tensors="pt"
            )
            with torch.no_grad():
                output = model(**inputs)
            maps = torch.nn.functional.interpolate(
                output.pred_masks[0], (height, width), mode="bilinear"
            )[0]
            for score, one in zip(output.iou_scores[0, 0], maps, strict=True):
                stable = (one > 1).sum() / (one > -1).sum()
                if score > 0.0 and stable > 0.5:
                    found.append((float(score), (one > 0).numpy()))
    return sorted(found, key=lambda each: -each[0])


def test_masks_equal_those_of_single_points(folder, pixels):
    masks = provider(folder, stability=0.5).masks(pixels)
    found = [mask for _, mask in literal_masks(folder, pixels, 4)]

    def box(mask):
        y, x = np.nonzero(mask)
        return (x.min(), y.min(), x.max(), y.max()) if len(y) else (0, 0, 0, 0)

    def overlap(a, b):
        width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
        height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
        areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
        union = sum(areas) - width * height
        return width * height / union if union else 0

    kept = []
    for mask in found:
        if all(overlap(box(mask), box(other)) <= 0.7 for other in kept):
            kept.append(mask)
    assert len(kept) == len(masks) > 1
    wrong = np.stack(kept) != masks.numpy()
    assert wrong.mean() < 1e-3  # sums in another order move single pixels over the threshold


@pytest.mark.parametrize("crops", [0, 1])
def test_masks_of_square_photos_equal_those_of_the_library(folder, crops):
    from transformers import pipeline

    torch.manual_seed(4)
    square = torch.randint(0, 256, (3, 70, 70), dtype=torch.uint8)
    generate = pipeline("mask-generation", model=str(folder), device="cpu")
    expected = generate(
        Image.fromarray(square.permute(1, 2, 0).numpy()),
        points_per_batch=5,
        points_per_crop=4,
        pred_iou_thresh=-1.0,
        stability_score_thresh=0.3,
        crops_n_layers=crops,
    )["masks"]
    masks = provider(folder, stability=0.3, crops=crops, batch=5).masks(square)
    assert len(masks) == len(expected) > 2
    assert np.array_equal(masks.numpy(), np.stack([mask.numpy() for mask in expected]))


@pytest.mark.parametrize("size", [(7, 100), (33, 50), (64, 64)])
def test_crops_equal_those_of_the_library(size):
    for layers in range(4):
        boxes, _ = library._generate_per_layer_crops(layers, 512 / 1500, size)
        assert [list(box) for box in crop_boxes(size, layers)] == boxes


def test_crops_find_what_the_whole_photo_does_not(folder, pixels):
    whole, crops = (provider(folder, crops=layers).masks(pixels) for layers in (0, 1))
    assert crops.shape[1:] == (30, 50)
    assert len(crops) > len(whole)


def test_points_in_batches_give_the_same_masks(folder, pixels):
    one, other = (provider(folder, batch=size).masks(pixels) for size in (3, 16))
    assert torch.equal(one, other)


def test_the_grid_covers_the_whole_photo():
    grid = _grid(2, (8, 4))
    assert grid.tolist() == [[1, 2], [3, 2], [1, 6], [3, 6]]


def test_half_precision(folder, pixels):
    regions = provider(folder, compute=resolve_compute("cpu", "bf16")).regions(Photo(""), pixels)
    assert regions.shape == (30, 50)
    assert regions.max() >= 1


def test_the_model_is_loaded_when_it_is_needed(folder, tmp_path):
    one = Sam2Regions(str(tmp_path / "absent"), compute=CPU)
    assert "model=" in one.key
    with pytest.raises(MissingWeightsError, match="superpixels"):
        one.regions(Photo(""), torch.zeros(3, 8, 8, dtype=torch.uint8))


def test_damaged_weights_are_told(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(MissingWeightsError, match="cannot be loaded from"):
        provider(copy).masks(torch.zeros(3, 8, 8, dtype=torch.uint8))


def test_a_model_of_the_hub_that_is_not_on_this_machine(monkeypatch, tmp_path):
    import huggingface_hub.constants
    import transformers.utils.hub as hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "is_offline_mode", lambda: True)
    one = Sam2Regions("nobody/has-this-model", compute=CPU)
    with pytest.raises(MissingWeightsError, match="'nobody/has-this-model'"):
        one.masks(torch.zeros(3, 8, 8, dtype=torch.uint8))


def test_all_that_decides_the_masks_is_in_the_key(folder, tmp_path):
    keys = {
        one.key
        for one in (
            provider(folder),
            provider(folder, points=5),
            provider(folder, iou=0.1),
            provider(folder, stability=0.1),
            provider(folder, crops=1),
            provider(folder, compute=resolve_compute("cpu", "bf16")),
            Sam2Regions("facebook/sam2.1-hiera-small", compute=CPU),
        )
    }
    assert len(keys) == 7
    other = tmp_path / "tiny"
    other.mkdir()
    (other / "model.safetensors").write_bytes(b"other weights")
    assert provider(other).key not in keys


@pytest.mark.parametrize(
    "wrong", [{"points": 0}, {"iou": -0.1}, {"stability": 1.1}, {"crops": 5}, {"batch": 0}]
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(RecosegError, match=rf"{next(iter(wrong))} is .*; expected"):
        Sam2Regions(compute=CPU, **wrong)
