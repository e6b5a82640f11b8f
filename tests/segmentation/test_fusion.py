import math

import pytest
import torch
import torch.nn.functional as F

from recoseg.config import Fusion
from recoseg.errors import RecosegError, UnknownNameError
from recoseg.segmentation.fusion import activate_text, activate_visual, fuse


def maps(*values):
    return torch.tensor(values).view(len(values), 1, 1)


def run(visual, text, fusion):
    fused = fuse(activate_visual(visual, fusion), activate_text(text, fusion), fusion)
    return fused.flatten().tolist()


def test_product_is_the_published_one():
    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    got = run(maps(0.5, -0.2), maps(0.3, 0.1), Fusion())
    assert got == pytest.approx([sigmoid(0.5) * sigmoid(3), sigmoid(-0.2) * sigmoid(1)])
    got = run(maps(0.5), maps(0.3), Fusion(visual_scale=2, text_scale=5))
    assert got == pytest.approx([sigmoid(1) * sigmoid(1.5)])


def test_sum_adds_the_weighted_cosine():
    got = run(maps(0.5, 0.4), maps(0.1, 0.3), Fusion("sum", text_weight=0.1))
    assert got == pytest.approx([0.51, 0.43])


def test_one_alone_needs_nothing_of_the_other():
    part = maps(0.5, 0.4)
    assert fuse(part, None, Fusion("visual")) is part
    assert fuse(None, part, Fusion("text")) is part
    assert not Fusion("visual").uses_text
    assert not Fusion("text").uses_visual
    with pytest.raises(RecosegError, match="'product' needs text scores"):
        fuse(part, None, Fusion())
    with pytest.raises(RecosegError, match="'text' needs text scores"):
        fuse(part, None, Fusion("text"))


def test_sigmoid_comes_before_up_sampling():
    fusion = Fusion()
    scores = torch.tensor([[[[-1.0, 1.0]]]])
    up = F.interpolate(activate_text(scores, fusion), (1, 3), mode="bilinear")
    assert up[0, 0, 0, 1].item() == pytest.approx(0.5)


def test_unknown_forms_list_the_valid_ones():
    with pytest.raises(UnknownNameError, match="product, sum, visual, text"):
        Fusion("mean")
