import json

import numpy as np
import pytest

from recoseg.errors import LabelError, RecosegError
from recoseg.evaluation.evaluation import Evaluation, ImageScore
from tests.evaluation.examples import BOUNDARY, COUNTS, IMAGES, example


@pytest.mark.parametrize(
    "evaluation",
    [example(), example(boundary=None), example(counts=COUNTS * 0, images=(), settings={})],
    ids=["all", "no boundary", "no pixel"],
)
def test_json_holds_everything(evaluation):
    text = json.dumps(evaluation.to_json(), allow_nan=False)
    again = Evaluation.from_json(json.loads(text))
    assert json.dumps(again.to_json()) == text
    for field in ("name", "dataset", "split", "names", "palette", "settings", "images", "seconds"):
        assert getattr(again, field) == getattr(evaluation, field)
    assert np.array_equal(again.counts, evaluation.counts)
    assert again.counts.dtype == np.int64
    assert (again.boundary is None) == (evaluation.boundary is None)
    if again.boundary is not None:
        assert np.array_equal(again.boundary, evaluation.boundary)


def test_json_holds_the_scores_for_readers():
    fields = example().to_json()
    assert fields["scores"]["accuracy"] == pytest.approx(177 / 200)
    assert fields["scores"]["classes"][3] == {
        "name": "tram",
        "iou": None,
        "precision": None,
        "recall": None,
        "share": 0.0,
    }
    assert fields["boundary_scores"]["classes"][0]["precision"] == 0.75
    assert example(counts=COUNTS * 0).to_json()["scores"] is None


def test_scores():
    evaluation = example()
    assert evaluation.scores.miou == pytest.approx((60 / 83 + 90 / 105 + 27 / 30) / 3)
    assert evaluation.boundary_scores.f[1] == 1
    assert example(boundary=None).boundary_scores is None
    with pytest.raises(LabelError, match="No labelled pixel"):
        _ = example(counts=COUNTS * 0).scores


def test_best_and_worst_images():
    evaluation = example()
    assert [image.name for image in evaluation.best(3)] == ["a/2", "a/5", "a/1"]
    assert [image.name for image in evaluation.worst(2)] == ["a/6", "a/1"]
    assert len(evaluation.best(99)) == 4
    assert evaluation.failures == (IMAGES[3],)


def test_score_of_an_image():
    score = ImageScore.of("photo", COUNTS)
    assert (score.name, score.error) == ("photo", None)
    assert score.accuracy == pytest.approx(177 / 200)
    assert score.miou == example().scores.miou
    assert ImageScore.of("void", COUNTS * 0) == ImageScore("void")


def test_settings_are_kept_as_json_has_them():
    given = {"size": (3, 5)}
    evaluation = example(settings=given)
    assert evaluation.settings == {"size": [3, 5]}
    given["size"] = (1, 1)
    assert evaluation.settings == {"size": [3, 5]}
    with pytest.raises(TypeError):
        example(settings={"where": object()})


@pytest.mark.wrong_shapes
def test_fields_that_do_not_fit_together():
    with pytest.raises(LabelError, match=r"4 colours and counts of shape \(4, 5\).*\(4, 4\)"):
        example(counts=COUNTS[:, :4])
    with pytest.raises(LabelError, match="got 3 colours"):
        example(palette=((0, 0, 0),) * 3)
    with pytest.raises(LabelError, match=r"\(4, 4\); got \(3, 4\)"):
        example(boundary=BOUNDARY[:3])


def test_other_json():
    fields = example().to_json()
    with pytest.raises(RecosegError, match="format 1; got None"):
        Evaluation.from_json({})
    with pytest.raises(RecosegError, match="KeyError: 'names'"):
        Evaluation.from_json({key: value for key, value in fields.items() if key != "names"})
    with pytest.raises(RecosegError, match="TypeError"):
        Evaluation.from_json({**fields, "images": [{"unknown": 1}]})
