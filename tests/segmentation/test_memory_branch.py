"""Scores by a region memory, compared with a slow search of each region."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from recoseg.archive.selection import Selection
from recoseg.concepts import ConceptBank
from recoseg.config import BankSettings, Fusion, SegmentSettings
from recoseg.errors import EncoderMismatchError, RecosegError
from recoseg.memory.layout import RegionRows, write_shard
from recoseg.memory.manifest import MemoryManifest
from recoseg.memory.region_memory import RegionMemory
from recoseg.photos.refs import Photo
from recoseg.pipeline.segment import open_segmenter, segment
from recoseg.regions.clusters import cluster
from recoseg.segmentation.bank_segmenter import bank_segmenter
from tests.banks import references_of

from .fakes import ColourEncoder, make_bank
from .test_bank_segmenter import PHI, TEXT, noise

PHIS = (PHI, 8)
PHI_INFO, TEXT_INFO = ColourEncoder(PHI).info, ColourEncoder(TEXT).info
IDS = tuple(f"{at:032x}" for at in range(30))


def make_memory(root, phis=(PHI_INFO,), texts=(TEXT_INFO,), seed=0):
    """A memory of 90 random regions of 30 photos."""
    generator = torch.Generator().manual_seed(seed)

    def unit(infos):
        parts = [F.normalize(torch.randn(90, one.dim, generator=generator), dim=1) for one in infos]
        return torch.cat(parts, 1)

    rows = RegionRows(
        tuple(Photo(f"{name}.jpg") for name in IDS),
        IDS,
        np.full(30, 3),
        (unit(phis) * len(phis) ** -0.5).half().numpy(),
        unit(texts).half().numpy(),
        np.full(90, 0.5, np.float32),
        np.zeros((90, 4), np.float32),
    )
    write_shard(root, 0, rows, None)
    MemoryManifest(tuple(phis), tuple(texts), "cut", 48, "fp32", "0").save(root)
    return RegionMemory.open(root)


def two_phi():
    """A bank of two phi of other strides."""
    one = make_bank(fusion=Fusion("sum"))
    infos = tuple(ColourEncoder(stride).info for stride in PHIS)
    concepts = tuple(
        replace(concept, references={info.key: references_of(concept) for info in infos})
        for concept in one.concepts
    )
    return ConceptBank(concepts, replace(one.encoders, phi=infos), one.settings)


def made(memory, form="sum", bank=None, phi=None, **options):
    return bank_segmenter(
        bank or make_bank(),
        phi=phi or ColourEncoder(PHI),
        saliency=ColourEncoder(TEXT),
        fusion=Fusion(form, memory_weight=0.7),
        memory=memory,
        keep_scores=True,
        **options,
    )


def slow(memory, pixels, strides):
    """Scores of a photo by a memory, region by region, up-sampled to its pixels."""
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    [rows] = list(memory.shard_rows())
    keys = torch.from_numpy(rows.keys).double() * len(memory.manifest.phi) ** 0.5
    values = F.normalize(torch.from_numpy(rows.values).double(), dim=1)
    parts = [F.normalize(ColourEncoder(stride).features(image), dim=1) for stride in strides]
    size = parts[0].shape[2:]
    parts = [F.interpolate(part, size, mode="bilinear") for part in parts]
    cells = F.normalize(torch.cat(parts, 1), dim=1)[0].flatten(1).T
    assigned = cluster(cells[None], 24, 8)[0]
    words = torch.cat([concept.text_positive for concept in make_bank().classes]).double()
    grid = torch.zeros(3, len(cells))
    for number in assigned.unique():
        own = assigned == number
        total = torch.zeros(len(keys), dtype=torch.float64)
        for at, part in enumerate(parts):
            unit = F.normalize(part[0].flatten(1).T[own].double(), dim=1)
            total += keys[:, 3 * at : 3 * at + 3] @ F.normalize(unit.mean(0), dim=0)
        best = total.argsort(descending=True, stable=True)[:20]
        grid[:, own] = (values[best] @ words.T).mean(0).float()[:, None]
    grid = grid.view(1, 3, *size)
    large = F.interpolate(grid, [side * strides[0] for side in size], mode="bilinear")
    return large[0, :, : pixels.shape[0], : pixels.shape[1]].numpy()


@pytest.mark.parametrize("form", ["sum", "visual", "text"])
def test_the_memory_is_added_with_its_weight(tmp_path, form):
    memory, photos = make_memory(tmp_path), [noise(seed, 37, 53) for seed in range(2)]
    plain, found = made(None, form)(photos), made(memory, form)(photos)
    for pixels, before, after in zip(photos, plain, found, strict=True):
        expected = before.scores + 0.7 * slow(memory, pixels, [PHI])
        np.testing.assert_allclose(after.scores, expected, atol=4e-3)  # kept in fp16
    assert (found[0].labels != plain[0].labels).any()


def test_several_phi_search_together_and_those_of_the_memory_only(tmp_path):
    pixels, infos = noise(0, 40, 64), [ColourEncoder(stride).info for stride in PHIS]
    phi = [ColourEncoder(stride) for stride in PHIS]
    plain = made(None, bank=two_phi(), phi=phi)(pixels).scores
    both = make_memory(tmp_path / "both", infos)
    found = made(both, bank=two_phi(), phi=phi)
    assert [branch.name for branch in found.branches][-1] == "memory"
    expected = plain + 0.7 * slow(both, pixels, PHIS)
    np.testing.assert_allclose(found(pixels).scores, expected, atol=4e-3)
    one = make_memory(tmp_path / "one", infos[1:])
    expected = plain + 0.7 * slow(one, pixels, PHIS[1:])
    found = made(one, bank=two_phi(), phi=phi)
    np.testing.assert_allclose(found(pixels).scores, expected, atol=4e-3)


def test_all_photos_of_a_batch_are_searched_at_once(tmp_path, monkeypatch):
    memory, searched = make_memory(tmp_path), []
    real = RegionMemory.search

    def search(self, queries, k):
        searched.append(len(next(iter(queries.values()))))
        return real(self, queries, k)

    monkeypatch.setattr(RegionMemory, "search", search)
    photos = [
        np.random.default_rng(seed).integers(0, 256, (24, 36, 3), np.uint8) for seed in range(4)
    ]
    together = made(memory, batch_size=4)(photos)
    assert searched == [4 * 24]
    for pixels, result in zip(photos, together, strict=True):
        np.testing.assert_array_equal(result.labels, made(memory)(pixels).labels)
    searched.clear()
    made(memory, window=24, window_step=12)(photos[0])
    assert sum(searched) == 2 * 24, "each window has queries of its own"


def test_encoders_and_fusion_have_to_fit(tmp_path):
    other = ColourEncoder(PHI, "other", "f" * 16).info
    with pytest.raises(EncoderMismatchError, match=r"keys of other .*; expected keys of colour"):
        made(make_memory(tmp_path / "a", [other]))
    with pytest.raises(EncoderMismatchError, match=r"values of other .*; expected values of colo"):
        made(make_memory(tmp_path / "b", texts=[other]))
    memory = make_memory(tmp_path / "c")
    with pytest.raises(
        RecosegError, match=r"uses no region memory.*Leave out --memory.*sum, visual"
    ):
        made(memory, "product")


def test_settings_say_which_memory(tmp_path):
    memory = make_memory(tmp_path / "one")
    settings = made(memory).settings
    assert settings["fusion"]["memory_weight"] == 0.7
    assert settings["memory"]["location"] == memory.location
    assert settings["memory"]["content"] == memory.content
    assert settings["memory"]["left_out"] == ""
    fewer = RegionMemory.open(tmp_path / "one", selection=Selection({IDS[3]: "blurred"}))
    assert made(fewer).settings != settings


def test_the_weight_can_be_given(tmp_path):
    memory, pixels = make_memory(tmp_path / "one"), noise(5, 24, 36)
    phi, text = ColourEncoder(PHI), ColourEncoder(TEXT)
    bank = make_bank(fusion=Fusion("sum"))
    found = open_segmenter(
        bank, memory=memory, memory_weight=0.7, phi=phi, saliency=text, keep_scores=True
    )
    expected = made(memory)
    assert found.settings == expected.settings
    np.testing.assert_array_equal(found(pixels).scores, expected(pixels).scores)
    default = open_segmenter(bank, memory=memory, phi=phi, saliency=text, keep_scores=True)
    assert (default(pixels).scores != found(pixels).scores).any()


def test_a_folder_is_continued_with_the_same_memory_only(tmp_path):
    (tmp_path / "photos").mkdir()
    Image.fromarray(noise(7, 24, 36)).save(tmp_path / "photos" / "a.png")
    for seed, name in enumerate(["memory", "other"]):
        make_memory(tmp_path / name, seed=seed)
    run = {
        **{"source": make_bank(fusion=Fusion("sum")), "photos": tmp_path / "photos"},
        **{"out": tmp_path / "out", "phi": ColourEncoder(PHI), "saliency": ColourEncoder(TEXT)},
    }
    segment(**run, memory=tmp_path / "memory")
    assert not segment(**run, memory=str(tmp_path / "memory"), resume=True).failures
    with pytest.raises(RecosegError, match=r"other settings \(memory\.content, memory\.location\)"):
        segment(**run, memory=tmp_path / "other", resume=True)
    with pytest.raises(RecosegError, match=r"other settings \(fusion\.memory_weight, memory\)"):
        segment(**run, resume=True)
    with pytest.raises(RecosegError, match="No region memory was found at"):
        open_segmenter(run["source"], memory=tmp_path / "none")


def test_banks_hold_the_weight_only_if_it_is_not_the_default():
    fields = BankSettings().to_json()
    assert "memory_weight" not in fields["segment"]["fusion"]
    assert BankSettings.from_json(fields).segment.fusion.memory_weight == 0.8
    other = BankSettings(segment=SegmentSettings(Fusion(memory_weight=0.3)))
    assert BankSettings.from_json(other.to_json()) == other
