import math

import pytest
import torch
import torch.nn.functional as F

from recoseg.config import Fusion
from recoseg.errors import UnknownNameError
from recoseg.segmentation.fusion import FUSIONS, fusion_rule, highest_score


def maps(*values):
    return torch.tensor(values).view(len(values), 1, 1)


def run(fusion, **scores):
    """Fuse scores of branches that are named by their kind, or by kind and number."""
    rule = fusion_rule(fusion.form)
    parts = [
        rule.on_grid[name.rstrip("12")](maps(*values), fusion)
        for name, values in scores.items()
        if name.rstrip("12") in rule.kinds
    ]
    return rule.combine(parts).flatten().tolist()


def test_product_is_the_published_one():
    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    got = run(Fusion(), visual=[0.5, -0.2], text=[0.3, 0.1])
    assert got == pytest.approx([sigmoid(0.5) * sigmoid(3), sigmoid(-0.2) * sigmoid(1)])
    got = run(Fusion(visual_scale=2, text_scale=5), visual=[0.5], text=[0.3])
    assert got == pytest.approx([sigmoid(1) * sigmoid(1.5)])


def test_sum_adds_the_weighted_cosine():
    got = run(Fusion("sum", text_weight=0.1), visual=[0.5, 0.4], text=[0.1, 0.3])
    assert got == pytest.approx([0.51, 0.43])


def test_one_alone_needs_nothing_of_the_other():
    part = maps(0.5, 0.4)
    for form in ("visual", "text"):
        rule = FUSIONS[form]
        assert rule.kinds == (form,)
        assert rule.combine([rule.on_grid[form](part, Fusion(form))]) is part


def test_several_visual_branches_are_added_or_multiplied():
    both = {"visual1": [0.5, 0.4], "visual2": [0.1, -0.3], "text": [0.2, 0.2]}
    assert run(Fusion("sum", text_weight=0.5), **both) == pytest.approx([0.7, 0.2])
    assert run(Fusion("visual"), **both) == pytest.approx([0.6, 0.1])
    one = run(Fusion(), visual=[0.5, 0.4], text=[0.2, 0.2])
    other = [1 / (1 + math.exp(-x)) for x in both["visual2"]]
    expected = [a * b for a, b in zip(one, other, strict=True)]
    assert run(Fusion(), **both) == pytest.approx(expected)


def test_logits_become_logarithms_of_probabilities():
    rule = fusion_rule("logits")
    scores = torch.randn(3, 2, 5)
    assert torch.equal(rule.combine([scores]), scores.log_softmax(0))


def test_sigmoid_comes_before_up_sampling():
    fusion = Fusion()
    scores = torch.tensor([[[[-1.0, 1.0]]]])
    up = F.interpolate(FUSIONS["product"].on_grid["text"](scores, fusion), (1, 3), mode="bilinear")
    assert up[0, 0, 0, 1].item() == pytest.approx(0.5)


def test_unknown_forms_list_the_valid_ones():
    with pytest.raises(UnknownNameError, match="product, sum, visual, text"):
        Fusion("mean")
    with pytest.raises(UnknownNameError, match="product, sum, visual, text, decoder, logits"):
        fusion_rule("mean")


@pytest.mark.parametrize(
    ("fusion", "memory", "expected"),
    [
        (Fusion(), False, 1),
        (Fusion("visual"), False, 2),
        (Fusion("text"), False, 1),
        (Fusion("sum", text_weight=0.5), False, 2.5),
        (Fusion("sum", text_weight=-0.5), False, 3.5),
        (Fusion("sum", text_weight=0.5, phi_weights=(1.0, 0.25)), False, 1.75),
        (Fusion("sum", text_weight=0.5, memory_weight=0.75, photo_weight=2.0), True, 5.25),
        (Fusion("sum", text_weight=0.5, memory_weight=0.75, photo_weight=2.0), False, 4.5),
    ],
    ids=str,
)
def test_no_score_is_above_the_highest(fusion, memory, expected):
    assert highest_score(fusion, 2, memory) == expected
