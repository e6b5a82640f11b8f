"""Banks that differ only in how seeds are chosen can be learnt together."""

from dataclasses import replace
from itertools import combinations

import pytest
import torch

from recoseg.classes import parse_classes
from recoseg.concepts import ConceptBank
from recoseg.errors import RecosegError
from recoseg.evidence import Correction
from recoseg.learning.learner import learn_bank, learn_together
from tests.banks import references_of

from .fakes import make_archive, make_encoders, settings
from .same import assert_same_banks

WORDS = ["rose", "sky", "sea: sea; -sky", "street: road"]
CHOICES = [
    {"seeds_per_image": 3},
    {"seeds_per_image": 1, "block": "paper"},
    {"seeds_per_image": 10, "border": 1, "reference": "winner"},
    {"weigh_seeds": True, "reference": "rank-weighted"},
]


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive"), make_encoders().retrieval)


def empty(chosen, encoders):
    return ConceptBank((), encoders.info, chosen)


@pytest.mark.parametrize("guidance", [True, False], ids=["guided", "unguided"])
@pytest.mark.parametrize("context", [(), ("sky", "road")], ids=str)
@pytest.mark.parametrize("more", [{}, {"regions": "clusters", "mend_outliers": True}], ids=str)
def test_each_equals_the_bank_learnt_alone(index, guidance, context, more):
    encoders, classes = make_encoders(), parse_classes(WORDS)
    common = {"guidance": guidance, "context": context, **more}
    all_settings = [settings(**common, **choice) for choice in CHOICES]
    banks = [empty(chosen, encoders) for chosen in all_settings]
    seen = []
    together = learn_together(index, classes, encoders, banks, callback=seen.append)
    called = [[found[place] for found in seen] for place in range(len(banks))]
    for bank, chosen, learnt in zip(together, all_settings, called, strict=True):
        expected = []
        alone = learn_bank(index, classes, encoders, chosen, callback=expected.append)
        assert_same_banks(bank, alone)
        assert [one.concept for one in learnt] == list(bank.concepts)
        assert [one.positions for one in learnt] == [one.positions for one in expected]
        for one, other in zip(learnt, expected, strict=True):
            assert one.concept.evidence == other.concept.evidence
            found = one.cosegmentation
            torch.testing.assert_close(
                found.support, other.cosegmentation.support, atol=1e-5, rtol=0
            )
            assert torch.equal(found.seeds, other.cosegmentation.seeds)
    references = [references_of(bank.concepts[0]) for bank in together]
    for one, other in combinations(references, 2):
        assert (one - other).abs().max() > 1e-3


def test_classes_are_added_to_several_banks(index):
    """With seeds that are set by hand, and with context that the banks have already."""
    encoders, [rose, sky, sea, street] = make_encoders(), parse_classes(WORDS)
    both = [settings(), settings(seeds_per_image=4)]
    before = [learn_bank(index, [rose], encoders, chosen) for chosen in both]
    [photo, *_] = learn_bank(index, [sea], encoders, both[0]).classes[0].retrieved
    by_hand = {"sea": [Correction(photo.path, photo.photo_id, ((20, 20),))]}
    seen = []
    more = learn_together(
        index, [sky, street, sea], encoders, before, corrections=by_hand, callback=seen.append
    )
    for place, (bank, start) in enumerate(zip(more, before, strict=True)):
        expected = []
        alone = learn_bank(
            index, [sky, street, sea], encoders, bank=start, corrections=by_hand,
            callback=expected.append,
        )  # fmt: skip
        assert_same_banks(bank, alone)
        for found, other in zip(seen, expected, strict=True):
            assert torch.equal(found[place].cosegmentation.seeds, other.cosegmentation.seeds)


@pytest.mark.parametrize("change", ["k", "classes", "recipe"])
def test_banks_that_differ_in_more_are_refused(index, change):
    encoders, classes = make_encoders(), parse_classes(["sea"])
    one, other = empty(settings(), encoders), empty(settings(seeds_per_image=2), encoders)
    if change == "k":
        other = empty(settings(k=3), encoders)
    elif change == "recipe":
        other = replace(other, settings=replace(other.settings, recipe="regions"))
    else:
        other = learn_bank(index, parse_classes(["rose"]), encoders, bank=other)
    with pytest.raises(RecosegError, match=r"differ only in seeds_per_image, block.*one by one"):
        learn_together(index, classes, encoders, [one, other])
