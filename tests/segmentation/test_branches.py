"""What branches cost: each backbone runs once, and an encoder gets the features that it needs."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recoseg.config import Fusion
from recoseg.errors import RecosegError
from recoseg.segmentation.bank_segmenter import bank_segmenter
from recoseg.segmentation.branches import Branch
from recoseg.segmentation.segmenter import Segmenter, stream_together

from .fakes import ColourEncoder, make_bank
from .test_bank_segmenter import noise

PHOTOS = [noise(seed, 24, 36) for seed in range(3)]


class Backbone:
    def __init__(self):
        self.runs = 0

    def dense(self, images):
        self.runs += len(images)
        return images.float()


class OverBackbone(ColourEncoder):
    """A colour encoder whose features are computed from those of a backbone."""

    def __init__(self, stride, backbone):
        super().__init__(stride)
        self.backbone = backbone

    def from_backbone(self, maps):
        return super().features(maps)

    def features(self, images):
        raise AssertionError("the backbone is shared")


class Follower(ColourEncoder):
    """A text encoder whose features are the mean of its own and another one's."""

    needs = ColourEncoder(4).info.key

    def features_with(self, images, other):
        own = super().features(images)
        return (own + F.adaptive_avg_pool2d(other, own.shape[2:])) / 2

    def features(self, images):
        raise AssertionError("the other features are needed")


@pytest.mark.parametrize("windows", [{}, {"window": 24, "window_step": 12}])
def test_a_shared_backbone_runs_once(windows):
    backbone = Backbone()
    phi, saliency = OverBackbone(4, backbone), OverBackbone(6, backbone)
    alike = [
        bank_segmenter(make_bank(), phi=phi, saliency=saliency, fusion=Fusion(form), **windows)
        for form in ("product", "sum", "text")
    ]
    found = list(stream_together(alike, PHOTOS))
    assert backbone.runs == len(PHOTOS) * (2 if windows else 1)
    plain = bank_segmenter(make_bank(), phi=ColourEncoder(4), saliency=ColourEncoder(6), **windows)
    for pixels, results in zip(PHOTOS, found, strict=True):
        np.testing.assert_array_equal(results[0].labels, plain(pixels).labels)


@pytest.mark.parametrize("form", ["text", "product"])
def test_an_encoder_gets_the_features_that_it_needs(form):
    phi, saliency = ColourEncoder(4), Follower(6)
    made = bank_segmenter(
        make_bank(), phi=phi, saliency=saliency, fusion=Fusion(form), keep_scores=True
    )
    found = made(PHOTOS[0])
    assert [call[0] for call in phi.calls] == [1]
    image = torch.from_numpy(PHOTOS[0]).permute(2, 0, 1)[None]
    expected = Follower(6).features_with(image, ColourEncoder(4).features(image))
    cell = F.normalize(expected, dim=1)[0, :, 0, 0]
    if form == "text":
        rows = torch.cat([concept.text_positive for concept in make_bank().classes])
        np.testing.assert_allclose(found.scores[:, 0, 0], (rows @ cell).numpy(), atol=2e-3)


def test_a_segmenter_has_the_branches_of_its_fusion():
    made = bank_segmenter(make_bank(), phi=ColourEncoder(4), saliency=ColourEncoder(6))
    assert [branch.name for branch in made.branches] == ["visual:colour", "text:colour"]
    assert all(isinstance(branch, Branch) for branch in made.branches)
    with pytest.raises(RecosegError, match=r"needs text scores; got .* branches visual:colour"):
        Segmenter(
            made.branches[:1],
            made.labeller,
            made.plan,
            made.settings,
            made.identity,
            made.kind,
            made.fingerprint,
        )
