"""The verdict on a class: what its photos are compared with, and what follows."""

import itertools
import json
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from recoseg.classes import parse_classes
from recoseg.concepts import ConceptBank
from recoseg.cosegmentation import cosegment
from recoseg.errors import ConceptError, RecosegError
from recoseg.evidence import (
    LEAST_ARCHIVE,
    LEAST_EVIDENCE,
    STANDS_OUT,
    Evidence,
    RetrievedPhoto,
    evidence_ends,
    judge,
)
from recoseg.learning.learner import learn_bank
from recoseg.storage.tensors import read_tensors, write_tensors
from tests.command import run
from tests.learning.fakes import Retrieval, make_archive, make_encoders, settings
from tests.segmentation.fakes import make_bank

PHOTOS = Evidence(photos=8450, median=0.02, step=0.04, seeds_alike=0.4)


def scores(*heights):
    """Scores that are so many steps above the median, with a margin for rounding."""
    return [PHOTOS.median + height * PHOTOS.step + 1e-9 for height in heights]


@pytest.mark.parametrize(
    ("heights", "expected", "count"),
    [
        ([12, 11, 10, 9, 8, 7, 7, 7], "good", 8),
        ([12, 8, 7, 7, 6.9, 6, 3, 1], "good", 4),  # just half of them
        ([12, 8, 7, 6.9, 6.9, 6, 3, 1], "weak", 3),
        ([30, 20, 6.9, 6.9, 6, 6, 3, 1], "probably absent", 2),
        ([3, 2, 1, 0, -1, -2, -3, -4], "probably absent", 0),
    ],
)
def test_photos_that_stand_out_decide(heights, expected, count):
    found = judge(scores(*heights), PHOTOS)
    assert (found.judgement, found.stand_out) == (expected, count)
    assert found.heights == pytest.approx(heights, abs=1e-6)
    assert bool(found.advice) is (expected != "good")
    assert (STANDS_OUT, LEAST_EVIDENCE) == (7.0, 3)  # what the cases above are made for


def test_a_weak_class_is_told_how_many_photos_stand_out():
    found = judge(scores(*[9] * 6, *[1] * 44), PHOTOS)
    assert "Only 6 of 50 photos" in found.advice
    assert "-k auto" in found.advice


def test_everyday_things_are_not_called_absent():
    nothing = scores(*[3] * 10)
    for words in (["tree"], ["forest", "Tree"], [" person "]):
        found = judge(nothing, PHOTOS, words)
        assert found.judgement == "unknown"
        assert "everyday things" in found.advice
    for words in ([], ["walrus"], ["street tree"]):
        assert judge(nothing, PHOTOS, words).judgement == "probably absent"
    assert judge(scores(*[9] * 10), PHOTOS, ["road"]).judgement == "good"
    [tree] = parse_classes(["vegetation: tree"])
    tree = replace(make_bank(("red",)).classes[0], words=tree, evidence=PHOTOS)
    photo = RetrievedPhoto("1.jpg", "1" * 32, PHOTOS.median, ((0, 0),), (0.5,))
    assert replace(tree, retrieved=(photo,)).verdict.judgement == "unknown"


@pytest.mark.parametrize("changes", [{"score": math.nan}, {"support": (math.inf,)}], ids=str)
def test_photos_with_impossible_numbers_are_refused(changes):
    with pytest.raises(RecosegError, match=r"expected finite scores of '1.jpg'"):
        RetrievedPhoto(
            **{"path": "1.jpg", "photo_id": "1", "score": 0.5, "seeds": (), "support": ()} | changes
        )
    with pytest.raises(RecosegError, match="expected seeds of 0 or more"):
        RetrievedPhoto("1.jpg", "1", 0.5, ((0, -1),), (0.5,))


@pytest.mark.parametrize(
    ("heights", "least", "expected"),
    [
        ([12, 9, 7, 6.9, 5], 1, 3),
        ([12, 9, 7, 6.9, 5], 4, 4),
        ([12, 9, 7, 6.9, 5], 9, 5),
        ([9, 9, 9, 9, 9], 2, 5),
        ([12, 9, 6.9, 5], 1, 4),  # too few to tell
        ([1, 1], 1, 2),
    ],
)
def test_where_the_evidence_ends(heights, least, expected):
    found = evidence_ends(scores(*heights), PHOTOS.median, PHOTOS.step, least)
    assert found == expected
    slow = [height for height in heights if height >= STANDS_OUT]
    if len(slow) < LEAST_EVIDENCE:
        slow = heights
    assert found == min(len(heights), max(least, len(slow)))


def test_heights_by_rank():
    found = judge(scores(9, 5), PHOTOS)
    assert found.height(1) == pytest.approx(9, abs=1e-6)
    assert found.height(2) == pytest.approx(5, abs=1e-6)
    assert found.height(3) is None
    assert found.height(0) is None


def test_nothing_is_said_of_tiny_archives_and_without_evidence():
    tiny = Evidence(LEAST_ARCHIVE - 1, 0.02, 0.04, 0.4)
    assert judge(scores(9, 9), tiny).judgement == "unknown"
    assert judge(scores(9, 9), tiny).stand_out == 2
    for found in (judge(scores(9, 9), None), judge([], PHOTOS)):
        assert (found.judgement, found.heights) == ("unknown", ())
        assert found.advice


@pytest.mark.parametrize(
    "changes",
    [
        {"median": math.nan},
        {"step": 0.0},
        {"step": -1.0},
        {"step": math.inf},
        {"seeds_alike": -math.inf},
    ],
    ids=json.dumps,
)
def test_values_that_are_never_measured_are_refused(changes):
    with pytest.raises(RecosegError, match="expected finite numbers and a step above 0"):
        Evidence(**({"photos": 10, "median": 0.0, "step": 0.1, "seeds_alike": 0.5} | changes))


