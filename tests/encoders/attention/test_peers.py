"""The forms against what the authors' own code computes.

The numbers are in a folder named by RECOSEG_TEST_FIXTURES; the tests are skipped without it.
"""

import json
import os
from pathlib import Path

import pytest
import torch
from open_clip.transformer import QuickGELU
from safetensors import safe_open
from torch.nn import functional as F

from recoseg.encoders.attention import forms, proxy, regions
from recoseg.encoders.attention.layered import layered
from recoseg.encoders.attention.positions import bilinear_in_half, by_scale_factor, by_size
from recoseg.encoders.attention.residual import patch_labels, residual
from recoseg.encoders.attention.self_adjusting import self_adjusting
from recoseg.encoders.attention.tower import to_map
from recoseg.refinement.pamr import pamr
from recoseg.regions.protocol import NONE

from .towers import tower

FOLDER = os.environ.get("RECOSEG_TEST_FIXTURES", "")
pytestmark = pytest.mark.skipif(not FOLDER, reason="needs RECOSEG_TEST_FIXTURES")
NEAR = {"atol": 1e-5, "rtol": 0}


class Peer:
    """The inputs, the model and the expected outputs of one method."""

    def __init__(self, name, act=QuickGELU, eps=1e-5):
        with safe_open(Path(FOLDER) / f"{name}.safetensors", "pt") as file:
            self.tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            self.notes = file.metadata()
        if "model" in self.notes:
            shape = json.loads(self.notes["model"])
            self.visual = tower(shape["layers"], shape["width"], act=act, eps=eps, out=shape["out"])
            weights = {k[6:]: v.float() for k, v in self.tensors.items() if k.startswith("model.")}
            self.visual.load_state_dict(weights)

    def __getitem__(self, key):
        return self.tensors[key]

    def image(self, key="image"):
        statistics = json.loads(self.notes["normalisation"])
        mean, std = (torch.tensor(statistics[k]).view(1, 3, 1, 1) for k in ("mean", "std"))
        return (self[key].float() / 255 - mean) / std


SINGLE = {
    "sclip": (forms.qq_kk, True),
    "naclip": (forms.neighbours, False),
    "clearclip": (forms.qq, False),
    "qq_kk_reduced": (forms.qq_kk, False),
}


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("size", ["native", "wide"])
def test_single_layer_forms(name, size):
    peer, (attention, whole) = Peer(name), SINGLE[name]
    found = forms.last_attention(
        peer.visual,
        peer.image(f"image.{size}"),
        attention,
        whole=whole,
        positions=by_scale_factor,
    )
    torch.testing.assert_close(found, peer[f"expected.{size}"], **NEAR)


@pytest.mark.parametrize("size", ["native", "wide"])
def test_maskclip_of_open_clip(size):
    peer = Peer("maskclip_openclip")
    found = forms.maskclip(peer.visual, peer.image(f"image.{size}"))
    torch.testing.assert_close(found, peer[f"expected.{size}"], **NEAR)


@pytest.mark.parametrize("size", ["native", "wide", "padded"])
def test_maskclip_with_exact_gelu_and_zero_padding(size):
    peer = Peer("maskclip_vit", torch.nn.GELU, 1e-6)
    photo = peer.image(f"image.{size}")
    photo = F.pad(photo, (0, -photo.shape[3] % 8, 0, -photo.shape[2] % 8))
    torch.testing.assert_close(forms.maskclip(peer.visual, photo), peer[f"expected.{size}"], **NEAR)


def test_cliper():
    peer = Peer("cliper")
    for size in ("native", "wide"):
        photo = peer.image(f"image.{size}")
        features, attention, grid = layered(peer.visual, photo, bilinear_in_half)
        fused = to_map(features[-1], grid)
        tolerance = {"atol": 2e-4 if size == "wide" else 1e-5, "rtol": 0}
        torch.testing.assert_close(fused, peer[f"expected.{size}.fused-attn"], **tolerance)
        if size == "native":
            torch.testing.assert_close(torch.cat(features), peer["layers.native"], **NEAR)
            torch.testing.assert_close(attention[0], peer["attention.native"], **NEAR)
            for name, form in {"q-q": forms.qq, "k-k": forms.kk, "v-v": forms.vv}.items():
                found = forms.last_attention(peer.visual, photo, form, positions=bilinear_in_half)
                torch.testing.assert_close(found, peer[f"expected.native.{name}"], **NEAR)
            found = forms.vit_values(peer.visual, photo)
            torch.testing.assert_close(found, peer["expected.native.identity"], **NEAR)


