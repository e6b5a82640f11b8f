import os
from pathlib import Path

import pytest
import torch

from recoseg.device import Compute
from recoseg.encoders.clip_arch import ClipArch
from recoseg.encoders.clip_model import LoadedClip, load_clip
from recoseg.encoders.encoder_table import build_phi
from recoseg.encoders.lite import encoders as lite
from recoseg.encoders.spec import EncoderSpec

from .tiny_timm import POOLED, add_to_open_clip

_TEXT = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
TINY = {
    "tiny-rn": {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 96, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
        "text_cfg": _TEXT,
    },
    "tiny-vit": {
        "embed_dim": 20,
        "vision_cfg": {
            "image_size": 40,
            "patch_size": 8,
            "layers": 3,
            "width": 32,
            "head_width": 16,
        },
        "text_cfg": _TEXT,
    },
}

FP32 = Compute(torch.device("cpu"), torch.float32)
BF16 = Compute(torch.device("cpu"), torch.bfloat16)


@pytest.fixture(scope="session", autouse=True)
def tiny_architectures(tmp_path_factory: pytest.TempPathFactory) -> None:
    add_to_open_clip(tmp_path_factory.mktemp("open_clip"), TINY | POOLED)


@pytest.fixture
def compute() -> Compute:
    return FP32


def tiny_clip(arch: str) -> LoadedClip:
    """A tiny CLIP in which no weight is zero and no normalisation trivial."""
    clip = load_clip(EncoderSpec(f"open_clip:{arch}", "random"), ClipArch(arch), FP32)
    generator = torch.Generator().manual_seed(7)
    for name, value in clip.model.state_dict().items():
        if name.endswith(("bias", "running_mean")):
            value.normal_(0, 0.2, generator=generator)
        elif value.ndim == 1 and name.endswith(("weight", "running_var")):
            value.uniform_(0.5, 1.5, generator=generator)
    return clip


def photos(n: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 5, 7, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    noise = torch.rand(n, 3, height, width, generator=generator)
    return ((0.8 * smooth + 0.2 * noise) * 255).to(torch.uint8)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No server answers, and all caches are empty; returns the weights folder."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("RECOSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "cache" / "weights"


@pytest.fixture
def deit_tiny_file() -> Path:
    root = os.environ.get("RECOSEG_TEST_DATA")
    path = Path(root or ".") / "weights" / "deit_tiny_patch16_224.safetensors"
    if not root or not path.is_file():
        pytest.skip("set RECOSEG_TEST_DATA to a folder with weights/" + path.name)
    return path


@pytest.fixture(scope="session")
def model():
    """The model of the offline backend, which all its encoders share."""
    build_phi("lite", FP32)
    return lite._MODELS["lite", FP32]
