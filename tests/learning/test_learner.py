"""Learning on an archive of generated photos: planted colours are found, and each rule holds."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from recoseg.archive import ArchiveIndex, build_index
from recoseg.classes import parse_class, parse_classes
from recoseg.config import BankSettings, LearnSettings
from recoseg.encoders.prompts import prompt_set
from recoseg.errors import ConceptError, EncoderMismatchError, RecosegError
from recoseg.learning import PatchStore, learn
from recoseg.learning.figures import FigureWriter

from .fakes import (
    COLOURS,
    PHOTOS,
    SIZE,
    Phi,
    Retrieval,
    Saliency,
    make_archive,
    make_encoders,
    make_photo,
)
from .literal import literal_learn


def settings(**changes):
    defaults = {"k": 4, "image_size": SIZE, "prompts": "none", "context": ("sky", "road")}
    return BankSettings(LearnSettings(**(defaults | changes)))


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive"), Retrieval())


def references(bank):
    return {(item.role, item.name): item.references for item in bank.concepts}


def stem(photo):
    return photo.path.rsplit("/", 1)[-1].removesuffix(".png")


def test_planted_colours_become_references(index):
    encoders = make_encoders()
    bank = learn(index, parse_classes(["rose", "grass", "sea"]), encoders, settings())
    assert [item.name for item in bank.concepts] == ["sky", "road", "rose", "grass", "sea"]
    assert bank.encoders == encoders.info
    for item in bank.classes:
        assert item.references.shape == (1, 29)
        cosine = item.references[0] @ encoders.phi.of_colour(item.name)
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
    bank = learn(index, classes, make_encoders(), chosen)
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
        bank = learn(index, parse_classes(["grass", "rose"]), make_encoders(), settings(**changes))
        found.append(torch.cat([item.references for item in bank.classes]))
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_each_context_class_eliminates_those_before_it(index):
    # The photos of grass all show sky too.
    supports = {}
    for order in (("sky", "grass"), ("grass", "sky")):
        learnt = {}
        learn(
            index,
            [parse_class("sea")],
            make_encoders(),
            settings(guidance=False, context=order),
            observe=lambda item, learnt=learnt: learnt.update({item.concept.name: item}),
        )
        supports[order] = {name: item.cosegmentation.support for name, item in learnt.items()}
    first, second = supports.values()
    assert first["sky"].max() > 0.99  # nothing was eliminated
    assert second["grass"].max() > 0.99
    assert first["grass"].max() < 0.75
    assert second["sky"].max() < 0.75


def test_a_class_with_a_context_class_s_name_shares_its_reference(index):
    observed = []
    bank = learn(
        index,
        parse_classes(["sky: sky; sea", "rose"]),
        make_encoders(),
        settings(),
        observe=lambda learnt: observed.append((learnt.concept.role, learnt.concept.name)),
    )
    assert observed == [("context", "sky"), ("context", "road"), ("class", "rose")]
    sky, context = bank.classes[0], bank.context[0]
    assert torch.equal(sky.references, context.references)
    assert sky.retrieved == context.retrieved
    assert sky.text_positive.shape == (2, 3)  # its own words all the same
    assert context.text_positive.shape == (1, 3)


def test_a_class_with_a_context_class_s_words_shares_its_reference(index):
    """As published: Cityscapes' vegetation, renamed to tree, is the context class tree."""
    encoders = make_encoders()
    classes = parse_classes(["heaven: sky", "cloud: sky; -sea"])
    bank = learn(index, classes, encoders, settings(context=("sky",)))
    context, heaven, cloud = bank.concepts
    assert heaven.name == "heaven"
    assert torch.equal(heaven.references, context.references)
    assert not torch.equal(cloud.references, context.references)  # it has a negative word


def test_each_photo_goes_through_each_encoder_once(index):
    encoders = make_encoders()
    classes = parse_classes(["rose", "rose again: rose; violet", "grass", "sun", "sea"])
    bank = learn(index, classes, encoders, settings(k=9))
    used = {photo.photo_id for item in bank.concepts for photo in item.retrieved}
    total = sum(len(item.retrieved) for item in bank.concepts)
    assert total > 1.5 * len(used)  # the classes do share photos
    for encoder in (encoders.phi, encoders.saliency):
        assert list(encoder.seen.values()) == [1] * len(used)
    assert not encoders.retrieval.seen


