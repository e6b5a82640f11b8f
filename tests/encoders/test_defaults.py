"""Default settings belong to the encoders' rows; all others are the paper's."""

from dataclasses import fields

import pytest

from recoseg.config import BankSettings, Fusion, LearnSettings, SegmentSettings
from recoseg.encoders.defaults import default_prompts, default_settings
from recoseg.encoders.encoder_table import TABLE
from recoseg.encoders.presets import PRESETS, preset
from recoseg.encoders.protocols import EncoderInfo
from recoseg.errors import UnknownNameError


def info(name):
    return EncoderInfo(name, "random", f"{sum(name.encode()):016x}", 7, 16)


def test_presets_by_name():
    assert [preset(item.name) for item in PRESETS] == list(PRESETS)
    with pytest.raises(UnknownNameError, match=r"'papier'. Valid: lite, paper, paper-light"):
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


@pytest.mark.parametrize("name", ["lite", "lite0", "lite1"])
def test_settings_of_lite(name):
    expected = BankSettings(
        LearnSettings(
            prompts="short5",
            border=2,
            weigh_seeds=True,
            guidance_scale=30.0,
            guidance_offset=0.2,
        ),
        SegmentSettings(Fusion("sum"), refine_temperature=0.1),
    )
    assert default_settings(info(name), info(name)) == expected


def test_each_encoder_changes_its_own_settings():
    for name in ("lite0", "lite/block5"):
        assert default_settings(info("RN50"), info(name)).learn.border == 2
    mixed = default_settings(info("RN50"), info("lite0"))
    assert mixed == BankSettings(LearnSettings(border=2))
    other = default_settings(info("lite"), info("timm:deit_tiny_patch16_224"))
    assert (other.learn.prompts, other.learn.border) == ("short5", 0)
    assert other.segment.fusion == Fusion("sum")


@pytest.mark.parametrize("phi", [["lite", "dino-s16"], ["dino-s16", "lite"]])
def test_several_phi(phi):
    assert default_settings(info("RN50"), [info(name) for name in phi]).learn.border == 2


def test_prompts_to_search_with():
    assert default_prompts(info("lite1")) == "short5"
    assert default_prompts(info("ViT-B/32")) == default_prompts(info("mine")) == "reco85"
