"""Recipes from learning to masks: what a bank's settings say, and what replaces them."""

from dataclasses import replace

import numpy as np
import pytest

import recoseg
from recoseg.config import BankSettings, Fusion, LearnSettings, SegmentSettings
from recoseg.encoders.bundle import Encoders
from recoseg.errors import RecosegError, UnknownNameError
from recoseg.pipeline.learn import choose_encoders
from recoseg.regions.providers import provider_of
from tests.banks import assert_same_references
from tests.learning.fakes import SIZE, Phi, Retrieval, Saliency, make_archive, make_photo

SETTINGS = {"k": 4, "image_size": SIZE, "prompts": "none", "context": ("sky", "road")}
OLD = BankSettings(LearnSettings(**SETTINGS))


@pytest.fixture(scope="module")
def encoders():
    return Encoders(Retrieval(), Saliency(), (Phi(),))


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("recipes"), Retrieval())


@pytest.fixture(scope="module")
def learn(archive, encoders):
    def made(**options):
        return recoseg.learn(archive, ["rose", "grass"], encoders=encoders, **SETTINGS | options)

    return made


@pytest.fixture(scope="module")
def bank(learn):
    """A bank of the published recipe, as earlier versions made it."""
    return learn()


@pytest.fixture(scope="module")
def photo():
    return np.asarray(make_photo(3, "rose", "grass"))


@pytest.fixture(scope="module")
def opened(encoders):
    def made(source, **options):
        return recoseg.open_segmenter(source, encoders=encoders, **{"resize": 0} | options)

    return made


def with_segment(bank, **changes):
    segment = replace(bank.settings.segment, **changes)
    return replace(bank, settings=replace(bank.settings, segment=segment))


def test_settings_of_a_recipe_are_kept_in_the_bank(learn, bank, tmp_path):
    assert bank.settings == learn(recipe="paper").settings == OLD
    regions = learn(recipe="regions", out=tmp_path / "bank.safetensors")
    expected = BankSettings(
        LearnSettings(**SETTINGS, regions="clusters"),
        SegmentSettings(regions="superpixels"),
        "regions",
    )
    assert regions.settings == expected
    read = recoseg.ConceptBank.load(tmp_path / "bank.safetensors")
    assert read.settings == expected
    assert regions.fingerprint != bank.fingerprint


def test_single_settings_differ_from_the_recipe(learn, bank):
    alone = learn(recipe="regions", regions="none")
    assert (alone.settings.learn.regions, alone.settings.segment.regions) == ("", "superpixels")
    assert alone.settings.recipe == "regions"
    for one, other in zip(alone.concepts, bank.concepts, strict=True):
        assert_same_references(one, other)
    assert learn(regions="none").settings == OLD
    assert learn(recipe="regions", regions="clusters:4").settings.learn.regions == "clusters:4"


def test_unknown_recipes_are_refused(learn, bank, opened):
    with pytest.raises(UnknownNameError, match=r"recipe 'region'.* Valid: paper, regions"):
        learn(recipe="region")
    with pytest.raises(UnknownNameError, match=r"recipe 'region'.* Valid: paper, regions"):
        opened(bank, recipe="region")


@pytest.mark.parametrize("recipe", ["paper", "regions"])
def test_a_bank_keeps_its_recipe(archive, encoders, bank, recipe):
    with pytest.raises(RecosegError, match="--recipe would have no effect"):
        recoseg.learn(archive, ["sea"], encoders=encoders, add_to=bank, recipe=recipe)


def test_classes_are_added_by_the_banks_recipe(archive, encoders, learn):
    first = learn(recipe="regions")
    more = recoseg.learn(archive, ["sea"], encoders=encoders, add_to=first)
    assert more.settings == first.settings
    whole = recoseg.learn(
        archive, ["rose", "grass", "sea"], encoders=encoders, recipe="regions", **SETTINGS
    )
    assert more.fingerprint == whole.fingerprint


def test_banks_without_regions_do_not_vote(bank, opened):
    found = opened(bank)
    assert found.labeller.voting is None
    assert not {"regions", "vote"} & set(found.settings)


