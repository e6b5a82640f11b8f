"""Settings are checked when they are made, and survive JSON."""

import json
from dataclasses import FrozenInstanceError, replace

import pytest

from recoseg.config import PAPER_CONTEXT, BankSettings, Fusion, LearnSettings, SegmentSettings
from recoseg.errors import OptionError, RecosegError, UnknownNameError


def test_defaults_are_the_papers():
    learn = LearnSettings()
    assert (learn.k, learn.image_size, learn.seeds_per_image) == (50, 224, 1)
    assert (learn.prompts, learn.guidance, learn.guidance_scale) == ("reco85", True, 10.0)
    assert learn.context == ("tree", "sky", "building", "road", "person") == PAPER_CONTEXT
    assert Fusion() == Fusion("product", visual_scale=1.0, text_scale=10.0)


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [
        ("k", 0, 1),
        ("image_size", 15, 16),
        ("seeds_per_image", 0, 1),
        ("border", -1, 0),
    ],
)
def test_numbers_out_of_range(name, value, least):
    with pytest.raises(RecosegError, match=f"{name} is {value}; expected {least} or more"):
        LearnSettings(**{name: value})
    assert getattr(LearnSettings(**{name: least}), name) == least


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("block", "image, paper"),
        ("reference", "mean, normalised-mean, rank-weighted, winner"),
    ],
)
def test_unknown_choices_list_the_valid_ones(name, valid):
    with pytest.raises(RecosegError, match=f"{name} is 'other'; expected one of {valid}"):
        LearnSettings(**{name: "other"})


def test_unknown_fusion():
    with pytest.raises(UnknownNameError, match=r"'other'. Valid: product, sum, visual, text"):
        Fusion("other")


@pytest.mark.parametrize(
    ("form", "visual", "text"),
    [
        ("product", True, True),
        ("sum", True, True),
        ("visual", True, False),
        ("text", False, True),
    ],
)
def test_what_a_fusion_needs(form, visual, text):
    assert (Fusion(form).uses_visual, Fusion(form).uses_text) == (visual, text)


@pytest.mark.parametrize(
    "settings",
    [
        BankSettings(),
        BankSettings(
            LearnSettings(
                k=7,
                image_size=96,
                prompts="short5",
                seeds_per_image=3,
                block="paper",
                reference="winner",
                border=2,
                guidance=False,
                guidance_scale=4.5,
                context=("ciel bleu", "木"),
                skip_duplicates=0.9,
            ),
            SegmentSettings(Fusion("sum", 2.0, 3.0, 0.25), 0),
        ),
        BankSettings(LearnSettings(context=())),
        BankSettings(
            LearnSettings(regions="clusters"),
            SegmentSettings(
                Fusion("sum", memory_weight=0.5, phi_weights=(0.5, 2.0)), regions="superpixels"
            ),
            "regions",
        ),
        BankSettings(recipe="of another version"),
    ],
)
def test_json_and_back(settings):
    again = BankSettings.from_json(json.loads(json.dumps(settings.to_json())))
    assert again == settings
    assert isinstance(again.learn.context, tuple)
    assert isinstance(again.segment.fusion.phi_weights, tuple)


def test_json_is_checked_too():
    fields = BankSettings().to_json()
    fields["learn"]["k"] = 0
    with pytest.raises(RecosegError, match="k is 0"):
        BankSettings.from_json(fields)


@pytest.mark.parametrize(
    ("path", "value", "match"),
    [
        ("learn.k", "3", "learn.k: expected int, got '3'"),
        ("learn.guidance", 1, "learn.guidance: expected bool, got 1"),
        ("learn.context", "sky", "learn.context: expected a list, got 'sky'"),
        ("learn.colour", 1, "learn: unknown field colour"),
        ("segment.fusion", 3, "segment.fusion: expected fields"),
        ("segment.fusion.form", "other", "segment.fusion.form: other not in"),
        ("learn.image_size", 20_000, "image_size is 20000; expected 16,384 or less"),
        ("learn.k", 10**9, "k is 1000000000; expected 1,000,000 or less"),
        ("learn.skip_duplicates", 1.5, "skip_duplicates is 1.5; expected 1 or less"),
        ("learn.guidance_scale", float("nan"), "guidance_scale is nan"),
        ("segment.short_side", -1, "short_side is -1; expected 0 or more"),
        ("segment.refine_temperature", 0, "refine_temperature is 0; expected more than 0"),
        ("segment.fusion.text_scale", float("inf"), "text_scale is inf"),
        ("segment.fusion", [[0] * 999], r"expected fields"),
        ("segment.fusion.phi_weights", ["1"], r"phi_weights\[?.*expected"),
        ("segment.fusion.phi_weights", [float("nan")], "phi_weights has nan"),
        ("segment.regions", 3, "segment.regions: expected str, got 3"),
        ("recipe", ["paper"], "recipe: expected str"),
    ],
)
def test_json_of_other_types_and_fields_is_refused(path, value, match):
    fields = BankSettings().to_json()
    *parents, name = path.split(".")
    inner = fields
    for parent in parents:
        inner = inner[parent]
    inner[name] = value
    with pytest.raises(RecosegError, match=match):
        BankSettings.from_json(fields)


