"""Prompts of a decoder, learnt with a stub that knows planted words, by photos without masks."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from PIL import Image

import recoseg
from recoseg.concepts import ConceptBank
from recoseg.config import Fusion
from recoseg.decoders.prompt_learning import soft_dice
from recoseg.errors import DatasetError, OptionError
from recoseg.learning.archive_supports import archive_supports
from recoseg.learning.supports import region_at
from recoseg.segmentation.bank_segmenter import bank_segmenter
from tests.command import run
from tests.decoders.stub import Stub
from tests.learning.fakes import (
    COLOURS,
    SIZE,
    Retrieval,
    make_archive,
    make_encoders,
    make_photo,
)

SETTINGS = {"k": 4, "image_size": SIZE, "prompts": "none", "context": ("road",)}
PLANTED = {**COLOURS, "bloom": COLOURS["rose"], "wrong": COLOURS["sun"], "rosewood": (230, 60, 110)}
CLASSES = ["rose: wrong rose; bloom flower; never rose heard", "grass", "sea"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive"), Retrieval())


def decoder(**changes):
    return Stub(**({"colours": PLANTED, "side": SIZE} | changes))


def learn(archive, classes=CLASSES, **options):
    settings = {} if "add_to" in options else SETTINGS
    return recoseg.learn(archive, classes, encoders=make_encoders(), **settings, **options)


@pytest.fixture(scope="module")
def learnt(archive):
    """The classes as they were learnt, and the bank."""
    found = []
    bank = learn(archive, decoder=decoder(), callback=found.append)
    return {one.concept.name: one for one in found if one.concept.role == "class"}, bank


def record(bank, name):
    [found] = [one.prompt.record for one in bank.classes if one.name == name]
    return found


def test_the_right_word_gets_the_weight(learnt):
    words = {one.word: one for one in record(learnt[1], "rose").words}
    assert list(words) == ["wrong rose", "bloom flower", "never rose heard"]
    assert words["bloom flower"].weight > 0.99
    assert words["bloom flower"].dice > 0.5
    assert words["never rose heard"].dice == words["never rose heard"].weight == 0
    assert words["wrong rose"].weight < 0.01


def test_scores_and_threshold_by_hand(archive, learnt):
    classes, bank = learnt
    stub, own = decoder(), record(bank, "rose")
    supports = archive_supports(archive, classes["rose"])
    assert own.supports == tuple(support.path for support in supports)
    words = stub.prompts(["wrong rose", "bloom flower", "never rose heard"])
    maps = [stub.maps(support.read(SIZE)[None], words)[0] for support in supports]
    regions = [region_at(support.region, (SIZE, SIZE)) for support in supports]
    for place, word in enumerate(own.words):
        dice = [soft_dice(one[place], own) for one, own in zip(maps, regions, strict=True)]
        assert word.dice == pytest.approx(float(torch.stack(dice).mean()), abs=1e-6)
    # The tokens: of both words that are near enough, weighted, at the places that they have.
    weights = torch.tensor([one.weight for one in own.words])
    [prompt] = [one.prompt for one in bank.classes if one.name == "rose"]
    expected = (weights[:, None] * words.tokens[:, 0]).sum(0)
    torch.testing.assert_close(prompt.tokens[0, 0], expected)
    found = [stub.maps(s.read(SIZE)[None], prompt)[0, 0] for s in supports]

    def mean_dice(level):
        scores = []
        for one, region in zip(found, regions, strict=True):
            mask = (one >= level).numpy()
            scores.append(2 * (mask & region.numpy()).sum() / (mask.sum() + region.numpy().sum()))
        return float(np.mean(scores))

    assert own.dice == pytest.approx(mean_dice(own.threshold))
    values = torch.stack(found).flatten().numpy()
    tried = [mean_dice(float(level)) for level in np.quantile(values, np.linspace(0, 1, 64))]
    assert own.dice >= max(tried) - 0.02


def test_absent_classes_vanish_and_background_too(learnt):
    segmenter = bank_segmenter(
        learnt[1], encoders=make_encoders(), decoder=decoder(), fusion=Fusion("decoder")
    )
    assert segmenter.settings["background_threshold"] == 0.5
    photo = np.asarray(make_photo(3, "grass"))
    labels = segmenter(photo).labels
    assert set(np.unique(labels)) == {1, 255}  # no rose, no sea
    is_grass = (np.abs(photo.astype(int) - COLOURS["grass"]).max(2) < 40).reshape(SIZE, SIZE)
    overlap = (is_grass & (labels == 1)).sum() / (is_grass | (labels == 1)).sum()
    assert overlap > 0.6
    assert set(np.unique(segmenter(np.asarray(make_photo(8))).labels)) == {255}


def test_prompts_are_kept_in_the_bank_and_shown(learnt, tmp_path):
    path = tmp_path / "bank.safetensors"
    bank = learnt[1]
    bank.save(path)
    again = ConceptBank.load(path)
    assert again.fingerprint == bank.fingerprint
    for one, other in zip(bank.classes, again.classes, strict=True):
        assert one.prompt.record == other.prompt.record
        assert torch.equal(one.prompt.tokens, other.prompt.tokens)
        assert torch.equal(one.prompt.are_words, other.prompt.are_words)
    shown = run("inspect", path)
    assert shown.code == 0, shown.err
    [line] = [one for one in shown.out.splitlines() if "bloom flower" in one and "│" in one][-1:]
    assert f"{record(bank, 'rose').words[1].dice:.2f}" in line
    fields = json.loads(run("inspect", path, "--json").out)["concepts"]
    assert fields[1]["prompt"] == json.loads(json.dumps(asdict(record(bank, "rose"))))
    assert fields[0]["prompt"] is None


def test_negative_words_win_where_they_are_better(archive, caplog):
    [positive] = record(learn(archive, ["rose: rosewood"], decoder=decoder()), "rose").words
    assert positive.dice > 0.2
    bank = learn(archive, ["rose: rosewood; -rose"], decoder=decoder())  # better where it is
    assert bank.classes[0].prompt is None
    assert "No prompt was learnt for the class rose: " in caplog.text
    bank = learn(archive, ["rose; -grass"], decoder=decoder())
    [positive, negative] = record(bank, "rose").words
    assert (negative.word, negative.is_negative, negative.weight) == ("grass", True, 0)
    assert negative.dice < 0.1 < positive.dice
    assert len(bank.classes[0].prompt.tokens) == 2


def test_a_class_that_fails_is_told_and_keeps_its_words(archive, caplog):
    unknown = ["rose", "grass: never grass"]
    bank = learn(archive, unknown, decoder=decoder())
    assert [one.prompt is not None for one in bank.classes] == [True, False]
    assert "No prompt was learnt for the class grass: stub finds none of its words" in caplog.text


def test_an_interrupted_run_goes_on(archive, tmp_path):
    def run(**changes):
        stub = decoder(**changes)
        bank = learn(archive, ["rose"], decoder=stub, cache=tmp_path / "cache")
        return bank.fingerprint, stub.seen

    fingerprint, seen = run()
    assert seen
    assert run() == (fingerprint, 0)
    assert run(fingerprint="e" * 16)[1] == seen
    for file in (tmp_path / "cache/prompts").iterdir():
        file.write_bytes(b"damaged")
    assert run() == (fingerprint, seen)


def test_classes_that_are_learnt_again(archive, learnt, caplog):
    bank = learn(archive, ["grass"], add_to=learnt[1], relearn=True, decoder=decoder())
    assert bank.fingerprint == learnt[1].fingerprint
    assert "not kept" not in caplog.text
    bank = learn(archive, ["grass"], add_to=learnt[1], relearn=True)
    assert [one.prompt is None for one in bank.classes] == [False, True, False]
    assert "again without --decoder: grass." in caplog.text


def folder_with_masks(root, name="rose"):
    (root / "images").mkdir(parents=True)
    (root / "masks" / name).mkdir(parents=True)
    for number in range(3):
        photo = make_photo(70 + number, "sea", "sun")
        photo.save(root / f"images/p{number}.png")
        pixels = np.asarray(photo).astype(int)
        mask = np.abs(pixels - COLOURS["sun"]).max(2) < 60
        Image.fromarray((mask * 7).astype(np.uint8)).save(root / f"masks/{name}/p{number}.png")
    return root


def test_masks_of_one_s_own_take_the_place_of_the_archive(archive, tmp_path, caplog):
    root = folder_with_masks(tmp_path / "own")
    Image.new("L", (5, 5)).save(root / "masks/rose/p2.png")
    (root / "masks/roze").mkdir()
    bank = learn(archive, decoder=decoder(), support=root)
    rose = record(bank, "rose")
    assert [path.rsplit("/", 1)[1] for path in rose.supports] == ["p0.png", "p1.png"]
    assert rose.words[0].weight > 0.99  # the masks show what the other word names
    assert rose.dice > 0.9
    assert "its mask is 5 x 5 pixels" in caplog.text
    assert "No class that is learnt is called 'roze'. Did you mean 'rose'?" in caplog.text
    assert record(bank, "grass").supports[0].endswith(".png")
    assert str(root) not in record(bank, "grass").supports[0]


def test_what_cannot_be_supports(archive, tmp_path):
    with pytest.raises(OptionError, match="Add the decoder: --decoder sam3"):
        learn(archive, support=tmp_path)
    with pytest.raises(DatasetError, match="no folder images"):
        learn(archive, decoder=decoder(), support=tmp_path)
    root = folder_with_masks(tmp_path / "own", "zebra")
    with pytest.raises(DatasetError, match="no mask of a class that is learnt"):
        learn(archive, decoder=decoder(), support=root)
    (root / "images/p1.png").unlink()
    (root / "masks/zebra").rename(root / "masks/rose")
    with pytest.raises(DatasetError, match="1 of 3 have no photo: p1"):
        learn(archive, decoder=decoder(), support=root)
