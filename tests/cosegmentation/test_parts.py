import math

import pytest
import torch
import torch.nn.functional as F

from recoseg.cosegmentation import (
    CosegmentationError,
    context_elimination,
    cosegment,
    language_guidance,
    reference_embedding,
    select_seeds,
    support_scores,
)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_paper_block_spans_images_i_to_2i():
    k = 7
    maxima = torch.rand(13, k)
    expected = torch.zeros(13)
    for i in range(k):
        expected += torch.stack([maxima[:, j] for j in range(i, min(2 * i, k - 1) + 1)]).amax(0)
    torch.testing.assert_close(support_scores(maxima, "paper"), expected / k)


def test_seeds_of_equal_support_come_in_reading_order():
    support = torch.zeros(1, 3, 5)
    support[0, 1, 2] = support[0, 2, 0] = 1
    seeds = select_seeds(support, 4)
    assert seeds.tolist() == [[[1, 2], [2, 0], [0, 0], [0, 1]]]


def test_border_cells_are_not_seeds():
    support = torch.arange(35.0).view(1, 5, 7)
    assert select_seeds(support, 1).tolist() == [[[4, 6]]]
    assert select_seeds(support, 2, border=1).tolist() == [[[3, 5], [3, 4]]]
    assert select_seeds(support, 1, border=2).tolist() == [[[2, 4]]]


def test_border_gives_way_on_small_grids():
    support = torch.arange(35.0).view(1, 5, 7)
    assert select_seeds(support, 1, border=3).tolist() == [[[2, 4]]]  # as with 2
    assert select_seeds(support, 4, border=2)[0, 0].tolist() == [3, 5]  # 3 cells are too few
    assert select_seeds(torch.ones(1, 1, 1), 1, border=9).tolist() == [[[0, 0]]]


def test_references_by_hand():
    seeds = torch.tensor([[[4.0, 0.0]], [[0.0, 2.0]], [[1.0, 1.0]]])
    half = math.sqrt(0.5)

    def unit(x, y):
        return torch.tensor([x, y]) / math.hypot(x, y)

    torch.testing.assert_close(reference_embedding(seeds), unit(5, 3))
    torch.testing.assert_close(
        reference_embedding(seeds, "normalised-mean"), unit(1 + half, 1 + half)
    )
    # Weights 3, 2, 1.
    torch.testing.assert_close(reference_embedding(seeds, "rank-weighted"), unit(13, 5))
    # Mean cosines to the others: (0 + .7) / 2, (0 + .7) / 2, .7.
    torch.testing.assert_close(reference_embedding(seeds, "winner"), unit(1, 1))


def test_rank_weights_belong_to_images():
    seeds = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]])
    got = reference_embedding(seeds, "rank-weighted")
    torch.testing.assert_close(got, torch.tensor([2.0, 1.0]) / math.sqrt(5))


def test_winner_of_one_seed_is_that_seed():
    got = reference_embedding(torch.tensor([[[3.0, 4.0]]]), "winner")
    torch.testing.assert_close(got, torch.tensor([0.6, 0.8]))


def test_guidance_takes_the_sigmoid_before_up_sampling():
    scores = torch.rand(2, 3, 5) - 0.5
    got = language_guidance(scores, (7, 11))
    expected = F.interpolate(torch.sigmoid(10 * scores)[None], (7, 11), mode="bilinear")[0]
    torch.testing.assert_close(got, expected)
    assert got.min() > 0
    assert got.max() < 1


def test_guidance_on_its_own_grid_is_the_sigmoid():
    got = language_guidance(torch.tensor([[[0.1, -0.2]]]), (1, 2), scale=5)
    torch.testing.assert_close(got, torch.tensor([[[sigmoid(0.5), sigmoid(-1.0)]]]))


def test_context_by_hand():
    features = torch.tensor([[3.0, 0.0], [0.0, 2.0]]).view(2, 2, 1, 1).expand(2, 2, 3, 5)
    references = [torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, -4.0]])]
    got = context_elimination(features, references)
    assert got.shape == (2, 3, 5)
    assert got[0, 1, 2].item() == pytest.approx((1 - sigmoid(1)) * 0.5)
    assert got[1, 2, 4].item() == pytest.approx(0.5 * (1 - sigmoid(-1)))


def test_no_context_is_weight_one():
    assert torch.equal(context_elimination(torch.randn(2, 4, 3, 5), []), torch.ones(2, 3, 5))


def test_a_context_class_suppresses_once_however_many_references_it_has():
    torch.manual_seed(0)
    features, one, other = torch.randn(2, 7, 3, 5), torch.randn(1, 7), torch.randn(3, 7)
    got = context_elimination(features, [one, other])
    for image in range(2):
        for y in range(3):
            for x in range(5):
                patch = features[image, :, y, x]
                best = [
                    max(torch.cosine_similarity(patch, row, dim=0).item() for row in rows)
                    for rows in (one, other)
                ]
                expected = (1 - sigmoid(best[0])) * (1 - sigmoid(best[1]))
                assert got[image, y, x].item() == pytest.approx(expected, abs=1e-6)
    twice = context_elimination(features, [torch.cat([one, one]), other])
    assert torch.equal(twice, got)


@pytest.mark.wrong_shapes
def test_shapes_of_the_weights_are_checked():
    with pytest.raises(CosegmentationError, match=r"\(r, 4\).*got \(2, 3\)"):
        context_elimination(torch.ones(1, 4, 2, 2), [torch.ones(2, 3)])
    with pytest.raises(CosegmentationError, match="text scores"):
        language_guidance(torch.ones(2, 2), (2, 2))


def test_weigh_seeds_multiplies_support_by_weights():
    torch.manual_seed(0)
    features, weights = torch.randn(3, 8, 5, 7), torch.rand(3, 5, 7)
    plain, weighed = (cosegment(features, weights, weigh_seeds=w) for w in (False, True))
    torch.testing.assert_close(weighed.support, plain.support * weights)
    best = (plain.support * weights).flatten(1).argmax(1)
    seeds = weighed.seeds[:, 0]
    assert (seeds[:, 0] * 7 + seeds[:, 1]).tolist() == best.tolist()
    assert not torch.equal(weighed.seeds, plain.seeds)


def test_guidance_offset_moves_the_sigmoid():
    scores = torch.tensor([[[0.0, 0.2, 0.5]]])
    weights = language_guidance(scores, (1, 3), scale=30, offset=0.2)
    assert weights.flatten().tolist() == pytest.approx([sigmoid(-6), 0.5, sigmoid(9)])
