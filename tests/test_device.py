"""Devices and precisions are chosen by name; missing devices raise an error."""

import pytest
import torch
from torch import nn

from recoseg.device import Compute, leave_threads, resolve_compute
from recoseg.errors import RecosegError


@pytest.fixture
def cuda(monkeypatch):
    """Simulates a machine with two CUDA devices."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation
    )


@pytest.fixture
def cpu_only(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_names_of_precisions(precision, dtype):
    compute = resolve_compute("cpu", precision)
    assert compute == Compute(torch.device("cpu"), dtype)
    assert compute.precision == precision


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "fp32")])
def test_automatic_on_a_processor(cpu_only, monkeypatch, native, expected):
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: {"avx512_bf16": native}, raising=False
    )
    compute = resolve_compute()
    assert (compute.device.type, compute.precision) == ("cpu", expected)


def test_automatic_on_cuda(cuda):
    # Emulated bf16 does not count: fp16 is faster there.
    assert resolve_compute() == Compute(torch.device("cuda"), torch.float16)
    assert resolve_compute("cuda:1", "fp32") == Compute(torch.device("cuda:1"), torch.float32)
    with pytest.raises(RecosegError, match="'cuda:2' is not available"):
        resolve_compute("cuda:2")


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "mps", "meta"])
def test_absent_devices(cpu_only, device):
    with pytest.raises(RecosegError, match=f"'{device}' is not available .* --device auto or cpu"):
        resolve_compute(device)


@pytest.mark.parametrize("device", ["gpu", "", "cuda:x", "cuda:-1"])
def test_unknown_devices(device):
    with pytest.raises(RecosegError, match=r"Unknown device .* Expected auto, cpu, mps, cuda"):
        resolve_compute(device)


def test_unknown_precision():
    with pytest.raises(RecosegError, match=r"Unknown precision 'fp8'. Expected auto, fp32, bf16"):
        resolve_compute("cpu", "fp8")


def test_autocast_only_in_half_precision():
    product = torch.ones(4, 4)
    with resolve_compute("cpu", "fp32").autocast():
        assert (product @ product).dtype == torch.float32
    with resolve_compute("cpu", "bf16").autocast():
        assert (product @ product).dtype == torch.bfloat16


class Attends(nn.Module):
    """Convolution, norm, attention, linear layer, and a layer with its own forward pass."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 32, 4, 4)
        self.norm = nn.LayerNorm(32)
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
        self.last = nn.Linear(32, 5)
        self.own = Doubling(5, 5)

    def forward(self, photos):
        tokens = self.norm(self.conv(photos).flatten(2).mT)
        mixed = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return self.own(self.last(mixed))


class Doubling(nn.Linear):
    def forward(self, x):
        return torch.nn.functional.linear(x, 2 * self.weight)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Attends()


def test_half_precision_rounds_the_weights_of_products_once(network):
    compute = resolve_compute("cpu", "bf16")
    photos = torch.randn(2, 3, 16, 16)
    with torch.no_grad(), compute.autocast():
        want = network(photos)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    compute.place(network)
    with torch.no_grad(), compute.autocast():
        found = network(photos)
    assert float((found.float() - want.float()).abs().max()) < 0.02 * float(want.abs().max())
    kept = {name for name, p in network.named_parameters() if p.dtype == torch.float32}
    assert kept == {"norm.weight", "norm.bias", "own.weight", "own.bias"}
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter, before[name].to(parameter.dtype))
        assert not parameter.requires_grad
    assert not network.training


def test_fp32_leaves_the_weights(network):
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    resolve_compute("cpu", "fp32").place(network)
    assert all(torch.equal(p, before[name]) for name, p in network.named_parameters())
    assert not any(p.requires_grad for p in network.parameters())


def test_threads_are_left_to_others_and_come_back():
    usual = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        with leave_threads(1):
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 3
        with leave_threads(3):
            assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(usual)
