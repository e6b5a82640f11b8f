"""Each form of the last layer against its definition, head by head and in fp64."""

import math

import pytest
import torch

from recoseg.encoders.attention import forms
from recoseg.encoders.attention.layered import layered
from recoseg.encoders.attention.positions import bilinear_in_half, by_scale_factor, by_size
from recoseg.encoders.attention.recipes import VIT_RECIPES
from recoseg.encoders.attention.tower import before_last, run
from recoseg.encoders.dense_clip import DenseClipEncoder, choose_recipe
from recoseg.encoders.encoder_table import build_retrieval, build_saliency
from recoseg.errors import RecosegError, UnknownNameError

from ..conftest import FP32, tiny_clip
from .towers import entering, heads_of, inputs, mix, projected, tower

GRID = (8, 8)


def gaussian(i, j):
    """NACLIP's window between two tokens, the class token first."""
    if not i or not j:
        return 0.0
    (ya, xa), (yb, xb) = divmod(i - 1, 8), divmod(j - 1, 8)
    return math.exp(-((ya - yb) ** 2 + (xa - xb) ** 2) / 50)


NEAR = torch.tensor([[gaussian(i, j) for j in range(65)] for i in range(65)], dtype=torch.double)
SCALE = 6**-0.5
WEIGHTS = {
    "maskclip": lambda q, k, v: torch.eye(65, dtype=torch.double),
    "values": lambda q, k, v: torch.eye(65, dtype=torch.double),
    "sclip": lambda q, k, v: (SCALE * q @ q.T).softmax(1) + (SCALE * k @ k.T).softmax(1),
    "naclip": lambda q, k, v: (SCALE * k @ k.T + NEAR).softmax(1),
    "clearclip": lambda q, k, v: (SCALE * q @ q.T).softmax(1),
    "qq-kk": lambda q, k, v: (SCALE * q @ q.T).softmax(1) + (SCALE * k @ k.T).softmax(1),
}
WHOLE = ("maskclip", "sclip")


@pytest.mark.parametrize("name", WEIGHTS)
def test_last_layer(name):
    visual, photos = tower(), inputs(2)
    found = VIT_RECIPES[name].compute(visual, photos)
    block = visual.transformer.resblocks[-1]
    for photo, tokens in zip(found, entering(visual, photos)[-2], strict=True):
        q, k, v = heads_of(block, tokens)
        mixed = mix(block, map(WEIGHTS[name], q, k, v), v)
        if name in WHOLE:
            mixed = tokens.double() + mixed
            mixed = mixed + block.mlp(block.ln_2(mixed.float())).double()
        expected = projected(visual, mixed)[1:].T.reshape(20, 8, 8)
        torch.testing.assert_close(photo, expected, atol=1e-5, rtol=1e-5)


def test_keys_and_values_alone():
    visual, photos = tower(), inputs()
    block, tokens = visual.transformer.resblocks[-1], entering(visual, photos)[-2][0]
    q, k, v = heads_of(block, tokens)
    for form, part in ((forms.kk, k), (forms.vv, v), (forms.qq, q)):
        mixed = mix(block, [(SCALE * one @ one.T).softmax(1) for one in part], v)
        expected = projected(visual, mixed)[1:].T.reshape(20, 8, 8)
        found = forms.last_attention(visual, photos, form)
        torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=1e-5)


def test_all_blocks_but_the_last():
    visual, photos = tower(), inputs(2)
    expected = entering(visual, photos)
    tokens, grid = before_last(visual, photos)
    assert grid == GRID
    torch.testing.assert_close(tokens, expected[-2], atol=1e-5, rtol=1e-5)
    outputs = run(visual, expected[1], 1, 3)
    torch.testing.assert_close(outputs, expected[2:4], atol=1e-5, rtol=1e-5)


def test_towers_of_one_block():
    visual, photos = tower(layers=1), inputs()
    torch.testing.assert_close(before_last(visual, photos)[0], entering(visual, photos)[0])


