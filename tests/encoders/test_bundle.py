"""Encoders are loaded together by preset, by name, by record, or given as objects."""

import pytest
import torch
from safetensors.torch import save_file

from recoseg.concepts import ConceptBank
from recoseg.encoders import bundle, encoder_table
from recoseg.encoders.bundle import EncoderInfos, Encoders, load_encoders
from recoseg.encoders.encoder_table import build_phi, build_retrieval, build_saliency
from recoseg.encoders.protocols import EncoderInfo
from recoseg.errors import MissingWeightsError, RecosegError, UnknownNameError

from .conftest import FP32, photos, tiny_clip

TIMM = "timm:vit_tiny_patch16_224"


class MyPhi:
    """An encoder of one's own: nothing but the members of the protocol."""

    info = EncoderInfo("mine", "my weights", "0" * 16, 3, 16)

    def features(self, images):
        return torch.nn.functional.avg_pool2d(images.float(), 16)


RECORD = EncoderInfo("ViT-B/16", "hub", "2" * 16, 512, 16)


@pytest.fixture
def asked(monkeypatch):
    """What `load_encoders` asks to be built; nothing is built."""
    found = []

    class Built:
        def __init__(self, name):
            self.info = EncoderInfo(str(name), "", "", 3, 16)

    for role in ("retrieval", "saliency", "phi"):

        def build(wanted, compute, proxy=None, role=role):
            found.append((role, wanted, compute.device.type, compute.precision))
            return Built(wanted)

        monkeypatch.setattr(bundle, f"build_{role}", build)
    return found


def test_a_preset(asked):
    load_encoders("paper-light", device="cpu", precision="fp32")
    assert asked == [
        ("phi", "deit-s16-sin", "cpu", "fp32"),
        ("retrieval", "ViT-B/32", "cpu", "fp32"),
        ("saliency", "RN50", "cpu", "fp32"),
    ]
    with pytest.raises(UnknownNameError, match="Valid: lite, paper, paper-light"):
        load_encoders("papier")


def test_other_encoders_than_the_presets(asked):
    mine = MyPhi()
    record = EncoderInfo("RN50x4", "hub", "1" * 16, 640, 32)
    encoders = load_encoders("paper", saliency=record, phi=["dino-s16", mine], device="cpu")
    assert [(role, wanted) for role, wanted, *_ in asked] == [
        ("phi", "dino-s16"),
        ("retrieval", "ViT-L/14@336px"),
        ("saliency", record),
    ]
    assert encoders.phi[1] is mine
    assert [info.name for info in encoders.info.phi] == ["dino-s16", "mine"]


@pytest.mark.parametrize(
    ("asked_for", "built"),
    [
        ("ViT-B/16", "ViT-B/16/proxy"),
        ("ViT-L/14@336px=clip.safetensors", "ViT-L/14@336px/proxy=clip.safetensors"),
        ("ViT-B/16/values", "ViT-B/16/values"),
        ("RN50=random", "RN50=random"),
        ("lite", "lite"),
        (RECORD, RECORD),  # what a bank has recorded keeps its meaning
    ],
)
def test_the_form_of_a_vit_that_is_asked_for_without_one(asked, asked_for, built):
    load_encoders("paper", saliency=asked_for, device="cpu")
    assert [wanted for role, wanted, *_ in asked if role == "saliency"] == [built]


def test_an_encoder_of_ones_own(asked):
    mine = MyPhi()
    assert load_encoders(phi=mine).phi == (mine,)
    with pytest.raises(RecosegError, match="phi encoder with the members info, features; int has"):
        load_encoders(phi=3)
    with pytest.raises(RecosegError, match="MyPhi has no embed_texts"):
        load_encoders(saliency=mine)


def test_no_phi_and_one_twice(asked):
    with pytest.raises(RecosegError, match="at least one phi encoder"):
        load_encoders(phi=[])
    with pytest.raises(RecosegError, match="different phi encoders, got mine twice"):
        load_encoders(phi=[MyPhi(), MyPhi()])


def test_infos_in_json():
    infos = [EncoderInfo(name, "w", f"{n:016x}", n, 16) for n, name in enumerate("abcd", 1)]
    one = EncoderInfos(infos[0], infos[1], (infos[2],))
    assert list(one.to_json()) == ["retrieval", "saliency", "phi"]
    several = EncoderInfos(infos[0], infos[1], (infos[2], infos[3]))
    for made in (one, several):
        assert EncoderInfos.from_json(made.to_json()) == made
    before = {role: dict(fields) for role, fields in one.to_json().items()}
    for fields in before.values():
        del fields["file"]  # version 0.1 did not record it
    assert EncoderInfos.from_json(before) == one


