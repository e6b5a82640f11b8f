"""Agreement of masks, differences of banks, settings and scores."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recoseg.classes import ClassNames
from recoseg.comparison.agreement import (
    PhotoAgreement,
    agreement_counts,
    agreement_of,
    common_labels,
    common_names,
)
from recoseg.comparison.banks import compare_banks, reference_cosine
from recoseg.comparison.scores import Counted, compare_scores
from recoseg.comparison.settings import Change, changes
from recoseg.errors import BadImageError, LabelError
from recoseg.evidence import RetrievedPhoto
from tests.segmentation.fakes import make_bank


def test_classes_of_both_come_together():
    names = common_names(["dog", "cat"], ["background", "cat", "cow"])
    assert names == ("dog", "cat", "cow", "background")
    assert common_labels(["dog", "cat"], names)[[0, 1, 255]].tolist() == [0, 1, 3]
    assert common_labels(["background", "cat", "cow"], names)[[0, 1, 2, 255]].tolist() == [
        3,
        1,
        2,
        3,
    ]
    assert common_labels(["dog"], names)[7] == -1
    many = [str(number) for number in range(300)]
    assert common_labels(many, common_names(many, []))[[299, 65535]].tolist() == [299, 300]


def test_agreement_is_counted_pixel_by_pixel():
    random = np.random.default_rng(0)
    one, other = random.integers(0, 4, (2, 5, 7))
    expected = np.zeros((4, 4), int)
    for place in np.ndindex(one.shape):
        expected[one[place], other[place]] += 1
    np.testing.assert_array_equal(agreement_counts(one, other, 4), expected)
    with pytest.raises(BadImageError, match="differ in size: 7 x 5 and 5 x 7 pixels"):
        agreement_counts(one, other.T, 4)


def test_agreement_is_summed_up():
    counts = np.array([[6, 3, 0], [0, 1, 0], [0, 0, 0]])
    photos = [PhotoAgreement("a", 0.9), PhotoAgreement("b", 0.2)]
    found = agreement_of(counts, ("dog", "cat", "background"), photos, {"c": "damaged"})
    assert found.share == 0.7
    assert [(item.shares, item.iou) for item in found.classes] == [
        ((0.9, 0.6), 6 / 9),
        ((0.1, 0.4), 1 / 4),
        ((0.0, 0.0), None),
    ]
    [only] = found.transitions
    assert (only.one, only.other, only.pixels, only.share) == ("dog", "cat", 3, 0.3)
    assert [photo.name for photo in found.photos] == ["b", "a"]


def test_settings_that_differ():
    one = {"k": 50, "fusion": {"form": "sum", "scale": 1.0}, "old": True}
    other = {"k": 20, "fusion": {"form": "sum", "scale": 2.0}, "new": [1, 2]}
    assert changes(one, other) == (
        Change("k", "50", "20"),
        Change("fusion.scale", "1.0", "2.0"),
        Change("old", "yes", None),
        Change("new", None, "1, 2"),
    )
    assert changes(one, one) == ()


def test_references_are_compared_by_their_best_cosines():
    random = torch.Generator().manual_seed(0)
    one, other = (F.normalize(torch.randn(n, 5, generator=random), dim=1) for n in (3, 2))
    forth = [max(float(a @ b) for b in other) for a in one]
    back = [max(float(a @ b) for a in one) for b in other]
    expected = (sum(forth) / 3 + sum(back) / 2) / 2
    assert reference_cosine(one, other) == pytest.approx(expected)
    assert reference_cosine(one, one) == pytest.approx(1)


def test_banks_are_compared_class_by_class():
    one = make_bank(("red", "green", "blue"))
    photo = RetrievedPhoto("/a.jpg", "", 0.4, (), ())
    changed = replace(
        one.classes[0],
        words=ClassNames("red", ("crimson",)),
        references={key: -rows for key, rows in one.classes[0].references.items()},
        retrieved=(photo,),
    )
    other = replace(
        make_bank(("red", "blue", "white"), short_side=64),
        concepts=(one.context[0], changed, one.classes[2], make_bank(("white",)).classes[0]),
    )
    found = compare_banks(one, other)
    assert (found.added, found.removed) == (("white",), ("green",))
    sky, red, blue = found.classes
    assert (sky.role, sky.differs, blue.differs, red.differs) == ("context", False, False, True)
    assert red.cosines == {"colour": pytest.approx(-1)}
    assert (red.words, red.photos, red.common) == (("red", "red: crimson"), (0, 1), 0)
    assert found.settings == (Change("segment.short_side", "0", "64"),)


def test_references_of_other_encoders_are_not_compared():
    found = compare_banks(make_bank(), make_bank(phi_stride=8))
    assert [item.cosines for item in found.classes] == [{}] * 4
    assert [change.name for change in found.settings] == ["phi 1"]


def counted(names=("a", "b"), photos=("1", "2", "3"), failed=(), seed=0):
    random = np.random.default_rng(seed)
    true = random.integers(1, 50, (len(photos), len(names)))
    right = random.integers(0, true + 1)
    counts = np.stack([right, true, true], -1)
    return Counted(names, photos, counts, frozenset(failed))


def test_scores_are_of_the_photos_of_both():
    one, other = counted(photos=("1", "2", "3", "4")), counted(photos=("4", "3", "2"), seed=1)
    found = compare_scores(one, replace(other, failed=frozenset({"3"})), resamples=20)
    assert found.left_out == ("1", "3")
    ours, theirs = one.counts[[1, 3]], other.counts[[2, 0]]
    for label, change in enumerate(found.classes):
        values = [
            part[:, label, 0].sum() / (2 * part[:, label, 1].sum() - part[:, label, 0].sum())
            for part in (ours, theirs)
        ]
        assert (change.one, change.other) == pytest.approx(values)
        assert change.difference == pytest.approx(values[1] - values[0])
    assert found.miou.one == pytest.approx(np.mean([change.one for change in found.classes]))
    for photo in found.photos:
        rows = [run.counts[run.photos.index(photo.name)] for run in (one, other)]
        means = [np.mean([r / (2 * t - r) for r, t, _ in row]) for row in rows]
        assert (photo.one, photo.other) == pytest.approx(means)
    sizes = [abs(photo.difference) for photo in found.photos]
    assert sizes == sorted(sizes, reverse=True)


def test_scores_of_other_data_sets_are_refused():
    with pytest.raises(LabelError, match="scored in different classes: a, b and a, c"):
        compare_scores(counted(), counted(("a", "c")))
    with pytest.raises(LabelError, match="no photo with a labelled pixel in common"):
        compare_scores(counted(), counted(photos=("4", "5", "6")))
