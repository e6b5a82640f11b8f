"""Saliency encoders whose attention comes from phi: from the pure function to learnt banks."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import recoseg
from recoseg.encoders.attention.proxy import proxy_attention, proxy_values
from recoseg.encoders.attention.regions import region_attention, region_values
from recoseg.encoders.bundle import Encoders, load_encoders
from recoseg.encoders.dense_clip import DenseClipEncoder
from recoseg.encoders.encoder_table import build_phi, build_retrieval, build_saliency
from recoseg.encoders.extract import extract
from recoseg.encoders.proxy_clip import ProxyClipEncoder, to_whole_patches
from recoseg.errors import EncoderMismatchError, RecosegError, UnknownNameError
from recoseg.regions.clusters import ClusterRegions
from tests.command import run

from .conftest import BF16, FP32, photos, tiny_clip

CLIP = "open_clip:tiny-vit"
PHI, OTHER = "timm:test_vit", "timm:test_vit2"
FORMS = ("proxy", "corr")
MEAN = torch.tensor((0.48145466, 0.4578275, 0.40821073))[:, None, None]
STD = torch.tensor((0.26862954, 0.26130258, 0.27577711))[:, None, None]


def built(form, phi=f"{PHI}=random", compute=FP32):
    """A phi, and the saliency encoder that gets its features."""
    one = build_phi(phi, compute)
    return one, build_saliency(f"{CLIP}/{form}=random", compute, one.info)


def by_the_definition(form, images, features):
    """Features of photos whose sides are multiples of both strides, one photo after the other."""
    visual = build_saliency(f"{CLIP}=random", FP32)._clip.visual
    found = []
    for image, proxy in zip(images, features, strict=True):
        inputs = ((image / 255 - MEAN) / STD)[None]
        if form == "proxy":
            values = proxy_values(visual, inputs, proxy[None])
        else:
            (labels,) = ClusterRegions(clusters=8, steps=8, least=4).regions_of([proxy[None]])
            values = region_values(visual, inputs, proxy[None], labels.long())
        found.append(F.normalize(values[0], dim=0))
    return torch.stack(found)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("phi", [PHI, "timm:resnet10t/layer1"])
def test_features_are_those_of_the_pure_function(form, phi):
    one, saliency = built(form, f"{phi}=random")
    images = photos(2, 48, 64)
    found = extract([saliency, one], images)
    assert found[saliency.info.key].shape == (2, 20, 48 // one.info.stride, 64 // one.info.stride)
    expected = by_the_definition(form, images, found[one.info.key])
    torch.testing.assert_close(found[saliency.info.key], expected, atol=1e-5, rtol=1e-5)
    plain = build_saliency(f"{CLIP}=random", FP32)
    assert torch.equal(saliency.embed_texts(["a dog"]), plain.embed_texts(["a dog"]))


@pytest.mark.parametrize("form", FORMS)
def test_any_size_and_precision(form):
    one, saliency = built(form)
    images = photos(1, 37, 50)
    found = extract([one, saliency], images)[saliency.info.key]
    assert found.shape == (1, 20, 3, 4)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(1, 3, 4))
    half = extract(built(form, compute=BF16), images)
    (cosines,) = [F.cosine_similarity(half[key], found) for key in half if form in key]
    assert half[saliency.info.key].dtype == torch.float32
    assert cosines.min() > 0.9


@pytest.mark.parametrize("form", FORMS)
def test_photos_of_one_colour(form):
    one, saliency = built(form)
    found = extract([one, saliency], torch.full((1, 3, 48, 48), 90, dtype=torch.uint8))
    assert found[saliency.info.key].isfinite().all()


def test_patches_that_are_all_alike_attend_to_themselves():
    alike = torch.ones(1, 3, 2, 2)
    assert torch.equal(proxy_attention(alike)[0, 0], torch.eye(4))
    weights = region_attention(torch.tensor([[2.0, 0.0]] * 3), torch.tensor([0, 0, 1]))
    assert torch.equal(weights, torch.eye(3))


def test_sides_become_the_nearest_multiples_of_the_patch():
    inputs = photos(1, 48, 60).float()
    assert to_whole_patches(inputs, 12) is inputs
    resized = to_whole_patches(inputs, 14)
    assert resized.shape == (1, 3, 42, 56)
    size = (42, 56)
    assert torch.equal(resized, F.interpolate(inputs, size, mode="bilinear", align_corners=False))
    assert to_whole_patches(inputs[..., :8, :8], 32).shape == (1, 3, 32, 32)


def test_the_identity_depends_on_phi():
    one, saliency = built("proxy")
    assert saliency.needs == one.info.key
    assert (saliency.info.name, saliency.info.stride) == (f"{CLIP}/proxy", one.info.stride)
    assert build_saliency(saliency.info, FP32, one.info).info == saliency.info
    others = [built("corr")[1], built("proxy", f"{OTHER}=random")[1]]
    keys = {encoder.info.fingerprint for encoder in (saliency, *others)}
    assert len(keys) == 3
    renamed = replace(one.info, name="another name of the same")
    assert build_saliency(saliency.info, FP32, renamed).info == saliency.info


def test_what_is_refused():
    one, saliency = built("proxy")
    with pytest.raises(RecosegError, match=r"tiny-vit/proxy needs the features of phi"):
        build_saliency(f"{CLIP}/proxy=random", FP32)
    with pytest.raises(RecosegError, match=r"needs the features of 'timm:test_vit "):
        saliency.features(photos(1, 48, 48))
    with pytest.raises(RecosegError, match="only ViTs with a class token have several forms"):
        build_saliency("open_clip:tiny-rn/proxy=random", FP32, one.info)
    clip = tiny_clip("tiny-vit")
    with pytest.raises(RecosegError, match="use a ProxyClipEncoder"):
        DenseClipEncoder(clip, FP32, "corr")
    with pytest.raises(RecosegError, match="use a DenseClipEncoder"):
        ProxyClipEncoder(clip, FP32, "naclip", one.info)
    with pytest.raises(UnknownNameError, match=r"'nosuch'.*proxy, corr"):
        DenseClipEncoder(clip, FP32, "nosuch")
    other = build_phi(f"{OTHER}=random", FP32)
    with pytest.raises(RecosegError, match=r"needs the features of 'timm:test_vit .*got timm:test"):
        Encoders(build_retrieval("open_clip:tiny-rn=random", FP32), saliency, (other,))


FAST = {"device": "cpu", "precision": "fp32"}
LEARN = {"k": 3, "image_size": 48, "prompts": "none", "context": ()}


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    root = tmp_path_factory.mktemp("proxy")
    (root / "photos").mkdir()
    for number, image in enumerate(photos(6, 48, 64, seed=5)):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(root / f"photos/{number}.png")
    return recoseg.build_index(
        root / "photos", root / "index", retrieval="open_clip:tiny-rn=random", **FAST
    )


def learn(index, form, *phis, **options):
    specs = {"retrieval": "open_clip:tiny-rn=random", "saliency": f"{CLIP}/{form}=random"}
    return recoseg.learn(
        index, ["dog", "sofa"], phi=[f"{one}=random" for one in phis], **specs, **options, **LEARN
    )


@pytest.mark.parametrize("form", FORMS)
def test_learn_and_segment(index, form, tmp_path):
    """What is learnt and segmented is what the features of the definition give."""
    learn(index, form, PHI, out=tmp_path / "bank.safetensors", **FAST)
    bank = recoseg.ConceptBank.load(tmp_path / "bank.safetensors")
    one, saliency = built(form)
    assert bank.encoders.saliency == saliency.info
    segmenter = recoseg.open_segmenter(bank, fusion="text", resize=0, keep_scores=True, **FAST)
    image = photos(1, 48, 64, seed=8)
    result = segmenter(image[0].permute(1, 2, 0).numpy())
    features = by_the_definition(form, image, one.features(image))
    words = torch.cat([concept.text_positive for concept in bank.classes])
    scores = torch.einsum("ndhw,cd->nchw", features, words)
    scores = F.interpolate(scores, (48, 64), mode="bilinear", align_corners=False)
    np.testing.assert_allclose(result.scores, scores[0].numpy(), atol=2e-3)
    whole = recoseg.open_segmenter(bank, encoders=Encoders(saliency, saliency, (one,)), **FAST)
    assert whole(image[0].permute(1, 2, 0).numpy()).labels.shape == (48, 64)


def test_guidance_uses_the_same_features_however_they_are_computed(index, tmp_path):
    """In this process, from a cache that holds phi's alone, and by workers of an executor."""
    bank = learn(index, "proxy", PHI, cache=tmp_path / "cache", **FAST)
    for form in FORMS:  # phi's features are known, those of the second form are not
        cached = learn(index, form, PHI, cache=tmp_path / "cache", **FAST)
        assert cached.fingerprint == learn(index, form, PHI, **FAST).fingerprint
    executor = recoseg.executors.LocalExecutor()
    assert learn(index, "proxy", PHI, executor=executor, **FAST).fingerprint == bank.fingerprint
    assert learn(index, "corr", PHI, **FAST).fingerprint != bank.fingerprint


