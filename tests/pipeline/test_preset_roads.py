"""From photos to masks with each preset: the classes of its models, tiny, at random weights."""

from dataclasses import replace

import pytest

import recoseg
from recoseg.encoders import encoder_table
from recoseg.encoders.attention.recipes import VIT_RECIPES
from recoseg.encoders.presets import PRESETS, Preset
from recoseg.errors import MissingWeightsError
from tests.decoders.tiny import tiny_sam3
from tests.encoders.conftest import TINY
from tests.encoders.tiny_timm import POOLED, add_to_open_clip
from tests.learning.fakes import make_photo

ARCHS = {
    "ViT-L/14@336px": "tiny-vit",
    "ViT-B/32": "tiny-vit",
    "RN50x16": "tiny-rn",
    "RN50": "tiny-rn",
    "deit-s16-sin": "deit_tiny_distilled_patch16_224",
    "pe-core-l14": "tiny-pe",
    "metaclip-l14": "tiny-vit",
    "dinov2-l14-reg4": "tiny_dinov2_reg4",
    "c-radiov3-l16": "tiny_radio",
}
"""What stands for the architectures of the rows: the same classes, but tiny."""


@pytest.fixture(scope="module", autouse=True)
def tiny_architectures(tmp_path_factory):
    add_to_open_clip(tmp_path_factory.mktemp("open_clip"), TINY | POOLED)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for seed, patches in enumerate([("rose", "grass"), ("grass", "sea"), ("rose",), ("sea",)]):
        make_photo(seed, *patches).resize((96, 96)).save(folder / f"{seed}.png")
    return folder


@pytest.fixture
def tiny_rows(monkeypatch):
    """The rows of the table with tiny architectures; a row that has none here stays large."""
    rows = [
        replace(row, arch=ARCHS[row.name], tag="") if row.name in ARCHS else row
        for row in encoder_table.TABLE
    ]
    monkeypatch.setattr(encoder_table, "TABLE", tuple(rows))


def random_weights(spec: str) -> str:
    return f"{spec}=random"


@pytest.fixture
def decoder(preset, tmp_path_factory, monkeypatch, tmp_path):
    """The folder of a tiny decoder, and no other weights on this machine; None without one."""
    if not preset.decoder:
        return None
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("RECOSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    return tiny_sam3(tmp_path_factory.mktemp("sam3"))


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_index_remember_learn_segment(preset: Preset, photos, tiny_rows, decoder, tmp_path):
    """All architectures are tiny ones of the same classes; see `ARCHS` and `tiny_sam3`."""
    names = {
        "saliency": random_weights(preset.saliency),
        "phi": [random_weights(spec) for spec in preset.phi],
    }
    index = recoseg.build_index(
        photos, tmp_path / "index", preset=preset.name, retrieval=random_weights(preset.retrieval)
    )
    assert len(index) == 4
    memory = recoseg.remember(index, tmp_path / "memory", size=96, **names)
    assert memory.report.failures == ()
    settings = {"k": 2, "image_size": 96, "prompts": "none", "context": ("sky",)}
    bank = recoseg.learn(
        index, ["rose", "grass"], out=tmp_path / "bank.safetensors", memory=memory,
        **names, **settings,
    )  # fmt: skip
    assert bank.encoders.retrieval == index.info
    infos = (bank.encoders.retrieval, bank.encoders.saliency, *bank.encoders.phi)
    assert [info.name for info in infos] == [preset.retrieval, *_dense(preset)]
    assert bank.settings.segment.decoder == preset.decoder
    options = {"memory": memory, "fusion": "sum", "resize": 96}
    if preset.decoder:
        with pytest.raises(MissingWeightsError, match="or do without: --decoder none"):
            recoseg.open_segmenter(tmp_path / "bank.safetensors", **options)
        options["decoder"] = f"{preset.decoder}={decoder}"
    segmenter = recoseg.open_segmenter(tmp_path / "bank.safetensors", **options)
    assert segmenter.settings.get("decoder", {}).get("name", "") == preset.decoder
    result = segmenter(photos / "0.png")
    assert result.labels.shape == (96, 96)
    assert set(result.masks()) <= {"rose", "grass"}
    assert sum(result.areas().values()) == pytest.approx(1)


def test_an_index_for_a_non_commercial_preset_says_so(photos, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("RECOSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    for name, told in (("best", True), ("open", False), ("sam3", False)):
        caplog.clear()
        with pytest.raises(MissingWeightsError, match="'pe-core-l14' are not on this machine"):
            recoseg.build_index(photos, tmp_path / name, preset=name)
        assert ("metaclip-l14 (CC BY-NC 4.0)" in caplog.text) == told
        assert ("The weights of SAM 3 have a licence of Meta's own" in caplog.text) == (
            name == "sam3"
        )


def _dense(preset: Preset) -> tuple[str, ...]:
    form = preset.saliency.rpartition("/")[2]
    assert form not in VIT_RECIPES or VIT_RECIPES[form].needs_features
    return preset.saliency, *preset.phi
