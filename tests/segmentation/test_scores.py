import pytest
import torch
import torch.nn.functional as F

from recoseg.errors import ConceptError
from recoseg.segmentation.scores import text_scores, visual_scores


def test_visual_scores_by_hand():
    features = torch.tensor([[3.0, 4.0], [0.0, 2.0]]).T.reshape(1, 2, 1, 2)
    references = [torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 5.0], [-1.0, 0.0]])]
    got = visual_scores(features, references)
    torch.testing.assert_close(got, torch.tensor([[[[0.6, 0.0]], [[0.8, 1.0]]]]))


def test_visual_scores_take_each_classes_best_reference():
    features = torch.randn(2, 7, 3, 5)
    references = [torch.randn(r, 7) for r in (1, 3, 2)]
    got = visual_scores(features, references)
    assert got.shape == (2, 3, 3, 5)
    unit = F.normalize(features, dim=1)
    for index, rows in enumerate(references):
        each = torch.stack([(unit * F.normalize(row, dim=0)[:, None, None]).sum(1) for row in rows])
        torch.testing.assert_close(got[:, index], each.amax(0))


def test_text_scores_by_hand():
    features = torch.tensor([[0.6, 0.8], [0.0, 1.0]]).T.reshape(1, 2, 1, 2)
    x, y = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    got = text_scores(features, [(x, None), (x, y), (torch.cat([x, y]), x[:0])])
    # The second class loses by what the negative word wins: .6 - (.8 - .6) and 0 - (1 - 0).
    expected = torch.tensor([[0.6, 0.0], [0.4, -1.0], [0.8, 1.0]])
    torch.testing.assert_close(got, expected.view(1, 3, 1, 2))


def test_a_batch_equals_its_images_one_by_one():
    features = torch.randn(3, 7, 2, 5)
    words = [(torch.randn(2, 7), torch.randn(1, 7)), (torch.randn(1, 7), None)]
    whole = text_scores(features, words)
    for index in range(3):
        torch.testing.assert_close(whole[index], text_scores(features[index][None], words)[0])


@pytest.mark.wrong_shapes
def test_bad_classes_are_named():
    features = torch.ones(1, 4, 2, 2)
    with pytest.raises(ConceptError, match=r"\(r, 4\).*class 1; got \(1, 3\)"):
        visual_scores(features, [torch.ones(1, 4), torch.ones(1, 3)])
    with pytest.raises(ConceptError, match="class 0; got"):
        visual_scores(features, [torch.ones(0, 4)])
    with pytest.raises(ConceptError, match="Class 0 has no positive word"):
        text_scores(features, [(torch.ones(0, 4), None)])
    with pytest.raises(ConceptError, match=r"\(a, 4\).*class 0"):
        text_scores(features, [(torch.ones(1, 5), None)])