BUILDS = [
    (build_phi, TIMM),
    (build_phi, "timm:resnet10t/layer3"),
    (build_retrieval, "open_clip:tiny-vit"),
    (build_saliency, "open_clip:tiny-rn"),
]


@pytest.fixture
def weights_of(tmp_path):
    """Writes the random weights of an encoder to a file."""

    def write(build, name):
        path = tmp_path / "weights.safetensors"
        if build is build_phi:
            state = build(f"{name}=random", FP32)._backbone.module.state_dict()
        else:
            state = tiny_clip(name.removeprefix("open_clip:")).model.state_dict()
        save_file({key: value.contiguous() for key, value in state.items()}, path)
        return path

    return write


@pytest.mark.parametrize(("build", "name"), BUILDS, ids=[name for _, name in BUILDS])
def test_local_weights_are_found_again(build, name, weights_of, monkeypatch, no_network):
    path = weights_of(build, name)
    monkeypatch.chdir(path.parent)
    encoder = build(f"{name}=weights.safetensors", FP32)
    assert encoder.info.file == str(path)
    monkeypatch.chdir("/")
    record = EncoderInfo(**encoder.info.to_json())
    again = build(record, FP32)
    assert again.info == encoder.info
    if build is not build_retrieval:
        images = photos(1, 48, 64)
        assert torch.equal(again.features(images), encoder.features(images))
    path.rename(path.with_name("elsewhere.safetensors"))
    with pytest.raises(MissingWeightsError) as caught:
        build(record, FP32)
    role = build.__name__.removeprefix("build_")
    text = str(caught.value)
    for part in (
        f"weights file of the {role} encoder {name!r} is gone: {path}",
        f"--{role} {name}=/path/to/file",
    ):
        assert part in text


def test_published_weights_are_tried_when_the_file_is_gone(weights_of, monkeypatch):
    """They serve if they are the same, and are refused if they are others."""
    path = weights_of(build_phi, TIMM)
    encoder = build_phi(f"{TIMM}={path}", FP32)
    path.unlink()

    def by_name(role, spec, compute, proxy, recorded):
        assert (spec, proxy) == (TIMM, None)
        assert recorded in (encoder.info.fingerprint, "0" * 16)
        return encoder

    monkeypatch.setattr(encoder_table, "_build_spec", by_name)
    assert build_phi(encoder.info, FP32) is encoder
    other = EncoderInfo(**(encoder.info.to_json() | {"fingerprint": "0" * 16}))
    with pytest.raises(
        MissingWeightsError, match=f"is gone: {path}(.|\n)*expected fingerprint 0000"
    ):
        build_phi(other, FP32)


def test_published_and_random_weights_have_no_file():
    assert build_phi(f"{TIMM}=random", FP32).info.file == ""
    assert all(build("lite", FP32).info.file == "" for build in (build_retrieval, build_phi))
    assert build_phi(build_phi(f"{TIMM}=random", FP32).info, FP32).info.weights == "random"


def test_an_object_cannot_be_built_again():
    with pytest.raises(RecosegError, match=r"'mine' was not built by name(.|\n)*phi=\.\.\."):
        build_phi(MyPhi.info, FP32)


def test_infos_of_encoders():
    phi = MyPhi()
    retrieval = build_retrieval("open_clip:tiny-vit=random", FP32)
    saliency = build_saliency("open_clip:tiny-vit=random", FP32)
    info = Encoders(retrieval, saliency, (phi,)).info
    assert info == EncoderInfos(retrieval.info, saliency.info, (phi.info,))


def test_a_bank_remembers_its_local_weights(weights_of, tmp_path, no_network):
    path = weights_of(build_phi, TIMM)
    phi = build_phi(f"{TIMM}={path}", FP32)
    saliency = build_saliency("open_clip:tiny-vit=random", FP32)
    infos = EncoderInfos(saliency.info, saliency.info, (phi.info,))
    ConceptBank((), infos).save(tmp_path / "bank")
    bank = ConceptBank.load(tmp_path / "bank")
    again = build_phi(bank.encoders.phi[0], FP32)
    bank.check_encoders(saliency=saliency.info, phi=again.info)
    assert torch.equal(again.features(photos(1, 48, 64)), phi.features(photos(1, 48, 64)))
    path.unlink()
    with pytest.raises(MissingWeightsError, match=f"is gone: {path}"):
        build_phi(ConceptBank.load(tmp_path / "bank").encoders.phi[0], FP32)