@pytest.mark.parametrize("seeds", [1, 3])
def test_seeds_alike_is_the_mean_cosine_of_pairs_of_different_photos(seeds):
    features = torch.randn(5, 7, 3, 4, generator=torch.Generator().manual_seed(1))
    found = cosegment(features, seeds_per_image=seeds)
    cosines = [
        F.cosine_similarity(one, other, dim=0)
        for mine, theirs in itertools.permutations(found.seed_features, 2)
        for one in mine
        for other in theirs
    ]
    assert found.seeds_alike == pytest.approx(torch.stack(cosines).mean().item(), abs=1e-6)
    assert cosegment(features[:1]).seeds_alike == 1.0


def test_learning_measures_each_class(tmp_path):
    index = make_archive(tmp_path, Retrieval())
    encoders = make_encoders()
    learnt = {}
    bank = learn_bank(
        index,
        parse_classes(["rose", "sky: sky; sea"]),
        encoders,
        settings(),
        callback=lambda item: learnt.update({item.concept.name: item}),
    )
    rows = index.embeddings(range(len(index)))
    context, _, rose, shared = bank.concepts
    words = encoders.retrieval.embed_texts(["tree", "sky", "building", "road", "person"])
    own = rows @ words.T
    step = (own.quantile(0.5, dim=0) - own.quantile(0.1587, dim=0)).mean().item()
    for concept, word in ((rose, "rose"), (context, "sky")):
        scores = rows @ encoders.retrieval.embed_texts([word])[0]
        assert concept.evidence.photos == len(index)
        assert concept.evidence.median == pytest.approx(scores.median().item(), abs=1e-3)
        assert concept.evidence.step == pytest.approx(step, abs=1e-3)
    assert rose.evidence.seeds_alike == learnt["rose"].cosegmentation.seeds_alike
    assert shared.evidence == context.evidence  # with its photos and its references
    assert bank.classes[0].verdict.judgement == "unknown"  # the archive is tiny


def measured_bank():
    """A bank with a good and a weak class, one that is absent, and one that was not measured."""
    bank = make_bank(("red", "green", "blue", "black"))
    heights = {"red": [9] * 12, "green": [9] * 5 + [1] * 7, "blue": [2] * 12}

    def measured(concept):
        if concept.name not in heights:
            return concept
        retrieved = tuple(
            RetrievedPhoto(f"{number}.jpg", f"{number:032x}", score, ((0, 0),), (0.5,))
            for number, score in enumerate(scores(*heights[concept.name]))
        )
        return replace(concept, retrieved=retrieved, evidence=PHOTOS)

    return replace(bank, concepts=tuple(map(measured, bank.concepts)))


def test_evidence_is_kept_and_decides_no_mask(tmp_path):
    bank, plain = measured_bank(), make_bank(("red", "green", "blue", "black"))
    assert bank.fingerprint == plain.fingerprint
    bank.save(tmp_path / "bank.safetensors")
    loaded = ConceptBank.load(tmp_path / "bank.safetensors")
    assert [item.evidence for item in loaded.classes] == [PHOTOS] * 3 + [None]
    plain.save(tmp_path / "plain.safetensors")  # as earlier versions wrote it
    assert "evidence" not in read_tensors(tmp_path / "plain.safetensors")[1]["concepts"]


@pytest.mark.parametrize(
    "changes", [{"step": 0.0}, {"median": math.inf}, {"photos": "many"}, {"more": 1}], ids=str
)
def test_a_bank_with_impossible_evidence_is_refused(tmp_path, changes):
    path = tmp_path / "bank.safetensors"
    measured_bank().save(path)
    tensors, metadata = read_tensors(path)
    concepts = json.loads(metadata["concepts"])
    concepts[1]["evidence"] |= changes
    write_tensors(path, tensors, metadata | {"concepts": json.dumps(concepts)})
    with pytest.raises(ConceptError, match="is damaged"):
        ConceptBank.load(path)


def test_inspect_prints_the_verdicts(tmp_path):
    path = tmp_path / "bank.safetensors"
    measured_bank().save(path)
    result = run("inspect", path)
    assert result.code == 0
    table = [line.split("\u2502") for line in result.out.splitlines()]
    rows = {cells[1].strip(): cells for cells in table if len(cells) == 9}
    assert {name: cells[-2].strip() for name, cells in rows.items()} == {
        "sky (context)": "unknown",
        "black": "unknown",
        "red": "good",
        "green": "weak",
        "blue": "probably absent",
    }
    assert [cell.strip() for cell in rows["green"][2:6]] == ["9.0", "1.0", "1.0", "5 of 12"]
    assert "green: Only 5 of 12 photos stand out. Look at its photos first" in result.out
    assert "sky: " not in result.out  # context classes are nobody's own, so there is no advice
    assert "blue: Hardly any photo fits better" in result.out
    told = json.loads(run("inspect", path, "--json").out)["concepts"]
    assert [item["verdict"]["judgement"] for item in told][1:] == [
        *("good", "weak", "probably absent", "unknown")
    ]
    assert told[1]["evidence"]["photos"] == 8450
    assert told[4]["evidence"] is None


def test_banks_without_evidence_are_shown_as_before(tmp_path):
    make_bank().save(tmp_path / "bank.safetensors")
    assert "stand out" not in run("inspect", tmp_path / "bank.safetensors").out
