"""The concept bank: what is saved is loaded, and other files are refused."""

import json
import pickle
from dataclasses import asdict, replace

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from recoseg.classes import ClassNames
from recoseg.concepts import FORMAT, Concept, ConceptBank
from recoseg.config import BankSettings, Fusion, LearnSettings, SegmentSettings
from recoseg.encoders.bundle import EncoderInfos
from recoseg.encoders.protocols import EncoderInfo
from recoseg.errors import ConceptError, EncoderMismatchError, RecosegError
from recoseg.evidence import RetrievedPhoto

ENCODERS = EncoderInfos(
    EncoderInfo("ViT-L/14@336px", "timm/clip@abc", "0" * 16, 11),
    EncoderInfo("RN50x16", "timm/rn@def", "1" * 16, 5, 32),
    (EncoderInfo("deit-s16-sin", "deit.pth", "2" * 16, 7, 16),),
)
KEY = ENCODERS.phi[0].key
MORE_PHI = (
    EncoderInfo("dino-s8", "timm/dino@012", "3" * 16, 4, 8),
    EncoderInfo("timm:mine", "file mine.pth", "4" * 16, 3, 16, "/weights/mine.pth"),
)
SEVERAL = replace(ENCODERS, phi=(*ENCODERS.phi, *MORE_PHI))
SETTINGS = BankSettings(LearnSettings(k=3, context=("sky",)), SegmentSettings(Fusion("sum"), 0))


def rows(count, dim, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, dim, generator=generator), dim=1)


def concept(name, role="class", references=1, negatives=(), seed=0):
    photos = tuple(
        RetrievedPhoto(
            f"/photos/{name} {n}.jpg", f"{n:032x}", 0.5 - n / 7, ((n, 2), (3, n)), (0.1 * n, 0.25)
        )
        for n in range(2)
    )
    return Concept(
        ClassNames(name, (name, f"{name} again"), negatives),
        role,
        {KEY: rows(references, 7, seed)},
        rows(2, 5, seed + 1),
        rows(len(negatives), 5, seed + 2),
        photos,
    )


def make_bank():
    concepts = (
        concept("sky", "context", seed=1),
        concept("crane", negatives=("digger", "bird"), seed=2),
        concept("été à la plage / 海辺", references=5, seed=3),
        replace(concept("sky", seed=1), retrieved=()),
    )
    return ConceptBank(concepts, ENCODERS, SETTINGS)


def assert_equal(got, expected):
    assert got.encoders == expected.encoders
    assert got.settings == expected.settings
    assert len(got.concepts) == len(expected.concepts)
    for one, other in zip(got.concepts, expected.concepts, strict=True):
        assert (one.words, one.role, one.retrieved) == (other.words, other.role, other.retrieved)
        assert list(one.references) == list(other.references)
        pairs = [(one.references[key], other.references[key]) for key in one.references]
        pairs += [
            (one.text_positive, other.text_positive),
            (one.text_negative, other.text_negative),
        ]
        for mine, theirs in pairs:
            assert torch.equal(mine, theirs), one.name
            assert mine.dtype == torch.float32


def test_what_is_saved_is_loaded(tmp_path):
    path = tmp_path / "deep" / "bänk.safetensors"
    make_bank().save(path)
    assert_equal(ConceptBank.load(path), make_bank())
    assert_equal(ConceptBank.load(str(path)), make_bank())
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_tensors_of_one_storage(tmp_path):
    shared, texts = rows(3, 7), rows(4, 5)
    sky, sea = ClassNames("sky", ("sky",)), ClassNames("sea", ("sea",))
    bank = ConceptBank(
        (
            Concept(sky, "context", {KEY: shared[:1]}, texts[:2], texts[4:]),
            Concept(sky, "class", {KEY: shared[:1]}, texts[1:3], texts[4:]),
            Concept(sea, "class", {KEY: shared[1:]}, texts[2:], texts[:1]),
        ),
        ENCODERS,
    )
    bank.save(tmp_path / "bank")
    assert_equal(ConceptBank.load(tmp_path / "bank"), bank)


def test_half_precision_views_and_gradients_are_saved_as_plain_fp32(tmp_path):
    references = F.normalize(rows(7, 2), dim=0).T.requires_grad_()  # not contiguous
    odd = replace(concept("odd"), references={KEY: references}, text_positive=rows(2, 5).half())
    ConceptBank((odd,), ENCODERS).save(tmp_path / "bank")
    [loaded] = ConceptBank.load(tmp_path / "bank").concepts
    assert torch.equal(loaded.references[KEY], references)
    assert torch.equal(loaded.text_positive, rows(2, 5).half().float())


def test_an_empty_bank(tmp_path):
    ConceptBank((), ENCODERS).save(tmp_path / "bank")
    assert ConceptBank.load(tmp_path / "bank").concepts == ()


def test_roles_and_order():
    bank = make_bank()
    assert [item.name for item in bank.classes] == ["crane", "été à la plage / 海辺", "sky"]
    assert [item.name for item in bank.context] == ["sky"]


def test_add_and_remove_leave_the_others():
    bank = make_bank()
    more = bank.add([concept("bus", seed=9), concept("road", "context", seed=10)])
    assert [item.name for item in more.classes] == [*(c.name for c in bank.classes), "bus"]
    assert all(a is b for a, b in zip(more.concepts, bank.concepts, strict=False))
    less = more.remove(["sky", "crane"])
    assert [item.name for item in less.classes] == ["été à la plage / 海辺", "bus"]
    assert [item.name for item in less.context] == ["sky", "road"]
    assert len(bank.concepts) == 4