def test_layers_of_cliper():
    visual, photos = tower(), inputs()
    found, attention, grid = layered(visual, photos)
    assert grid == GRID
    states, blocks = entering(visual, photos), visual.transformer.resblocks
    total = [torch.zeros(65, 65, dtype=torch.double) for _ in range(4)]
    for block, state in zip(blocks[:-1], states, strict=False):
        q, k, _ = heads_of(block, state[0])
        total = [t + (SCALE * a @ b.T).softmax(1) for t, a, b in zip(total, q, k, strict=True)]
    for number, state in enumerate(states[:4]):
        weights = []
        for head in range(4):
            total[head] = total[head] / total[head].sum(0)[None]
            total[head] = total[head] / total[head].sum(1)[:, None]
            even = (total[head] + total[head].T) / 2
            even = (even - even.mean(0)[None]).clamp(min=0)
            weights.append(even / even.sum(1)[:, None])
        tokens = state[0] if number == 3 else blocks[number].ln_1(state[0])
        _, _, v = heads_of(blocks[-1], tokens)
        expected = projected(visual, mix(blocks[-1], weights, v))[1:]
        torch.testing.assert_close(found[number][0], expected, atol=1e-5, rtol=1e-5)
    expected = (sum(weights) / 4)[1:, 1:].float()
    torch.testing.assert_close(attention[0], expected, atol=1e-5, rtol=1e-5)


def test_positions():
    table = torch.randn(65, 3)
    assert by_size(table, GRID, GRID) is table
    assert by_scale_factor(table, GRID, (4, 16)) is table  # as many cells
    for form in (by_size, by_scale_factor, bilinear_in_half):
        other = form(table, GRID, (6, 10))
        assert other.shape == (61, 3)
        torch.testing.assert_close(other[0], table[0], atol=2e-3, rtol=0)


def cubic(values, at):
    """Bicubic interpolation along one axis, a = -0.75, with replicated borders."""

    def weight(x, a=-0.75):
        x = abs(x)
        if x <= 1:
            return (a + 2) * x**3 - (a + 3) * x**2 + 1
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0

    first = math.floor(at) - 1
    places = [min(max(first + n, 0), len(values) - 1) for n in range(4)]
    return sum(weight(at - first - n) * values[p] for n, p in enumerate(places))


@pytest.mark.parametrize(("form", "extra"), [(by_size, 0.0), (by_scale_factor, 0.1)])
def test_positions_are_sampled_at_these_places(form, extra):
    rows = torch.randn(8, generator=torch.Generator().manual_seed(0))
    table = torch.cat([torch.zeros(1, 1), rows[:, None].expand(8, 8).reshape(64, 1)])
    step = 8 / (16 + extra)
    expected = [cubic(rows.tolist(), (n + 0.5) * step - 0.5) for n in range(16)]
    found = form(table, GRID, (16, 16))[1:].view(16, 16)
    torch.testing.assert_close(found[:, 3], torch.tensor(expected), atol=1e-5, rtol=1e-5)


def test_forms_are_variants_of_the_saliency_encoder():
    names = {"values": "open_clip:tiny-vit/values", "naclip": "open_clip:tiny-vit/naclip"}
    plain = build_saliency("open_clip:tiny-vit=random", FP32)
    encoders = {form: build_saliency(f"{name}=random", FP32) for form, name in names.items()}
    photos = torch.randint(0, 256, (1, 3, 40, 48), dtype=torch.uint8)
    assert encoders["naclip"].info.name == names["naclip"]
    assert encoders["naclip"].info.fingerprint != plain.info.fingerprint
    assert encoders["values"].info.fingerprint == plain.info.fingerprint
    torch.testing.assert_close(encoders["values"].features(photos), plain.features(photos))
    assert not torch.allclose(encoders["naclip"].features(photos), plain.features(photos))
    rebuilt = build_saliency(encoders["naclip"].info, FP32)
    assert rebuilt.info == encoders["naclip"].info


def test_forms_share_the_model_of_other_roles():
    one = build_retrieval("open_clip:tiny-vit=random", FP32)
    other = build_saliency("open_clip:tiny-vit/sclip=random", FP32)
    assert one._clip is other._clip


def test_forms_that_do_not_exist():
    with pytest.raises(UnknownNameError, match=r"form of the last .* 'nosuch'.*naclip"):
        choose_recipe(tower(), "a ViT", "nosuch")
    with pytest.raises(RecosegError, match="only ViTs with a class token have several forms"):
        DenseClipEncoder(tiny_clip("tiny-rn"), FP32, "naclip")
    with pytest.raises(RecosegError, match="no meaning for the retrieval encoder"):
        build_retrieval("ViT-B/16/naclip=random", FP32)
