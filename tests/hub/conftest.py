"""A Hub on this machine, a bank and a region memory of generated photos, and a tiny network."""

from dataclasses import replace

import pytest

import recoseg
from recoseg.encoders.bundle import Encoders
from recoseg.encoders.normalisation import Normalisation
from recoseg.training.model import ModelInfo, TrainedModel
from tests.hub_server import TOKEN, hub_server
from tests.learning.fakes import SIZE, Phi, Retrieval, Saliency, make_archive

CLASSES = ["rose", "grass: grass; lawn; -sea"]


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub that the client is sent to, with caches of its own and the login of ann."""
    with hub_server() as running:
        use(monkeypatch, tmp_path, running.address)
        yield running


def use(patch, folder, address):
    for name in ("HF_HUB_OFFLINE", "HUGGING_FACE_HUB_TOKEN"):
        patch.delenv(name, raising=False)
    patch.setenv("HF_ENDPOINT", address)
    patch.setenv("HF_TOKEN", TOKEN)
    patch.setenv("no_proxy", "*")
    patch.setenv("RECOSEG_CACHE", str(folder / "cache"))
    patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "hub-cache"))
    patch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(folder / "no-token"))
    patch.setattr("huggingface_hub.constants.ENDPOINT", address)
    pages = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    for module in ("constants", "file_download"):  # older clients keep it in both
        name = f"huggingface_hub.{module}.HUGGINGFACE_CO_URL_TEMPLATE"
        patch.setattr(name, pages, raising=False)
    patch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True, raising=False)


@pytest.fixture
def logged_out(hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")


@pytest.fixture(scope="session")
def encoders():
    return Encoders(Retrieval(), Saliency(), (Phi(),))


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive-of-ann"), Retrieval())


@pytest.fixture(scope="session")
def bank(archive, encoders):
    options = {"k": 4, "image_size": SIZE, "prompts": "none", "context": ("sky",)}
    return recoseg.learn(archive, CLASSES, encoders=encoders, **options)


@pytest.fixture(scope="session")
def memory(archive, encoders, tmp_path_factory):
    return recoseg.remember(
        archive,
        tmp_path_factory.mktemp("memory") / "memory",
        phi=encoders.phi,
        saliency=encoders.saliency,
        size=SIZE,
        regions="clusters:4",
        shard_size=10,
    )


@pytest.fixture(scope="session")
def model():
    """A network with random weights."""
    pytest.importorskip("segmentation_models_pytorch")
    provenance = {
        "recipe": {"encoder": "timm:test_efficientnet=/home/ann/weights.pth", "iterations": 6},
        "encoder_weights": "file weights.pth",
        "photos": 6,
        "masks": {"pseudo": {"memory": {"location": "/home/ann/memory"}, "resize": 48}},
    }
    info = ModelInfo(
        *("timm:test_efficientnet", 16, True, ("red", "green"), ((255, 0, 0), (0, 255, 0))),
        Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
        48,
        provenance,
    )
    return TrainedModel(info.build().eval(), info)


@pytest.fixture
def with_paths(bank):
    """The bank as if weights, prompts and a memory of this machine had made it."""
    encoders = bank.encoders
    own = replace(encoders.retrieval, file="/home/ann/weights/clip.safetensors")
    settings = bank.settings
    settings = replace(
        settings,
        learn=replace(settings.learn, prompts="/home/ann/prompts/mine.txt"),
        segment=replace(settings.segment, memory="/home/ann/memory", memory_content="0" * 32),
    )
    return replace(bank, encoders=replace(encoders, retrieval=own), settings=settings)
