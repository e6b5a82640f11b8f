"""Banks of the first version are read, and banks with several phi fit into its format."""

import hashlib
import json
import struct
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from recoseg.classes import ClassNames
from recoseg.concepts import FORMAT, ConceptBank
from recoseg.config import BankSettings, LearnSettings
from recoseg.encoders.protocols import EncoderInfo
from recoseg.errors import ConceptError, EncoderMismatchError
from recoseg.evidence import RetrievedPhoto
from recoseg.storage.tensors import read_tensors, write_tensors
from tests.test_concepts import (
    ENCODERS,
    KEY,
    MORE_PHI,
    SETTINGS,
    SEVERAL,
    assert_equal,
    make_bank,
    refused,
    rows,
)

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
    # Only the place of local weights and their licence have been added.
    added = {"file", "licence"}
    without_these = {
        role: {name: value for name, value in fields.items() if name not in added}
        for role, fields in json.loads(new["encoders"]).items()
    }
    assert without_these == OLD_ENCODERS


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
