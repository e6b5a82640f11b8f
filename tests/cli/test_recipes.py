"""Recipes by the command line: what each learns, and how each segments."""

import json
from dataclasses import replace

import pytest

from recoseg.concepts import ConceptBank
from recoseg.config import BankSettings, Fusion, LearnSettings, SegmentSettings
from tests.command import run


@pytest.fixture(scope="module")
def published(session):
    """A bank of the published recipe."""
    out = session / "published.safetensors"
    learnt = run(
        *("learn", session / "index", "--classes", session / "classes.txt", "--out", out),
        *("-k", 2, "--context", "sky,road", "--image-size", 160, "--precision", "fp32"),
        *("--recipe", "paper"),
    )
    assert learnt.code == 0, learnt.err
    return out


class TestRecipe:
    def test_the_published_one_has_one_phi_and_the_settings_of_earlier_versions(self, published):
        bank = ConceptBank.load(published)
        assert [info.name for info in bank.encoders.phi] == ["lite"]
        learn = LearnSettings(
            k=2,
            image_size=160,
            prompts="short5",
            border=2,
            weigh_seeds=True,
            guidance_scale=30.0,
            guidance_offset=0.2,
            context=("sky", "road"),
        )
        segment = SegmentSettings(Fusion("sum", text_weight=0.4), refine_temperature=0.1)
        assert bank.settings == BankSettings(learn, segment)
        fields = bank.settings.to_json()
        assert fields.keys() == {"learn", "segment"}
        assert "regions" not in {*fields["learn"], *fields["segment"]}

    def test_inspect(self, published):
        shown = run("inspect", published)
        assert shown.code == 0
        assert "recipe: paper (as published: " in shown.out
        assert "changed from the recipe: k=2, " in shown.out
        assert "regions=" not in shown.out
        found = json.loads(run("inspect", published, "--json").out)
        assert "more_phi" not in found["encoders"]

    def test_inspect_a_bank_of_a_later_version(self, session):
        bank = ConceptBank.load(session / "bank.safetensors")
        later = replace(bank, settings=replace(bank.settings, recipe="better"))
        later.save(session / "later.safetensors")
        shown = run("inspect", session / "later.safetensors")
        assert "recipe: better (not known to this version)" in shown.out
        assert "changed" not in shown.out

    def test_segment_by_another_recipe_and_other_weights(self, session, published):
        common = (session / "photos", "--resize", 128, "--precision", "fp32", "--no-overlays")

        def settings(bank, out, *arguments):
            done = run("segment", bank, *common, "--out", session / out, *arguments)
            assert done.code == 0, done.err
            return json.loads((session / out / "settings.json").read_text(encoding="utf-8"))

        plain = settings(published, "by-paper")
        assert "regions" not in plain
        assert plain["fusion"]["text_weight"] == 0.4
        regions = settings(published, "by-regions", "--recipe", "regions")
        assert regions["regions"].startswith("superpixels(")
        assert regions["fusion"]["text_weight"] == 0.8
        bank = session / "bank.safetensors"
        chosen = ("--phi-weight", 0.5, "--phi-weight", 1.5, "--text-weight", 0.6)
        weighed = settings(bank, "weighed", *chosen, "--regions", "none")
        assert "regions" not in weighed
        assert weighed["fusion"]["phi_weights"] == [0.5, 1.5]
        assert weighed["fusion"]["text_weight"] == 0.6
        assert settings(bank, "paper-settings", "--recipe", "paper")["fusion"] == plain["fusion"]

    def test_learning_without_regions(self, session):
        out = session / "seeds.safetensors"
        learnt = run(
            *("learn", session / "index", "--classes", session / "classes.txt", "--out", out),
            *("-k", 2, "--context", "none", "--image-size", 160, "--precision", "fp32"),
            *("--regions", "none"),
        )
        assert learnt.code == 0, learnt.err
        settings = ConceptBank.load(out).settings
        assert (settings.recipe, settings.learn.regions) == ("regions", "")
        assert settings.segment.regions == "superpixels"