def test_with_several_phi_the_first_is_the_proxy(index):
    bank = learn(index, "proxy", PHI, OTHER, **FAST)
    one, saliency = built("proxy")
    other = build_phi(f"{OTHER}=random", FP32)
    assert bank.encoders.saliency == saliency.info
    image = photos(1, 48, 64, seed=8)[0].permute(1, 2, 0).numpy()
    expected = recoseg.open_segmenter(bank, **FAST)(image).labels
    given = recoseg.open_segmenter(bank, phi=[other, one], **FAST)  # in any order
    np.testing.assert_array_equal(given(image).labels, expected)
    swapped = load_encoders(
        "lite",
        retrieval="open_clip:tiny-rn=random",
        saliency=f"{CLIP}/proxy=random",
        phi=[other, one],
        **FAST,
    )
    with pytest.raises(EncoderMismatchError, match=r"proxy .*depends on the phi .*the first one"):
        recoseg.open_segmenter(bank, encoders=swapped, **FAST)


def test_another_phi_is_refused(index):
    bank = learn(index, "proxy", PHI, **FAST)
    other, saliency = built("proxy", f"{OTHER}=random")
    expected = r"learnt with timm:test_vit .* as phi encoder, got timm:test_vit2"
    encoders = Encoders(saliency, saliency, (other,))
    for options in ({"phi": f"{OTHER}=random"}, {"phi": other}, {"encoders": encoders}):
        for fusion in ("text", "sum"):
            with pytest.raises(EncoderMismatchError, match=expected):
                recoseg.open_segmenter(bank, fusion=fusion, **options, **FAST)
    with pytest.raises(EncoderMismatchError, match=expected):
        recoseg.learn(index, ["tree"], add_to=bank, phi=f"{OTHER}=random", **FAST)
    with pytest.raises(EncoderMismatchError, match=r"/proxy .* as saliency encoder, got .*/corr"):
        recoseg.open_segmenter(bank, saliency=f"{CLIP}/corr=random", **FAST)
    more = recoseg.learn(index, ["tree"], add_to=bank, **FAST)
    assert [concept.name for concept in more.classes] == ["dog", "sofa", "tree"]