def test_banks_that_share_a_store_encode_each_photo_once(index):
    encoders = make_encoders()
    first, second = parse_classes(["rose", "grass"]), parse_classes(["grass", "sun", "violet"])
    with PatchStore([encoders.phi, encoders.saliency], SIZE) as store:
        shared = [
            learn(index, classes, encoders, chosen, store=store)
            for classes, chosen in (
                (first, settings(k=4)),
                (second, settings(k=9)),
                (second, settings(k=3, guidance=False, context=())),
            )
        ]
    for encoder in (encoders.phi, encoders.saliency):
        assert set(encoder.seen.values()) == {1}
        assert len(encoder.seen) > 9
    alone = learn(index, second, make_encoders(), settings(k=9))
    for mine, other in zip(shared[1].concepts, alone.concepts, strict=True):
        torch.testing.assert_close(mine.references, other.references)


def test_a_store_that_does_not_fit_is_refused(index):
    encoders = make_encoders()
    classes = parse_classes(["rose"])
    with (
        PatchStore([encoders.phi], SIZE) as store,
        pytest.raises(RecosegError, match="no features of fake-saliency"),
    ):
        learn(index, classes, encoders, settings(), store=store)
    with (
        PatchStore([encoders.phi, encoders.saliency], 24) as store,
        pytest.raises(RecosegError, match="features at 24 pixels, and the settings say 48"),
    ):
        learn(index, classes, encoders, settings(), store=store)


def test_without_guidance_the_saliency_encoder_sees_no_photo(index):
    encoders = make_encoders()
    bank = learn(index, parse_classes(["rose"]), encoders, settings(guidance=False))
    assert not encoders.saliency.seen
    assert bank.classes[0].text_positive.shape == (1, 3)  # needed to segment


def test_more_photos_asked_for_than_there_are(index):
    bank = learn(index, [parse_class("rose")], make_encoders(), settings(k=99))
    assert len(bank.classes[0].retrieved) == len(index) == len(PHOTOS)


