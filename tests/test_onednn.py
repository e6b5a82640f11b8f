"""Products by oneDNN equal those of PyTorch, alone and within networks."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from recoseg.onednn import OneDnnProducts, has_bfloat16, linear


def drawn(*shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)), dtype=dtype)


class Seen(TorchDispatchMode):
    """Records the operations that reach PyTorch."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("rows", [0, 1, 15, 16, 300])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("transposed", [True, False])
def test_linear_is_a_product(rows, has_bias, transposed):
    x, bias = drawn(rows, 70), drawn(33) if has_bias else None
    weight = drawn(70, 33).T if transposed else drawn(33, 70)
    want = x.double() @ weight.double().T + (0 if bias is None else bias.double())
    found = linear(x, weight, bias)
    assert found.shape == (rows, 33)
    assert torch.allclose(found.double(), want, atol=1e-4)


def test_rows_may_lie_apart():
    x = drawn(64, 140)[::2, ::2]
    weight = drawn(33, 70)
    assert torch.allclose(linear(x, weight), x @ weight.T, atol=1e-4)


def test_other_types_are_left_to_pytorch():
    x, weight = drawn(40, 8, dtype=torch.float64), drawn(5, 8, dtype=torch.float64)
    assert torch.equal(linear(x, weight), F.linear(x, weight))
    with OneDnnProducts():
        assert torch.equal(x @ weight.T, linear(x, weight))
        half = torch.addmm(drawn(5).bfloat16(), x.bfloat16(), weight.bfloat16().T)
    assert half.dtype == torch.bfloat16


def test_networks_go_through_it_and_give_the_same():
    layer = nn.TransformerEncoderLayer(64, 4, 96, batch_first=True).eval().requires_grad_(False)
    attention = nn.MultiheadAttention(64, 4, batch_first=True).eval().requires_grad_(False)
    mask = torch.full((20, 20), float("-inf")).triu(1)
    tokens = drawn(3, 20, 64)
    network = nn.Sequential(nn.Linear(64, 64), nn.GELU(), layer).eval()
    runs = [
        lambda: network(tokens),
        lambda: attention(tokens, tokens, tokens, need_weights=False)[0],
        lambda: attention(tokens, tokens, tokens)[0],
        lambda: attention(tokens, tokens, tokens, attn_mask=mask, need_weights=False)[0],
        lambda: attention(tokens, tokens + 1, tokens, need_weights=False)[0],
        lambda: tokens @ drawn(64, 7),
    ]
    with torch.no_grad():
        for run in runs:
            want = run()
            with Seen() as seen, OneDnnProducts():
                found = run()
            assert torch.allclose(found, want, atol=1e-5)
            # Attention whose weights are asked for is left as it is.
            assert ("mkldnn_convolution" in seen.names) == (run is not runs[2])
        with Seen() as seen, OneDnnProducts():
            runs[1]()
    assert not {"addmm", "mm", "_native_multi_head_attention"} & set(seen.names)


@torch.inference_mode()
def test_inference_mode_goes_through_it_too():
    layer, x = nn.Linear(64, 7), drawn(2, 20, 64)
    want = layer(x)
    with Seen() as seen, OneDnnProducts():
        found = layer(x)
        empty = layer(x[:0])
    assert torch.allclose(found, want, atol=1e-5)
    assert empty.shape == (0, 20, 7)
    assert "mkldnn_convolution" in seen.names


def test_gradients_are_those_of_pytorch():
    network = nn.Sequential(nn.Linear(32, 48), nn.GELU(), nn.Linear(48, 3))
    x = drawn(20, 32)
    want = torch.autograd.grad(network(x).sum(), list(network.parameters()))
    with OneDnnProducts():
        found = torch.autograd.grad(network(x).sum(), list(network.parameters()))
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, want, strict=True))


@pytest.mark.parametrize("known", [True, False])
def test_bfloat16_by_any_version_of_pytorch(monkeypatch, known):
    capabilities = {"avx512_bf16": False, "amx_bf16": known}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert has_bfloat16() == known
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: known, raising=False)
    assert has_bfloat16() == known
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported")
    assert not has_bfloat16()