def test_an_equal_phi_of_another_name_serves(index):
    """The record's name is not that of the encoder at hand, whose features are the same."""
    bank = learn(index, "proxy", PHI, **FAST)
    phi = build_phi(f"{PHI}=random", FP32)
    phi.info = replace(phi.info, name="mine")
    image = photos(1, 48, 64, seed=8)[0].permute(1, 2, 0).numpy()
    expected = recoseg.open_segmenter(bank, **FAST)(image).labels
    found = recoseg.open_segmenter(bank, phi=phi, **FAST)(image).labels
    np.testing.assert_array_equal(found, expected)


def test_a_memory_holds_the_values_of_its_first_phi(index, tmp_path):
    options = {"saliency": f"{CLIP}/proxy=random", "size": 48, **FAST}
    memory = recoseg.remember(index, tmp_path / "memory", phi=f"{PHI}=random", **options)
    _, saliency = built("proxy")
    assert memory.manifest.texts == (saliency.info,)
    bank = learn(index, "proxy", PHI, **FAST)
    image = photos(1, 48, 64, seed=8)[0].permute(1, 2, 0).numpy()
    segmenter = recoseg.open_segmenter(bank, memory=memory, fusion="sum", **FAST)
    assert segmenter(image).labels.shape == (48, 64)
    swapped = recoseg.remember(
        index, tmp_path / "swapped", phi=[f"{OTHER}=random", f"{PHI}=random"], **options
    )
    with pytest.raises(EncoderMismatchError, match="depend on the first phi, which has to be the"):
        recoseg.open_segmenter(bank, memory=swapped, fusion="sum", **FAST)
    with pytest.raises(
        RecosegError, match=r"needs the features of 'timm:test_vit .*; got timm:test"
    ):
        recoseg.remember(
            index,
            tmp_path / "other",
            phi=f"{OTHER}=random",
            **(options | {"saliency": saliency}),
        )
    with pytest.raises(EncoderMismatchError, match="made with the phi"):
        recoseg.remember(index, tmp_path / "memory", phi=f"{OTHER}=random", **options)


def test_ablate_gives_each_phi_its_own_saliency_encoder(index, tmp_path):
    data = tmp_path / "data"
    for name in ("images", "masks"):
        (data / name).mkdir(parents=True)
    image = photos(1, 48, 64, seed=8)[0].permute(1, 2, 0).numpy()
    Image.fromarray(image).save(data / "images/1.png")
    Image.fromarray(np.tile(np.array([[0, 1]], np.uint8), (48, 32))).save(data / "masks/1.png")
    (data / "classes.txt").write_text("cat\ncar\n")
    result = run(
        *("ablate", "encoders", "--index", index.root, "--out", tmp_path / "out", "-k", 2),
        *("--dataset", "folder", "--root", data, "--device", "cpu", "--precision", "fp32"),
        *("--saliency", f"{CLIP}/proxy=random"),
        *("--phi", f"{PHI}=random", "--phi", f"{OTHER}=random"),
    )
    assert result.code == 0, result.err
    table = (tmp_path / "out/encoders.md").read_text()
    for phi in (PHI, OTHER):
        assert re.search(rf"{CLIP}/proxy, {phi} *\|", table), table
