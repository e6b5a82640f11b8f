"""Learning on an archive of generated photos finds planted colours and equals the method."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from recoseg.classes import parse_class, parse_classes
from recoseg.encoders.prompts import prompt_set
from recoseg.errors import ConceptError, EncoderMismatchError
from recoseg.learning.learner import learn_bank
from tests.banks import references_of

from .fakes import (
    COLOURS,
    PHOTOS,
    Phi,
    Retrieval,
    Saliency,
    make_archive,
    make_encoders,
    settings,
    stem,
)
from .literal import literal_learn


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive"), Retrieval())


def references(bank):
    return {(item.role, item.name): references_of(item) for item in bank.concepts}


def test_planted_colours_become_references(index):
    encoders = make_encoders()
    bank = learn_bank(index, parse_classes(["rose", "grass", "sea"]), encoders, settings())
    assert [item.name for item in bank.concepts] == ["sky", "road", "rose", "grass", "sea"]
    assert bank.encoders == encoders.info
    for item in bank.classes:
        assert references_of(item).shape == (1, 29)
        cosine = references_of(item)[0] @ encoders.phi[0].of_colour(item.name)
        assert cosine > 0.98, item.name
        assert len(item.retrieved) == 4
        for photo in item.retrieved:
            [(y, x)] = photo.seeds
            with Image.open(photo.path) as image:
                found = image.getpixel((8 * x + 4, 8 * y + 4))
            assert np.abs(np.subtract(found, COLOURS[item.name])).max() < 70
            assert -1 <= photo.support[0] <= 1
        scores = [photo.score for photo in item.retrieved]
        assert scores == sorted(scores, reverse=True)
    assert [stem(photo)[:3] for photo in bank.classes[2].retrieved] == ["sea"] * 4


@pytest.mark.parametrize("guidance", [True, False], ids=["guided", "unguided"])
@pytest.mark.parametrize("context", [(), ("sky", "road"), ("grass", "sky")], ids=str)
def test_learning_equals_the_literal_method(index, guidance, context):
    classes = parse_classes(["rose; violet; -sun", "grass", "sky", "sea: sea; grass; -sky; -road"])
    chosen = settings(guidance=guidance, context=context, prompts="short5")
    bank = learn_bank(index, classes, make_encoders(), chosen)
    paths = [index.path(position) for position in range(len(index))]
    expected, retrieved = literal_learn(
        paths,
        [(item.name, item.prompts, item.negatives) for item in classes],
        context,
        make_encoders(),
        k=4,
        templates=prompt_set("short5").templates,
        guidance=guidance,
    )
    got = references(bank)
    assert got.keys() == expected.keys()
    for key, reference in expected.items():
        torch.testing.assert_close(got[key][0], reference, atol=1e-3, rtol=0, msg=str(key))
    for item in bank.concepts:
        if (item.role, item.name) in retrieved:
            assert [photo.path for photo in item.retrieved] == retrieved[item.role, item.name]


def test_guidance_and_context_count(index):
    found = []
    for changes in ({}, {"context": ()}, {"guidance": False}):
        bank = learn_bank(
            index, parse_classes(["grass", "rose"]), make_encoders(), settings(**changes)
        )
        found.append(torch.cat([references_of(item) for item in bank.classes]))
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_each_context_class_eliminates_those_before_it(index):
    # The photos of grass all show sky too.
    supports = {}
    for order in (("sky", "grass"), ("grass", "sky")):
        learnt = {}
        learn_bank(
            index,
            [parse_class("sea")],
            make_encoders(),
            settings(guidance=False, context=order),
            callback=lambda item, learnt=learnt: learnt.update({item.concept.name: item}),
        )
        supports[order] = {name: item.cosegmentation.support for name, item in learnt.items()}
    first, second = supports.values()
    assert first["sky"].max() > 0.99  # nothing was eliminated
    assert second["grass"].max() > 0.99
    assert first["grass"].max() < 0.75
    assert second["sky"].max() < 0.75


def test_a_class_with_a_context_class_s_name_shares_its_reference(index):
    learned = []
    bank = learn_bank(
        index,
        parse_classes(["sky: sky; sea", "rose"]),
        make_encoders(),
        settings(),
        callback=lambda learnt: learned.append((learnt.concept.role, learnt.concept.name)),
    )
    assert learned == [
        *(("context", "sky"), ("context", "road")),
        *(("class", "sky"), ("class", "rose")),
    ]
    sky, context = bank.classes[0], bank.context[0]
    assert torch.equal(references_of(sky), references_of(context))
    assert sky.retrieved == context.retrieved
    assert sky.text_positive.shape == (2, 3)  # the text embeddings are not shared
    assert context.text_positive.shape == (1, 3)


def test_a_class_with_a_context_class_s_words_shares_its_reference(index):
    """As published: Cityscapes' vegetation, renamed to tree, is the context class tree."""
    encoders = make_encoders()
    classes = parse_classes(["heaven: sky", "cloud: sky; -sea"])
    bank = learn_bank(index, classes, encoders, settings(context=("sky",)))
    context, heaven, cloud = bank.concepts
    assert heaven.name == "heaven"
    assert torch.equal(references_of(heaven), references_of(context))
    assert not torch.equal(references_of(cloud), references_of(context))  # it has a negative word