def test_names_that_are_there_or_not():
    bank = make_bank()
    with pytest.raises(ConceptError, match="in the bank twice: crane"):
        bank.add([concept("crane")])
    with pytest.raises(ConceptError, match="in the bank twice: sky"):
        bank.add([concept("sky", "context")])
    with pytest.raises(ConceptError, match=r"no class bus, car\. Its classes: crane, été"):
        bank.remove(["bus", "crane", "car"])


@pytest.mark.parametrize("role", ["saliency", "phi"])
@pytest.mark.parametrize("change", [{"fingerprint": "f" * 16}, {"dim": 3}, {"stride": 8}])
def test_other_encoders_are_refused(role, change):
    bank = make_bank()
    own = {"saliency": ENCODERS.saliency, "phi": ENCODERS.phi[0]}[role]
    bank.check_encoders(**{role: own})
    bank.check_encoders(**{role: replace(own, name="alias", weights="a local copy")})
    with pytest.raises(EncoderMismatchError, match=f"{own.name} .* as {role} encoder, got") as info:
        bank.check_encoders(**{role: replace(own, **change)})
    assert f"--{role}" in str(info.value)


def test_a_failed_save_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "bank"
    make_bank().save(path)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        ConceptBank((), ENCODERS).save(path)
    assert path.read_bytes() == before


def refused(path, match):
    with pytest.raises(ConceptError, match=match) as info:
        ConceptBank.load(path)
    assert "recoseg learn" in str(info.value)


def test_files_that_are_absent_or_other(tmp_path):
    refused(tmp_path / "gone", "No concept bank was found at .*gone")
    refused(tmp_path, "not a regular file. Expected a concept bank")
    weights = tmp_path / "weights.safetensors"
    save_file({"weight": torch.ones(2)}, weights)
    refused(weights, f"is not a concept bank .expected the format {FORMAT}, got none")
    save_file({"weight": torch.ones(2)}, weights, {"format": "recoseg-bank-99"})
    refused(
        weights,
        f"another version of recoseg .expected the format {FORMAT}, got recoseg-bank-99.*Update",
    )


@pytest.mark.parametrize("data", [b"", b"no bank", bytes(64), b"\xff" * 64])
def test_files_of_rubbish(tmp_path, data):
    (tmp_path / "bank").write_bytes(data)
    refused(tmp_path / "bank", "damaged")


class Trap:
    opened = False

    def __reduce__(self):
        return setattr, (Trap, "opened", True)


def test_a_pickle_is_not_opened(tmp_path):
    (tmp_path / "bank.pt").write_bytes(pickle.dumps(Trap()))
    refused(tmp_path / "bank.pt", "damaged")
    torch.save({"references": torch.ones(2)}, tmp_path / "bank.pt")
    refused(tmp_path / "bank.pt", "damaged")
    assert not Trap.opened


def test_a_truncated_bank_is_refused_wherever_it_ends(tmp_path):
    path = tmp_path / "bank"
    make_bank().save(path)
    whole = path.read_bytes()
    for end in (1, 7, 8, 9, 300, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        refused(path, "damaged")


def metadata():
    bank = make_bank()
    return {
        "format": FORMAT,
        "concepts": "[]",
        "encoders": json.dumps(bank.encoders.to_json()),
        "settings": json.dumps(bank.settings.to_json()),
    }


ENTRY = {"words": {"name": "a", "prompts": ["a"], "negatives": []}, "role": "class"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("concepts", None),
        ("concepts", "{not json"),
        ("concepts", "[3]"),
        ("concepts", json.dumps([ENTRY | {"retrieved": []}])),  # without its tensors
        ("encoders", None),
        ("encoders", "{}"),
        ("encoders", '{"phi": 3}'),
        ("encoders", "[]"),
        ("settings", None),
        ("settings", "{}"),
        ("settings", "cut"),
        ("settings", '{"learn": {"context": [], "colour": 1}, "segment": {"fusion": {}}}'),
        ("encoders", json.dumps(ENCODERS.to_json() | {"more_phi": [{"name": "a"}]})),
        ("encoders", json.dumps(ENCODERS.to_json() | {"more_phi": [asdict(ENCODERS.phi[0])]})),
        ("concepts", json.dumps([ENTRY])),
        ("concepts", json.dumps([ENTRY | {"retrieved": [{"path": 3}]}])),
        ("concepts", json.dumps([ENTRY | {"retrieved": [], "role": "other"}])),
    ],
)
def test_damaged_metadata(tmp_path, key, value):
    fields = metadata()
    if value is None:
        del fields[key]
    else:
        fields[key] = value
    save_file({"x": torch.ones(1)}, tmp_path / "bank", fields)
    refused(tmp_path / "bank", "damaged")


def test_settings_out_of_range_are_refused_in_a_file_too(tmp_path):
    fields = metadata()
    settings = BankSettings().to_json()
    settings["learn"]["k"] = 0
    save_file({"x": torch.ones(1)}, tmp_path / "bank", fields | {"settings": json.dumps(settings)})
    with pytest.raises(RecosegError, match="k is 0"):
        ConceptBank.load(tmp_path / "bank")


# Version 0.1, and one phi ever since. A file made by hand, as that version wrote it.
