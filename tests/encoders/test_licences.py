"""Licences stand in every row, are recorded, and are told where they forbid commercial use."""

import logging

import pytest
import timm
import torch
from safetensors.torch import save_file

from recoseg.concepts import ConceptBank
from recoseg.encoders import licences
from recoseg.encoders.bundle import EncoderInfos
from recoseg.encoders.encoder_table import TABLE, build_phi, build_retrieval, build_saliency
from recoseg.encoders.inventory import files_of_encoder, files_of_preset, rows_of_preset
from recoseg.encoders.licences import tell_licences, tell_licences_of, use_of
from recoseg.encoders.presets import PRESETS, preset
from recoseg.encoders.protocols import EncoderInfo
from recoseg.encoders.sizes import BYTES, count_parameters, sizes_of_preset
from recoseg.memory.manifest import MemoryManifest
from tests.command import run

from .conftest import FP32


def test_every_licence_is_known():
    own = {value for name, value in vars(licences).items() if name.isupper() and name[0] != "_"}
    known = own | {"MIT", "Apache-2.0"}
    families = {row.name for row in TABLE if row.name.endswith(":")}
    assert {row.licence for row in TABLE if row.name not in families} <= known
    assert {licence for licence in known if use_of(licence) == "non-commercial"} == {
        "CC BY-NC 4.0",
        "Apple AMLR",
    }


def test_presets_and_what_they_allow():
    uses = {one.name: {use_of(row.licence) for _, row in rows_of_preset(one)} for one in PRESETS}
    assert uses["open"] == uses["lite"] == uses["paper"] == uses["sam3"] == {"any"}
    decoders = [(one.encoder, one.licence) for one in files_of_preset(preset("sam3"))][2:]
    assert decoders == [("sam3", "SAM licence")]
    assert use_of("SAM licence") == "see licence"
    assert uses["best"] == {"any", "non-commercial", "see licence"}


def test_the_licence_of_published_weights_is_recorded(tmp_path, monkeypatch):
    lite = build_saliency("lite", FP32)
    assert lite.info.licence == "Apache-2.0"
    assert build_phi("timm:vit_tiny_patch16_224=random", FP32).info.licence == ""
    phi = build_phi("timm:vit_tiny_patch16_224=random", FP32)
    path = tmp_path / "deit.safetensors"
    save_file(phi._backbone.module.state_dict(), path)
    family = build_phi(f"timm:vit_tiny_patch16_224={path}", FP32)
    assert family.info.licence == "see timm"
    assert family.info == phi.info.__class__(**(family.info.to_json() | {"licence": "other"}))
    infos = EncoderInfos(build_retrieval("lite", FP32).info, lite.info, (family.info,))
    ConceptBank((), infos).save(tmp_path / "bank.safetensors")
    again = ConceptBank.load(tmp_path / "bank.safetensors").encoders
    assert [again.retrieval.licence, again.phi[0].licence] == ["Apache-2.0", "see timm"]
    dense = {"phi": (family.info,), "texts": (lite.info,), "provider": "clusters"}
    MemoryManifest(**dense, size=224, precision="fp32", recoseg="0.1.0").save(tmp_path)
    manifest = MemoryManifest.load(tmp_path)
    assert [info.licence for info in (*manifest.phi, *manifest.texts)] == ["see timm", "Apache-2.0"]
    told = run("inspect", tmp_path / "bank.safetensors")
    assert told.code == 0, told.err
    assert "stride 16, Apache-2.0" in told.out


def test_only_non_commercial_weights_are_told(caplog):
    with caplog.at_level(logging.WARNING):
        tell_licences([("a", "MIT"), ("b", "DINOv3 licence")])
        assert not caplog.records
        tell_licences_of(
            EncoderInfo(name, "hub", "0" * 16, 3, 16, licence=licence)
            for name, licence in [("dino", "MIT"), ("clip", "CC BY-NC 4.0")] * 2
        )
        tell_licences([("sam3", "SAM licence"), ("sam3", "SAM licence")])
    [record, sam] = caplog.records
    assert "have a licence of Meta's own (SAM licence)" in sam.getMessage()
    assert "non-commercial use: clip (CC BY-NC 4.0). " in record.getMessage()
    assert "--preset open" in record.getMessage()


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECOSEG_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    return tmp_path / "weights"


def test_sizes_are_those_of_the_architectures(empty_cache):
    parts = {part.needed.encoder: part for part in sizes_of_preset(preset("paper-light"))}
    assert list(parts) == ["ViT-B/32", "RN50", "deit-s16-sin"]
    count = parts["deit-s16-sin"].parameters
    published = timm.create_model("deit_small_distilled_patch16_224").state_dict()
    heads = [name for name in published if name.startswith("head")]  # are left out
    assert len(heads) == 4
    assert count == sum(v.numel() for k, v in published.items() if k not in heads)
    assert parts["deit-s16-sin"].file_bytes == BYTES * count
    empty_cache.mkdir()
    path = empty_cache / "deit_s_sin_dist.pth"
    torch.save({"a": torch.ones(3)}, path)
    here = sizes_of_preset(preset("paper-light"))[-1]
    assert (here.here, here.file_bytes, here.parameters) == (True, path.stat().st_size, count)
    row = next(row for row in TABLE if row.name == "ViT-B/32")
    assert parts["ViT-B/32"].parameters == count_parameters(row) == 151_277_313


def test_the_command_prints_a_preset(empty_cache):
    told = run("encoders", "--preset", "open")
    assert told.code == 0, told.err
    size = sum(part.file_bytes for part in sizes_of_preset(preset("open"))) / 1e9
    assert f"To download: about {size:.1f} GB" in told.out
    assert f"Memory for the weights: {size:.1f} GB" in told.out
    assert told.out.count("Apache-2.0") == 2
    assert "non-commercial" in run("encoders", "--preset", "best").out
    told = run("encoders", "--preset", "sam3").out
    [row] = [line for line in told.splitlines() if "SAM licence" in line]
    assert [cell.strip() for cell in row.split("│")[1:-1]] == [
        *("sam3", "decoder", "SAM licence", "see licence", "860", "about 3,440", "missing"),
    ]
    assert files_of_encoder("sam3")[0].licence == "SAM licence"
    told = run("encoders", "--preset", "lite")
    assert "To download" not in told.out
    assert run("encoders", "--preset", "nothing").code != 0
    assert files_of_encoder("metaclip-l14/corr")[0].licence == "CC BY-NC 4.0"