def test_photos_of_equal_content(tmp_path):
    photos = {f"rose{n}": (n // 2, "rose") for n in range(6)}  # each twice
    index = make_archive(tmp_path, Retrieval(), photos)
    encoders = make_encoders()
    plain = settings(k=6, context=())
    bank = learn(index, [parse_class("rose")], encoders, plain)
    [rose] = bank.classes
    assert len(rose.retrieved) == 6
    assert len({photo.photo_id for photo in rose.retrieved}) == 3
    assert len(encoders.phi.seen) == 3
    assert rose.references[0] @ encoders.phi.of_colour("rose") > 0.98
    skipping = replace(plain, learn=replace(plain.learn, skip_duplicates=1.0))
    bank = learn(index, [parse_class("rose")], make_encoders(), skipping)
    assert len(bank.classes[0].retrieved) == 3


def test_photos_that_have_gone_are_left_out(tmp_path):
    index = make_archive(tmp_path, Retrieval())
    classes = [parse_class("sea")]
    before = learn(index, classes, make_encoders(), settings()).classes[0].retrieved
    (tmp_path / "photos" / f"{stem(before[1])}.png").unlink()
    (tmp_path / "photos" / f"{stem(before[2])}.png").write_bytes(b"\x89PNG cut off")
    learnt = []
    bank = learn(index, classes, make_encoders(), settings(), observe=learnt.append)
    [sea] = bank.classes
    assert [photo.path for photo in sea.retrieved] == [before[0].path, before[3].path]
    assert len(learnt[-1].positions) == len(learnt[-1].cosegmentation.support) == 2
    paths = [index.path(position) for position in learnt[-1].positions]
    assert paths == [photo.path for photo in sea.retrieved]
    for photo in (tmp_path / "photos").glob("sea*"):
        photo.unlink()
    with pytest.raises(ConceptError, match="None of the 4 photos retrieved for 'sea' can be read"):
        learn(index, classes, make_encoders(), settings())


def test_adding_to_a_bank_equals_learning_all_at_once(index):
    names = ["rose", "sky", "grass; -sea", "sea"]
    whole = learn(index, parse_classes(names), make_encoders(), settings())
    first = learn(index, parse_classes(names[:2]), make_encoders(), settings())
    kept = {key: value.clone() for key, value in references(first).items()}
    observed = []
    more = learn(
        index,
        parse_classes(names[2:]),
        make_encoders(),
        settings(k=1, guidance=False),  # the bank's own go on
        bank=first,
        observe=observed.append,
    )
    assert [learnt.concept.name for learnt in observed] == ["grass", "sea"]
    assert more.settings == whole.settings
    for key, value in kept.items():
        assert torch.equal(references(more)[key], value)
    assert more.concepts[: len(first.concepts)] == first.concepts
    for one, other in zip(more.concepts, whole.concepts, strict=True):
        assert (one.words, one.role, one.retrieved) == (other.words, other.role, other.retrieved)
        for part in ("references", "text_positive", "text_negative"):
            assert torch.equal(getattr(one, part), getattr(other, part))


def test_a_class_that_is_there_is_not_learnt_again(index):
    bank = learn(index, [parse_class("rose")], make_encoders(), settings())
    with pytest.raises(ConceptError, match="already holds: rose"):
        learn(index, parse_classes(["grass", "rose"]), make_encoders(), bank=bank)


def test_encoders_of_another_index_or_bank_are_refused(index):
    encoders = make_encoders()
    classes = [parse_class("rose")]
    other = replace(encoders, retrieval=Retrieval("f" * 16))
    with pytest.raises(EncoderMismatchError, match=r"made with fake-retrieval .fingerprint aaaa"):
        learn(index, classes, other, settings())
    bank = learn(index, classes, encoders, settings())
    more = [parse_class("sea")]
    for part, encoder in (("saliency", Saliency("f" * 16)), ("phi", Phi("f" * 16))):
        with pytest.raises(EncoderMismatchError, match=f"as {part} encoder"):
            learn(index, more, replace(encoders, **{part: encoder}), bank=bank)
    with pytest.raises(EncoderMismatchError, match="saliency encoder"):
        learn(index, more, replace(encoders, saliency=Saliency(stride=24)), bank=bank)


def test_several_seeds_off_the_border(index):
    bank = learn(
        index, [parse_class("rose")], make_encoders(), settings(seeds_per_image=3, border=1)
    )
    for photo in bank.classes[0].retrieved:
        assert len(set(photo.seeds)) == len(photo.support) == 3
        assert all(1 <= y <= 4 and 1 <= x <= 4 for y, x in photo.seeds)


def test_photos_of_other_sizes_are_cropped(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        wide = Image.new("RGB", (3 * SIZE, SIZE), (120, 120, 120))
        wide.paste(make_photo(number, "sea"), (SIZE, 0))
        wide.save(folder / f"wide{number}.png")
    make_photo(9, "sea").resize((SIZE // 2, SIZE // 2)).save(folder / "small.png")
    build_index([folder], tmp_path / "index", Retrieval(), precision="fp32")
    index = ArchiveIndex.open(tmp_path / "index")
    encoders = make_encoders()
    bank = learn(index, [parse_class("sea")], encoders, settings(context=()))
    assert len(bank.classes[0].retrieved) == 4
    assert bank.classes[0].references[0] @ encoders.phi.of_colour("sea") > 0.97


NAMES = ["a/b", "été", "a:b", "road", "context-sky", "Rose <3", "..", "x" * 300, "a_b-2"]


def test_figures_of_classes_and_context(index, tmp_path):
    folder = tmp_path / "deep" / "figures"
    figures = FigureWriter(index, folder, SIZE)
    seen = []

    def observe(learnt):
        figures(learnt)
        seen.append(learnt.concept)

    learn(
        index,
        [parse_class(f"{name}: rose") if ":" not in name else parse_class("a;b") for name in NAMES],
        make_encoders(),
        settings(),
        observe=observe,
    )
    files = [figures.path(concept) for concept in seen]
    assert len(seen) == len(NAMES) + 1  # two of context, and the road is shared
    assert len(set(files)) == len(files) == len(list(folder.iterdir()))
    by_name = {(item.role, item.name): path.name for item, path in zip(seen, files, strict=True)}
    assert by_name["context", "sky"] == "context-sky.jpg"
    assert by_name["class", "été"] == "été.jpg"
    assert by_name["class", "a/b"] == "a_b.jpg"
    assert by_name["class", "context-sky"] != "context-sky.jpg"
    for path in files:
        assert path.parent == folder
        with Image.open(path) as image:
            assert image.format == "JPEG"
            assert image.width > 4 * 224  # four photos side by side


def test_context_classes_may_have_several_words(index):
    plain = settings(context=("sky", "road"))
    aliased = settings(context=("sky: sky; sea", "road"))
    classes = parse_classes(["rose"])
    bank = learn(index, classes, make_encoders(), aliased)
    assert [item.name for item in bank.context] == ["sky", "road"]
    assert bank.context[0].text_positive.shape[0] == 2
    shown = {stem(photo)[:3] for photo in bank.context[0].retrieved}
    assert shown != {
        stem(photo)[:3]
        for photo in learn(index, classes, make_encoders(), plain).context[0].retrieved
    }
    again = learn(index, parse_classes(["grass"]), make_encoders(), bank=bank)
    assert [item.name for item in again.context] == ["sky", "road"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_co_segmentation_on_a_gpu(index):
    classes = parse_classes(["rose", "grass", "sea"])
    banks = [
        learn(index, classes, make_encoders(), settings(), device=device)
        for device in ("cpu", "cuda")
    ]
    for mine, theirs in zip(*(bank.concepts for bank in banks), strict=True):
        assert theirs.references.device.type == "cpu"
        torch.testing.assert_close(mine.references, theirs.references, atol=1e-3, rtol=0)