@pytest.mark.parametrize("size", ["same", "double"])
def test_proxyclip(size):
    peer = Peer("proxyclip")
    photo, other = peer.image(f"image.{size}"), peer[f"proxy.{size}"]
    found = proxy.proxy_values(peer.visual, photo, other, by_scale_factor)
    torch.testing.assert_close(found, peer[f"expected.{size}"], **NEAR)


@pytest.mark.parametrize("case", ["a", "b"])
def test_trident(case):
    peer = Peer("trident")
    options = json.loads(peer.notes["cases"])[case]
    boxes, photo = peer["window_cells"].tolist(), peer.image()
    windows = torch.cat(
        [photo[:, :, 8 * top : 8 * low, 8 * left : 8 * right] for top, left, low, right in boxes]
    )
    mixed = proxy.window_values(peer.visual, windows, peer["proxy"], by_scale_factor)
    pasted = proxy.paste(mixed, [(top, left) for top, left, _, _ in boxes], (8, 12))
    weights = proxy.global_attention(
        peer["sam_attn"][0],
        peer["sam_v"][0].flatten(1, 2),
        factor=options["cos_fac"],
        lift_negative=options["refine_neg_cos"],
    )
    found = proxy.global_features(peer.visual, pasted, weights, (6, 9))
    torch.testing.assert_close(found, peer[f"expected.{case}"], **NEAR)


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("masks", ["some", "all"])
def test_corrclip(version, masks):
    peer = Peer("corrclip")
    ids = peer[f"masks.{masks}"][0, 0].long()
    ids[ids == ids.min()] = NONE  # the authors take the smallest id for "none"
    other = peer["proxy"].transpose(1, 2).reshape(1, 12, 16, 16)
    found = regions.region_values(
        peer.visual, peer.image(), other, ids, merge=version == "v1", positions=by_scale_factor
    )
    torch.testing.assert_close(found, peer[f"expected.{version}.{masks}"], **NEAR)


@pytest.mark.parametrize("size", ["native", "wide"])
def test_resclip(size):
    peer = Peer("resclip")
    photo, texts = peer.image(f"image.{size}"), F.normalize(peer[f"text.{size}"], dim=1)

    def label(features):
        grid = (features.shape[2], features.shape[3])
        cosines = torch.einsum("ndhw,cd->nchw", F.normalize(features, dim=1), texts)
        cosines = F.interpolate(cosines, photo.shape[2:], mode="bilinear", align_corners=False)
        sharp = 40 * pamr(cosines, photo, 10, (8, 16))
        best, names = sharp.softmax(1).max(1)
        names[best < float(peer.notes["temp_thd"])] = 0
        return torch.stack([patch_labels(one, grid) for one in names])

    first = residual(peer.visual, photo, positions=by_scale_factor)
    torch.testing.assert_close(first, peer[f"expected.rcs.{size}"], **NEAR)
    full = residual(peer.visual, photo, positions=by_scale_factor, label=label, short_sight=True)
    torch.testing.assert_close(full, peer[f"expected.full.{size}"], atol=2e-4, rtol=0)


def test_scclip():
    peer = Peer("scclip")
    found = self_adjusting(peer.visual, peer.image("image.native"), by_scale_factor)
    torch.testing.assert_close(found, peer["expected.native"], **NEAR)


@pytest.mark.parametrize("grid", [(6, 10), (12, 12), (9, 21)])
def test_positions(grid):
    peer, name = Peer("positions"), "x".join(map(str, grid))
    forms_of = {"size": by_size, "scale_factor": by_scale_factor, "bilinear_fp16": bilinear_in_half}
    for key, form in forms_of.items():
        found = form(peer["table"], (8, 8), grid)
        torch.testing.assert_close(found, peer[f"{key}.{name}"].float(), **NEAR)
