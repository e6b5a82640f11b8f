"""Default settings belong to the encoders' rows; all others are the paper's."""

from dataclasses import fields

import pytest

from recoseg.config import BankSettings, Fusion, LearnSettings, SegmentSettings
from recoseg.encoders.defaults import default_prompts, default_settings
from recoseg.encoders.encoder_table import TABLE
from recoseg.encoders.presets import PRESETS, preset
from recoseg.encoders.protocols import EncoderInfo
from recoseg.encoders.recipes import RECIPES, recipe_of
from recoseg.errors import UnknownNameError


def info(name):
    return EncoderInfo(name, "random", f"{sum(name.encode()):016x}", 7, 16)


def test_presets_by_name():
    assert [preset(item.name) for item in PRESETS] == list(PRESETS)
    with pytest.raises(UnknownNameError, match=r"'papier'.* Valid: lite, paper, paper-light"):
        preset("papier")


def test_rows_name_settings_and_roles_that_exist():
    learn, segment = ({f.name for f in fields(kind)} for kind in (LearnSettings, SegmentSettings))
    for row in TABLE:
        assert row.defaults.keys() <= set(row.roles)
        for defaults in row.defaults.values():
            assert defaults.learn.keys() <= learn
            assert defaults.segment.keys() <= segment


def test_the_papers_settings_for_the_papers_encoders_and_unknown_ones():
    assert default_settings(info("RN50x16"), info("deit-s16-sin")) == BankSettings()
    assert default_settings(info("mine"), [info("mine too")]) == BankSettings()
    # A name decides as a whole: this is not one of the table's.
    assert default_settings(info("lite-mine"), info("lite-mine")) == BankSettings()


def settings_of_lite(learn=None, segment=None, recipe="paper"):
    """The published settings with what suits the cosines of `lite`."""
    own = {
        "prompts": "short5",
        "border": 2,
        "weigh_seeds": True,
        "guidance_scale": 30.0,
        "guidance_offset": 0.2,
    }
    fused = {"fusion": Fusion("sum", text_weight=0.4), "refine_temperature": 0.1}
    return BankSettings(
        LearnSettings(**own, **(learn or {})), SegmentSettings(**fused | (segment or {})), recipe
    )


@pytest.mark.parametrize("name", ["lite", "lite0", "lite1"])
def test_the_published_recipe_with_lite(name):
    found = default_settings(info(name), info(name), "paper")
    assert found == settings_of_lite()
    assert found.learn.context == ("tree", "sky", "building", "road", "person")
    assert (found.learn.regions, found.segment.regions, found.recipe) == ("", "", "paper")


@pytest.mark.parametrize("name", ["lite", "lite0", "lite1"])
def test_regions_are_the_recipe_of_lite(name):
    expected = settings_of_lite(
        {"regions": "clusters"},
        {"regions": "superpixels", "fusion": Fusion("sum", text_weight=0.8)},
        "regions",
    )
    assert default_settings(info(name), info(name)) == expected
    assert default_settings(info(name), info(name), "regions") == expected


def test_regions_with_the_papers_encoders():
    found = default_settings(info("RN50x16"), info("deit-s16-sin"), "regions")
    assert found == BankSettings(
        LearnSettings(regions="clusters"), SegmentSettings(regions="superpixels"), "regions"
    )


def test_recipes_by_name():
    assert [recipe_of(one.name) for one in RECIPES] == list(RECIPES)
    assert [one.name for one in RECIPES] == ["paper", "regions"]
    assert (recipe_of("paper").learn, recipe_of("paper").segment) == ({}, {})
    for unknown in ("region", "Paper", ""):
        with pytest.raises(UnknownNameError, match=rf"'{unknown}'.* Valid: paper, regions"):
            recipe_of(unknown)
    with pytest.raises(UnknownNameError, match="recipe 'region'"):
        default_settings(info("lite"), info("lite"), "region")


def test_recipes_name_settings_that_exist():
    for one in RECIPES:
        LearnSettings(**one.learn)
        SegmentSettings(**one.segment)
        assert one.note
    for row in TABLE:
        for defaults in row.defaults.values():
            recipe_of(defaults.recipe)
            for name, changed in defaults.by_recipe.items():
                recipe_of(name)
                SegmentSettings(**changed)


def test_each_encoder_changes_its_own_settings():
    for name in ("lite0", "lite/block5"):
        assert default_settings(info("RN50"), info(name)).learn.border == 2
    mixed = default_settings(info("RN50"), info("lite0"))
    assert mixed == BankSettings(LearnSettings(border=2))
    other = default_settings(info("lite"), info("timm:deit_tiny_patch16_224"), "paper")
    assert (other.learn.prompts, other.learn.border) == ("short5", 0)
    assert other.segment.fusion == Fusion("sum")
    # The saliency encoder decides on the recipe.
    assert default_settings(info("lite"), info("dino-s16")).recipe == "regions"
    assert default_settings(info("RN50"), info("lite")).recipe == "paper"


def test_the_encoders_of_a_preset_by_recipe():
    lite, paper = preset("lite"), preset("paper")
    assert lite.phi_of(None) == lite.phi_of("regions") == ("lite/block4", "lite/block5")
    assert lite.phi_of("paper") == ("lite",)
    for name in (None, "paper", "regions"):
        assert paper.phi_of(name) == ("deit-s16-sin",)


@pytest.mark.parametrize("phi", [["lite", "dino-s16"], ["dino-s16", "lite"]])
def test_several_phi(phi):
    assert default_settings(info("RN50"), [info(name) for name in phi]).learn.border == 2


def test_prompts_to_search_with():
    assert default_prompts(info("lite1")) == "short5"
    assert default_prompts(info("ViT-B/32")) == default_prompts(info("mine")) == "reco85"
