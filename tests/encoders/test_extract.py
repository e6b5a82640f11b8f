"""Photos through several encoders at once, with encoders that are written down here."""

import gc
import weakref

import pytest
import torch
import torch.nn.functional as F

from recoseg.encoders.extract import NeedsFeatures, SharesBackbone, extract
from recoseg.encoders.protocols import EncoderInfo
from recoseg.errors import RecosegError

from .conftest import photos


class Plain:
    """The mean colour of each cell."""

    def __init__(self, name="plain", stride=8):
        self.info = EncoderInfo(name, "random", "0" * 16, 3, stride)
        self.passes = 0

    def features(self, images):
        self.passes += 1
        return F.avg_pool2d(images.float(), self.info.stride)


class Proxy:
    """Means of the cells that look alike to another encoder."""

    def __init__(self, other, name="proxy"):
        self.needs = other
        self.info = EncoderInfo(name, "random", "1" * 16, 3, 16)

    def features(self, images):
        raise AssertionError("an encoder that needs others' features gets them")

    def features_with(self, images, other):
        cells = F.normalize(other.flatten(2), dim=1)
        weights = torch.softmax(torch.einsum("ncp,ncq->npq", cells, cells), dim=2)
        values = F.avg_pool2d(images.float(), 8).flatten(2)
        mixed = torch.einsum("npq,ncq->ncp", weights, values)
        return F.avg_pool2d(mixed.view(*mixed.shape[:2], *other.shape[2:]), 2)


class Network:
    """A backbone that counts its passes."""

    def __init__(self):
        self.passes = 0

    def dense(self, images):
        self.passes += 1
        return F.avg_pool2d(images.float(), 16)


class Shared:
    """A multiple of the backbone's maps."""

    def __init__(self, backbone, name, factor):
        self.info = EncoderInfo(name, "random", "2" * 16, 3, 16)
        self.backbone = backbone
        self.factor = factor

    def features(self, images):
        return self.from_backbone(self.backbone.dense(images))

    def from_backbone(self, maps):
        return self.factor * maps


IMAGES = photos(2, 32, 48)


def test_features_by_key_in_the_order_of_the_encoders():
    one, other = Plain("one"), Plain("other", 16)
    found = extract([one, other, one], IMAGES)
    assert list(found) == [one.info.key, other.info.key]
    assert one.passes == other.passes == 1
    assert torch.equal(found[other.info.key], other.features(IMAGES))
    assert list(extract([one, other], IMAGES, [other.info.key])) == [other.info.key]
    assert one.passes == 1


def test_encoders_with_the_same_backbone_share_its_pass():
    network, another = Network(), Network()
    encoders = [Shared(network, "a", 1), Shared(network, "b", 2), Shared(another, "c", 3)]
    assert all(isinstance(encoder, SharesBackbone) for encoder in encoders)
    found = extract(encoders, IMAGES)
    assert (network.passes, another.passes) == (1, 1)
    for encoder in encoders:
        assert torch.equal(found[encoder.info.key], encoder.features(IMAGES))


@pytest.mark.parametrize("order", [1, -1])
def test_an_encoder_gets_the_features_that_it_needs(order):
    plain = Plain()
    proxy = Proxy(plain.info.key)
    assert isinstance(proxy, NeedsFeatures)
    assert not isinstance(plain, NeedsFeatures | SharesBackbone)
    found = extract([plain, proxy][::order], IMAGES)
    assert plain.passes == 1
    expected = proxy.features_with(IMAGES, plain.features(IMAGES))
    assert torch.equal(found[proxy.info.key], expected)
    assert expected.shape == (2, 3, 2, 3)
    alone = extract([proxy, plain], IMAGES, [proxy.info.key])  # the other one is not returned
    assert list(alone) == [proxy.info.key]
    assert torch.equal(alone[proxy.info.key], expected)


def test_needs_that_cannot_be_met():
    with pytest.raises(RecosegError, match="proxy needs the features of the encoder 'gone"):
        extract([Plain(), Proxy("gone 0 0 0")], IMAGES)
    one = Proxy("two 1111111111111111 3 16", "one")
    two = Proxy(one.info.key, "two")
    with pytest.raises(RecosegError, match="needs the features of"):
        extract([one, two], IMAGES)


def test_nothing_is_held_until_garbage_is_collected():
    held = []

    class Watched(Network):
        def dense(self, images):
            maps = super().dense(images)
            held.append(weakref.ref(maps))
            return maps

    network = Watched()
    encoders = [Shared(network, "a", 2), Shared(network, "b", 3)]
    gc.collect()
    gc.disable()
    try:
        found = extract(encoders, photos(2, 32, 48))
        assert [one() for one in held] == [None]
        assert len(found) == 2
    finally:
        gc.enable()