def test_regions_of_a_bank_vote_unless_others_are_asked_for(bank, opened, photo):
    voting = with_segment(bank, regions="superpixels:min=30")
    plain, asked = opened(bank), opened(bank, regions="superpixels:min=30")
    by_default = opened(voting)
    assert by_default.settings == asked.settings
    assert by_default.settings["regions"] == provider_of("superpixels:min=30").key
    assert by_default.settings["vote"] == "mean"
    np.testing.assert_array_equal(by_default(photo).labels, asked(photo).labels)
    assert (by_default(photo).labels != plain(photo).labels).any()
    none = opened(voting, regions="none")
    assert none.settings == plain.settings
    np.testing.assert_array_equal(none(photo).labels, plain(photo).labels)
    other = opened(voting, regions="clusters:4", vote="mode")
    assert other.settings["regions"] == provider_of("clusters:4").key
    assert opened(voting, vote="mode").settings["vote"] == "mode"
    with pytest.raises(RecosegError, match="--vote would have no effect without regions"):
        opened(voting, regions="none", vote="mean")


def test_the_recipe_of_segmentation_can_be_replaced(bank, opened, photo):
    voting = with_segment(bank, regions="superpixels")
    plain, paper = opened(bank), opened(voting, recipe="paper")
    assert paper.settings == plain.settings
    np.testing.assert_array_equal(paper(photo).labels, plain(photo).labels)
    regions, again = opened(bank, recipe="regions"), opened(voting)
    assert regions.settings == again.settings
    np.testing.assert_array_equal(regions(photo).labels, again(photo).labels)


def test_a_recipe_replaces_all_settings_of_segmentation(bank, opened):
    changed = with_segment(
        bank, fusion=Fusion("sum", text_weight=3.0), short_side=96, refine_temperature=0.5
    )
    plain, paper = opened(bank, resize=None), opened(changed, resize=None, recipe="paper")
    assert paper.settings == plain.settings
    assert paper.settings["resize"] == 320
    assert opened(changed, resize=None).settings["resize"] == 96
    assert opened(changed, recipe="paper", resize=64, fusion="text").settings["resize"] == 64
    single = opened(changed, recipe="paper", fusion="sum", text_weight=0.25)
    assert single.settings["fusion"]["form"] == "sum"
    assert single.settings["fusion"]["text_weight"] == 0.25


def test_the_weight_of_the_text_counts(bank, opened, photo):
    for weight, same in ((0, "visual"), (1e6, "text")):
        found = opened(bank, fusion="sum", text_weight=weight)(photo).labels
        alone = opened(bank, fusion=same)(photo).labels
        assert (found == alone).mean() > 0.99


@pytest.mark.parametrize("spec", ["files:/etc", "sam2", "sam2:facebook/sam2.1-hiera-small", "none"])
def test_regions_of_a_bank_neither_read_files_nor_download(bank, opened, spec, tmp_path):
    bad = with_segment(bank, regions=spec)
    bad.save(tmp_path / "bank.safetensors")
    for source in (bad, tmp_path / "bank.safetensors"):
        with pytest.raises(RecosegError, match=rf"settings name the regions '{spec}'; expected"):
            opened(source)
    assert opened(bad, regions="none").labeller.voting is None
    assert opened(bad, recipe="paper").labeller.voting is None


@pytest.mark.parametrize(
    "spec", ["superpixels:sigma=1000000000", "slic:1000000000", "clusters:100000"]
)
def test_regions_of_a_bank_are_bounded(bank, opened, spec):
    with pytest.raises(RecosegError, match="expected"):
        opened(with_segment(bank, regions=spec))


@pytest.mark.parametrize(
    ("recipe", "phi"),
    [(None, ["lite/block4", "lite/block5"]), ("regions", None), ("paper", ["lite"])],
)
def test_phi_of_the_preset_by_recipe(archive, recipe, phi):
    chosen = choose_encoders(archive, None, "lite", recipe=recipe)
    assert chosen["phi"] == (phi or ["lite/block4", "lite/block5"])
    given = choose_encoders(archive, None, "lite", phi="lite0", recipe=recipe)
    assert given["phi"] == "lite0"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"fusion": "product", "text_weight": 0.5}, "--text-weight .* fusion sum"),
        ({"fusion": "text", "phi_weights": [2.0]}, "--phi-weight .* visual scores"),
        ({"fusion": "sum", "memory_weight": 0.5}, "--memory-weight .* a memory"),
    ],
)
def test_weights_without_effect_are_refused(bank, opened, options, expected):
    with pytest.raises(RecosegError, match=expected):
        opened(bank, **options)


def test_other_settings_than_those_of_the_bank_are_refused(archive, bank, encoders):
    with pytest.raises(RecosegError, match="k is 4 there, and 5 would have no effect"):
        recoseg.learn(archive, ["sea"], encoders=encoders, add_to=bank, k=5)
    more = recoseg.learn(archive, ["sea"], encoders=encoders, add_to=bank, k=4)
    assert more.settings == bank.settings
