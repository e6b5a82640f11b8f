"""The concept bank: what is saved is loaded, and other files are refused."""

import hashlib
import json
import pickle
import struct
from dataclasses import asdict, replace

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from recoseg.classes import ClassNames
from recoseg.concepts import FORMAT, Concept, ConceptBank
from recoseg.config import BankSettings, Fusion, LearnSettings, SegmentSettings
from recoseg.encoders.bundle import EncoderInfos
from recoseg.encoders.protocols import EncoderInfo
from recoseg.errors import ConceptError, EncoderMismatchError, RecosegError
from recoseg.evidence import RetrievedPhoto
from recoseg.storage.tensors import read_tensors, write_tensors

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

OLD_ENCODERS = {
    "retrieval": {"name": "a", "weights": "x", "fingerprint": "0" * 16, "dim": 2, "stride": 0},
    "saliency": {"name": "b", "weights": "y", "fingerprint": "1" * 16, "dim": 2, "stride": 32},
    "phi": {"name": "c", "weights": "z", "fingerprint": "2" * 16, "dim": 3, "stride": 16},
}
OLD_CONCEPT = {
    "words": {"name": "sea", "prompts": ["sea", "ocean"], "negatives": ["sky"]},
    "role": "class",
    "retrieved": [
        {
            "path": "/photos/1.jpg",
            "photo_id": "0a",
            "score": 0.25,
            "seeds": [[3, 5]],
            "support": [0.5],
        }
    ],
}
OLD_SETTINGS = {
    "learn": {
        "k": 5,
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
        "context": ["sky"],
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
OLD_TENSORS = {
    "0.references": torch.tensor([[0.6, 0.8, 0.0]]),
    "0.text_positive": torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
    "0.text_negative": torch.tensor([[0.8, 0.6]]),
}
OLD_KEY = "c 2222222222222222 3 16"


@pytest.fixture
def old_file(tmp_path):
    metadata = {
        "format": "recoseg-bank-1",
        "concepts": json.dumps([OLD_CONCEPT]),
        "encoders": json.dumps(OLD_ENCODERS),
        "settings": json.dumps(OLD_SETTINGS),
    }
    save_file(OLD_TENSORS, tmp_path / "old.safetensors", metadata)
    return tmp_path / "old.safetensors"


def metadata_of(path):
    with safe_open(path, "pt") as file:
        return file.metadata()


def test_a_bank_of_version_0_1_is_read(old_file):
    bank = ConceptBank.load(old_file)
    [concept] = bank.concepts
    assert concept.words == ClassNames("sea", ("sea", "ocean"), ("sky",))
    photo = RetrievedPhoto("/photos/1.jpg", "0a", 0.25, ((3, 5),), (0.5,))
    assert (concept.role, concept.retrieved) == ("class", (photo,))
    assert list(concept.references) == [OLD_KEY] == [bank.encoders.phi[0].key]
    assert torch.equal(concept.references[OLD_KEY], OLD_TENSORS["0.references"])
    assert torch.equal(concept.text_positive, OLD_TENSORS["0.text_positive"])
    assert torch.equal(concept.text_negative, OLD_TENSORS["0.text_negative"])
    assert bank.settings == BankSettings(LearnSettings(k=5, context=("sky",)))
    assert bank.encoders.phi == (EncoderInfo("c", "z", "2" * 16, 3, 16),)


def test_one_phi_is_written_as_in_version_0_1(old_file, tmp_path):
    path = tmp_path / "new.safetensors"
    ConceptBank.load(old_file).save(path)
    tensors = load_file(path)
    assert tensors.keys() == OLD_TENSORS.keys()
    assert all(torch.equal(tensors[key], OLD_TENSORS[key]) for key in tensors)
    old, new = metadata_of(old_file), metadata_of(path)
    assert new.keys() == {*old, "checksum"}
    assert new["concepts"] == old["concepts"]
    assert new["settings"] == old["settings"]
    # Only the place of local weights has been added.
    without_file = {
        role: {name: value for name, value in fields.items() if name != "file"}
        for role, fields in json.loads(new["encoders"]).items()
    }
    assert without_file == OLD_ENCODERS


def test_the_fingerprint_of_one_phi_is_that_of_version_0_1(old_file):
    digest = hashlib.sha256()
    for role in ("saliency", "phi"):
        info = OLD_ENCODERS[role]
        digest.update(json.dumps([info["fingerprint"], info["dim"], info["stride"]]).encode())
    digest.update(json.dumps(["class", OLD_CONCEPT["words"]]).encode())
    for shape, values in (
        ("(1, 3)", [0.6, 0.8, 0.0]),
        ("(2, 2)", [1.0, 0.0, 0.0, 1.0]),
        ("(1, 2)", [0.8, 0.6]),
    ):
        digest.update(shape.encode() + struct.pack(f"<{len(values)}f", *values))
    assert ConceptBank.load(old_file).fingerprint == digest.hexdigest()[:16] == "e1170cf4731b8796"


# Several phi.


def several():
    """A bank with three phi."""
    concepts = [
        replace(
            item,
            references={
                KEY: item.references[KEY],
                **{
                    info.key: rows(1 + n, info.dim, 10 * n + place)
                    for n, info in enumerate(MORE_PHI)
                },
            },
        )
        for place, item in enumerate(make_bank().concepts)
    ]
    return ConceptBank(tuple(concepts), SEVERAL, SETTINGS)


def test_several_phi_are_saved_and_loaded(tmp_path):
    bank = several()
    bank.save(tmp_path / "bank")
    loaded = ConceptBank.load(tmp_path / "bank")
    assert_equal(loaded, bank)
    assert loaded.encoders.phi[2].file == "/weights/mine.pth"
    assert loaded.fingerprint == bank.fingerprint != make_bank().fingerprint
    names = {name for name in load_file(tmp_path / "bank") if name.startswith("1.")}
    assert names == {
        "1.references",
        "1.references.1",
        "1.references.2",
        "1.text_positive",
        "1.text_negative",
    }
    assert metadata_of(tmp_path / "bank")["format"] == FORMAT


def test_references_of_each_phi_count_in_the_fingerprint():
    bank = several()
    for info in SEVERAL.phi:
        first, *others = bank.concepts
        changed = replace(
            first, references=first.references | {info.key: -first.references[info.key]}
        )
        assert replace(bank, concepts=(changed, *others)).fingerprint != bank.fingerprint


def test_references_must_be_those_of_the_phi():
    [first, *_] = make_bank().concepts
    for references in ({}, {"other": rows(1, 7)}, {KEY: rows(1, 7), "other": rows(1, 7)}):
        with pytest.raises(ConceptError, match=r"Expected references of 'sky' for .*deit-s16-sin"):
            ConceptBank((replace(first, references=references),), ENCODERS)
    with pytest.raises(ConceptError, match="dino-s8"):
        ConceptBank((first,), SEVERAL)


def test_all_phi_are_checked_in_order():
    bank = several()
    bank.check_encoders(phi=SEVERAL.phi)
    with pytest.raises(EncoderMismatchError, match=r"deit-s16-sin .* as phi encoder, got dino-s8"):
        bank.check_encoders(phi=[SEVERAL.phi[1], SEVERAL.phi[0], SEVERAL.phi[2]])
    with pytest.raises(EncoderMismatchError, match=r"3 phi encoders \(deit.*got 1 \(deit-s16-sin"):
        bank.check_encoders(phi=SEVERAL.phi[0])


def test_a_bank_that_lacks_a_tensor_is_damaged(tmp_path):
    path = tmp_path / "bank"
    several().save(path)
    tensors, metadata = load_file(path), metadata_of(path)
    del metadata["checksum"]
    for name in ("0.references.2", "2.references", "3.text_negative"):
        save_file({key: t for key, t in tensors.items() if key != name}, path, metadata)
        refused(path, f"damaged .*{name}")


def test_what_deep_json_is_called(tmp_path):
    path = tmp_path / "bank.safetensors"
    make_bank().save(path)
    tensors, metadata = read_tensors(path)
    write_tensors(path, tensors, {**metadata, "concepts": "[" * 100_000})
    refused(path, "nested too deeply")