def test_k_above_the_number_of_photos(index):
    bank = learn_bank(index, [parse_class("rose")], make_encoders(), settings(k=99))
    assert len(bank.classes[0].retrieved) == len(index) == len(PHOTOS)


def test_adding_to_a_bank_equals_learning_all_at_once(index):
    names = ["rose", "sky", "grass; -sea", "sea"]
    whole = learn_bank(index, parse_classes(names), make_encoders(), settings())
    first = learn_bank(index, parse_classes(names[:2]), make_encoders(), settings())
    kept = {key: value.clone() for key, value in references(first).items()}
    learned = []
    more = learn_bank(
        index,
        parse_classes(names[2:]),
        make_encoders(),
        settings(k=1, guidance=False),  # ignored: the bank's settings are used
        bank=first,
        callback=learned.append,
    )
    assert [learnt.concept.name for learnt in learned] == ["grass", "sea"]
    assert more.settings == whole.settings
    for key, value in kept.items():
        assert torch.equal(references(more)[key], value)
    assert more.concepts[: len(first.concepts)] == first.concepts
    for one, other in zip(more.concepts, whole.concepts, strict=True):
        assert (one.words, one.role, one.retrieved) == (other.words, other.role, other.retrieved)
        for part in ("text_positive", "text_negative"):
            assert torch.equal(getattr(one, part), getattr(other, part))


def test_a_class_in_the_bank_is_not_learnt_again(index):
    bank = learn_bank(index, [parse_class("rose")], make_encoders(), settings())
    with pytest.raises(ConceptError, match="already holds: rose"):
        learn_bank(index, parse_classes(["grass", "rose"]), make_encoders(), bank=bank)


def test_encoders_of_another_index_or_bank_are_refused(index):
    encoders = make_encoders()
    classes = [parse_class("rose")]
    other = replace(encoders, retrieval=Retrieval("f" * 16))
    with pytest.raises(EncoderMismatchError, match=r"made with fake-retrieval .fingerprint aaaa"):
        learn_bank(index, classes, other, settings())
    bank = learn_bank(index, classes, encoders, settings())
    more = [parse_class("sea")]
    for part, encoder in (("saliency", Saliency("f" * 16)), ("phi", (Phi("f" * 16),))):
        with pytest.raises(EncoderMismatchError, match=f"as {part} encoder"):
            learn_bank(index, more, replace(encoders, **{part: encoder}), bank=bank)
    with pytest.raises(EncoderMismatchError, match="saliency encoder"):
        learn_bank(index, more, replace(encoders, saliency=Saliency(stride=24)), bank=bank)


def test_several_seeds_off_the_border(index):
    bank = learn_bank(
        index, [parse_class("rose")], make_encoders(), settings(seeds_per_image=3, border=1)
    )
    for photo in bank.classes[0].retrieved:
        assert len(set(photo.seeds)) == len(photo.support) == 3
        assert all(1 <= y <= 4 and 1 <= x <= 4 for y, x in photo.seeds)


def test_context_classes_may_have_several_words(index):
    plain = settings(context=("sky", "road"))
    aliased = settings(context=("sky: sky; sea", "road"))
    classes = parse_classes(["rose"])
    bank = learn_bank(index, classes, make_encoders(), aliased)
    assert [item.name for item in bank.context] == ["sky", "road"]
    assert bank.context[0].text_positive.shape[0] == 2
    shown = {stem(photo)[:3] for photo in bank.context[0].retrieved}
    assert shown != {
        stem(photo)[:3]
        for photo in learn_bank(index, classes, make_encoders(), plain).context[0].retrieved
    }
    again = learn_bank(index, parse_classes(["grass"]), make_encoders(), bank=bank)
    assert [item.name for item in again.context] == ["sky", "road"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_co_segmentation_on_a_gpu(index):
    classes = parse_classes(["rose", "grass", "sea"])
    banks = [
        learn_bank(index, classes, make_encoders(), settings(), device=device)
        for device in ("cpu", "cuda")
    ]
    for mine, theirs in zip(*(bank.concepts for bank in banks), strict=True):
        assert references_of(theirs).device.type == "cpu"
        torch.testing.assert_close(references_of(mine), references_of(theirs), atol=1e-3, rtol=0)