def test_json_without_a_stage_is_refused():
    with pytest.raises(RecosegError, match="segment: the field is missing"):
        BankSettings.from_json({"learn": {}})


def test_json_of_an_earlier_version_may_lack_settings():
    fields = BankSettings().to_json()
    del fields["learn"]["border"], fields["segment"]["refine_temperature"]
    assert BankSettings.from_json(fields) == BankSettings()


def test_json_of_the_papers_recipe_is_that_of_earlier_versions():
    """Banks of both versions are then equal, and earlier versions can read both."""
    fields = {
        "learn": {
            "k": 50,
            "image_size": 224,
            "prompts": "reco85",
            "seeds_per_image": 1,
            "block": "image",
            "reference": "mean",
            "border": 0,
            "weigh_seeds": False,
            "guidance": True,
            "guidance_scale": 10.0,
            "guidance_offset": 0.0,
            "context": PAPER_CONTEXT,
            "skip_duplicates": 0.0,
        },
        "segment": {
            "fusion": {
                "form": "product",
                "visual_scale": 1.0,
                "text_scale": 10.0,
                "text_weight": 0.4,
            },
            "short_side": 320,
            "refine_temperature": 1.0,
        },
    }
    assert BankSettings().to_json() == fields
    read = BankSettings.from_json(json.loads(json.dumps(fields)))
    assert read == BankSettings()
    assert (read.recipe, read.segment.regions, read.segment.fusion.phi_weights) == ("paper", "", ())


def test_recipe_regions_and_weights_are_stored_where_they_are_set():
    chosen = BankSettings(
        segment=SegmentSettings(Fusion(phi_weights=(0.5, 2.0)), regions="slic"), recipe="regions"
    )
    stored = json.loads(json.dumps(chosen.to_json()))
    assert stored["recipe"] == "regions"
    assert stored["segment"]["regions"] == "slic"
    assert stored["segment"]["fusion"]["phi_weights"] == [0.5, 2.0]
    with pytest.raises(RecosegError, match="regions has 201 characters; expected at most 200"):
        SegmentSettings(regions="x" * 201)


@pytest.mark.parametrize("weight", [1_000_001, -1_000_001, float("nan"), float("inf")])
def test_weights_of_phi_are_bounded(weight):
    message = rf"phi_weights has {weight}; expected -1,000,000 to 1,000,000"
    with pytest.raises(RecosegError, match=message):
        Fusion(phi_weights=(1.0, weight))
    assert Fusion(phi_weights=(-1_000_000, 1_000_000)).phi_weights == (-1_000_000, 1_000_000)


def test_settings_are_frozen():
    with pytest.raises(FrozenInstanceError):
        LearnSettings().k = 3
    assert replace(LearnSettings(), k=3).k == 3


def test_regions_are_bounded_and_stored_only_where_they_are_set():
    with pytest.raises(RecosegError, match="regions has 201 characters; expected at most 200"):
        LearnSettings(regions="x" * 201)
    stored = BankSettings().to_json()["learn"]
    assert (
        not {"regions", "mend_outliers", "least_k"} & stored.keys()
    )  # earlier versions refuse them
    chosen = BankSettings(LearnSettings(regions="clusters", mend_outliers=True, least_k=9))
    stored = json.loads(json.dumps(chosen.to_json()))
    assert (stored["learn"]["regions"], stored["learn"]["mend_outliers"]) == ("clusters", True)
    assert stored["learn"]["least_k"] == 9
    assert BankSettings.from_json(stored) == chosen


def test_the_context_is_bounded():
    assert len(LearnSettings(context=("a",) * 1000).context) == 1000
    with pytest.raises(RecosegError, match="context has 1,001 classes; expected at most 1,000"):
        LearnSettings(context=("a",) * 1001)


def test_a_decoder_is_a_name_alone():
    own = BankSettings(segment=SegmentSettings(decoder="sam3"))
    assert own.to_json()["segment"]["decoder"] == "sam3"
    assert BankSettings.from_json(own.to_json()) == own
    assert "decoder" not in BankSettings().to_json()["segment"]
    for folder in ("sam3=/home/me", "../sam3", "sam3 "):
        with pytest.raises(OptionError, match="expected a name, such as sam3"):
            SegmentSettings(decoder=folder)
