"""A bank of two classes with its index, and a server of them."""

import io
from contextlib import contextmanager

import pytest
import torch.nn.functional as F

import recoseg
from recoseg.encoders.bundle import Encoders
from tests.learning.fakes import SIZE, Phi, Retrieval, Saliency, make_archive, make_photo

pytest.importorskip("fastapi")
pytest.importorskip("python_multipart")
from fastapi.testclient import TestClient

from tests.serving.browser import DESKTOP, Visit, browser, serving

SETTINGS = {"k": 3, "image_size": SIZE, "prompts": "none", "context": ("sky",)}
NAMES = ["rose", "grass"]


def padded(images, stride):
    """Photos of any size, so that the last cells are whole."""
    height, width = images.shape[2:]
    return F.pad(images.float(), (0, -width % stride, 0, -height % stride), mode="replicate")


class AnySaliency(Saliency):
    def features(self, images):
        return super().features(padded(images, self.info.stride))


class AnyPhi(Phi):
    def features(self, images):
        return super().features(padded(images, self.info.stride))


def make_encoders():
    return Encoders(Retrieval(), AnySaliency(), (AnyPhi(),))


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("served"), Retrieval())


@pytest.fixture(scope="session")
def bank(archive):
    return recoseg.learn(archive, NAMES, encoders=make_encoders(), **SETTINGS)


@pytest.fixture
def file(bank, tmp_path):
    """The file of the bank, which a test may change."""
    bank.save(tmp_path / "bank.safetensors")
    return tmp_path / "bank.safetensors"


@pytest.fixture(scope="module")
def chromium():
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def served_file(bank, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "bank.safetensors"
    bank.save(path)
    return path


@pytest.fixture(scope="module")
def address(served_file, archive, chromium):
    with serving(served_file, archive, writable=True) as address:
        yield address


@pytest.fixture
def visits(chromium):
    """Opens the page; in the end the console must have said nothing."""
    opened = []

    def visit(address, **options):
        context = chromium.new_context(**(options or DESKTOP))
        one = Visit(context, address)
        opened.append((context, one))
        return one

    yield visit
    for context, one in opened:
        context.close()
        assert one.faults == []


@contextmanager
def served(bank, index=None, **options):
    """A client of a server in this process."""
    options.setdefault("encoders", make_encoders())
    app = recoseg.make_app(bank, index, **options)
    with TestClient(app, base_url="http://localhost") as client:
        yield client


def as_file(image, form="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def photo(seed=5, *patches):
    return as_file(make_photo(seed, *(patches or ("rose", "sky"))))


def post(client, data, **fields):
    """Segment a photo."""
    return client.post("/segment", files={"photo": ("secret name.png", data)}, data=fields)
