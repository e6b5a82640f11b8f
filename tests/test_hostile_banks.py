"""Banks from strangers or from bad disks: each is read whole or refused in one message."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from recoseg.concepts import FORMAT, ConceptBank, verify_bank
from recoseg.config import BankSettings
from recoseg.errors import ConceptError, FileError, RecosegError
from recoseg.storage import tensors as storage
from tests.command import run
from tests.test_bank_versions import metadata_of
from tests.test_concepts import ENCODERS, assert_equal, make_bank, metadata

WORDS = {"name": "a", "prompts": ["a"], "negatives": []}
ENTRY = {"words": WORDS, "role": "class", "retrieved": []}
PHOTO = {"path": "a.jpg", "photo_id": "0", "score": 0.5, "seeds": [[1, 2]], "support": [0.5]}
TENSORS = {
    "0.references": torch.eye(7)[:2],
    "0.text_positive": torch.eye(5)[:1],
    "0.text_negative": torch.zeros(0, 5),
}


def crafted(path, tensors=TENSORS, entries=(ENTRY,), **fields):
    """A bank without a checksum, as anyone can write it."""
    save_file(tensors, path, metadata() | {"concepts": json.dumps(list(entries))} | fields)
    return path


def refused(path, match="damaged"):
    with pytest.raises(ConceptError, match=match) as info:
        ConceptBank.load(path)
    assert len(str(info.value)) < 2_000
    [problem] = verify_bank(path).problems
    assert problem == str(info.value)
    result = run("inspect", path)
    assert result.code == 1
    assert result.err.startswith("Error: ")
    assert "fault of recoseg" not in result.err
    assert "Traceback" not in result.err


def test_the_crafted_bank_is_a_bank_but_for_what_is_changed(tmp_path):
    path = crafted(tmp_path / "bank", entries=[ENTRY | {"retrieved": [PHOTO]}])
    [concept] = ConceptBank.load(path).concepts
    assert concept.retrieved[0].seeds == ((1, 2),)
    assert run("inspect", path).code == 0


def test_every_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "bank"
    make_bank().save(path)
    whole = path.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 400)):
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        path.write_bytes(data)
        with pytest.raises(ConceptError):
            ConceptBank.load(path)
        assert verify_bank(path).problems
    path.write_bytes(whole)
    assert verify_bank(path).problems == ()


ROWS = torch.eye(7)
WRONG = {
    "another dimension": ("0.references", torch.eye(8)),
    "one axis": ("0.references", torch.eye(7)[0]),
    "three axes": ("0.references", torch.eye(7)[None]),
    "a scalar": ("0.references", torch.tensor(1.0)),
    "no reference": ("0.references", torch.zeros(0, 7)),
    "no numbers": ("0.references", torch.zeros(1_000_000_000, 0)),
    "NaN": ("0.references", ROWS * float("nan")),
    "one NaN": ("0.references", torch.where(ROWS == 1, ROWS, torch.nan)),
    "infinity": ("0.references", ROWS * float("inf")),
    "zeros": ("0.references", torch.zeros(2, 7)),
    "not normalised": ("0.references", 2 * ROWS),
    "integers": ("0.references", ROWS.to(torch.int64)),
    "truth values": ("0.references", ROWS.bool()),
    "half precision": ("0.references", ROWS.half()),
    "8 bits": ("0.references", ROWS.to(torch.float8_e4m3fn)),
    "doubles": ("0.references", ROWS.double()),
    "texts of another dimension": ("0.text_positive", torch.eye(6)[:1]),
    "no text": ("0.text_positive", torch.zeros(0, 5)),
    "texts of NaN": ("0.text_positive", torch.full((1, 5), torch.nan)),
    "negative texts of another dimension": ("0.text_negative", torch.zeros(0, 4)),
    "negative texts that are not normalised": ("0.text_negative", torch.ones(1, 5)),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.wrong_shapes
def test_tensors_that_learning_never_writes(tmp_path, case):
    name, tensor = WRONG[case]
    refused(crafted(tmp_path / "bank", TENSORS | {name: tensor}), "damaged|expected")


def deep(levels):
    return "[" * levels + "]" * levels


ENTRIES = {
    "no words": [ENTRY | {"words": None}],
    "words as text": [ENTRY | {"words": "a"}],
    "words as list": [ENTRY | {"words": ["a"]}],
    "a name that is a number": [ENTRY | {"words": WORDS | {"name": 3}}],
    "a name that is null": [ENTRY | {"words": WORDS | {"name": None}}],
    "an empty name": [ENTRY | {"words": WORDS | {"name": ""}}],
    "a blank name": [ENTRY | {"words": WORDS | {"name": " \t"}}],
    "a name of two lines": [ENTRY | {"words": WORDS | {"name": "a\nb"}}],
    "a name with a control character": [ENTRY | {"words": WORDS | {"name": "a\x85b"}}],
    "no prompts": [ENTRY | {"words": WORDS | {"prompts": []}}],
    "an empty prompt": [ENTRY | {"words": WORDS | {"prompts": [""]}}],
    "prompts as text": [ENTRY | {"words": WORDS | {"prompts": "a"}}],
    "an unknown role": [ENTRY | {"role": "queen"}],
    "a role that is null": [ENTRY | {"role": None}],
    "an unknown field": [ENTRY | {"colour": "red"}],
    "a score that is NaN": [ENTRY | {"retrieved": [PHOTO | {"score": float("nan")}]}],
    "a score that is infinite": [ENTRY | {"retrieved": [PHOTO | {"score": float("inf")}]}],
    "a score of 400 digits": [ENTRY | {"retrieved": [PHOTO | {"score": 10**400}]}],
    "support that is NaN": [ENTRY | {"retrieved": [PHOTO | {"support": [float("nan")]}]}],
    "a negative seed": [ENTRY | {"retrieved": [PHOTO | {"seeds": [[-1, 0]]}]}],
    "a seed of three numbers": [ENTRY | {"retrieved": [PHOTO | {"seeds": [[1, 2, 3]]}]}],
    "a seed of floats": [ENTRY | {"retrieved": [PHOTO | {"seeds": [[1.5, 2]]}]}],
    "a path that is null": [ENTRY | {"retrieved": [PHOTO | {"path": None}]}],
    "null": [None],
    "a class twice": [ENTRY, ENTRY],
    "tensors that are missing": [ENTRY, ENTRY | {"words": WORDS | {"name": "b"}}],
}


@pytest.mark.parametrize("case", ENTRIES)
def test_classes_that_learning_never_writes(tmp_path, case):
    tensors = dict(TENSORS)
    if case == "a class twice":
        tensors |= {name.replace("0.", "1."): tensor.clone() for name, tensor in TENSORS.items()}
    refused(crafted(tmp_path / "bank", tensors, ENTRIES[case]))


def changed(**changes):
    fields = BankSettings().to_json()
    for name, value in changes.items():
        stage = "learn" if name in fields["learn"] else "segment"
        part = fields[stage] if name in fields[stage] else fields[stage]["fusion"]
        part[name] = value
    return json.dumps(fields)


def encoder(**changes):
    fields = ENCODERS.to_json()
    fields["phi"] = fields["phi"] | changes
    return json.dumps(fields)


FIELDS = {
    **{f"{name}: deep": {name: deep(100_000)} for name in ("concepts", "encoders", "settings")},
    **{f"{name}: null": {name: "null"} for name in ("concepts", "encoders", "settings")},
    **{f"{name}: a number": {name: "3"} for name in ("concepts", "encoders", "settings")},
    **{f"{name}: digits": {name: "9" * 10_000} for name in ("concepts", "encoders", "settings")},
    "settings: a large side": {"settings": changed(image_size=10**9)},
    "settings: a large short side": {"settings": changed(short_side=10**9)},
    "settings: a negative short side": {"settings": changed(short_side=-1)},
    "settings: NaN": {"settings": changed(refine_temperature=float("nan"))},
    "settings: infinity": {"settings": changed(visual_scale=float("inf"))},
    "settings: offset": {"settings": changed(guidance_offset=float("nan"))},
    "settings: duplicates": {"settings": changed(skip_duplicates=float("nan"))},
    "settings: k": {"settings": changed(k=10**400)},
    "settings: temperature": {"settings": changed(refine_temperature=0)},
    "encoders: dimension": {"encoders": encoder(dim=10**12)},
    "encoders: no dimension": {"encoders": encoder(dim=0)},
    "encoders: stride": {"encoders": encoder(stride=0)},
    "encoders: negative stride": {"encoders": encoder(stride=-16)},
    "encoders: null": {"encoders": encoder(name=None)},
}


@pytest.mark.parametrize("case", FIELDS)
def test_settings_and_encoders_that_learning_never_writes(tmp_path, case):
    refused(crafted(tmp_path / "bank", **FIELDS[case]))


def test_many_classes_and_encoders(tmp_path):
    count = 600
    entries = [ENTRY | {"words": WORDS | {"name": f"[/c{n}]"}} for n in range(count)]
    tensors = {
        name.replace("0.", f"{n}."): tensor.clone()
        for n in range(count)
        for name, tensor in TENSORS.items()
    }
    path = crafted(tmp_path / "bank", tensors, entries)
    assert len(ConceptBank.load(path).classes) == count
    assert "[/c599]" in run("inspect", path).out
    more = [asdict(replace(ENCODERS.phi[0], name=f"p{n}")) for n in range(count)]
    refused(crafted(path, encoders=json.dumps(ENCODERS.to_json() | {"more_phi": more})))


def test_a_large_file_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "bank"
    make_bank().save(path)
    with path.open("r+b") as file:
        file.truncate(storage.MAX_TENSORS + 1)  # sparse
    refused(path, "has more than 4,294,967,296 bytes")


def test_names_that_are_not_utf8_are_kept(tmp_path):
    bank = make_bank()
    sky, crane, *rest = bank.concepts
    photo = replace(crane.retrieved[0], path="/photos/\udcff\ud800.jpg")
    odd = replace(bank, concepts=(sky, replace(crane, retrieved=(photo,)), *rest))
    odd.save(tmp_path / "bank")
    assert ConceptBank.load(tmp_path / "bank").concepts[1].retrieved == (photo,)


def test_verify_counts_files_without_a_checksum(tmp_path):
    path = tmp_path / "bank"
    make_bank().save(path)
    found = verify_bank(path)
    assert (found.what, found.checked, found.unchecked) == ("concept bank", 1, 0)
    save_file(load_file(path), path, metadata_of(path) | {"checksum": "0" * 32})
    assert "checksum" in verify_bank(path).problems[0]
    fields = metadata_of(path)
    del fields["checksum"]
    save_file(load_file(path), path, fields)
    found = verify_bank(path)
    assert (found.checked, found.unchecked, found.problems) == (0, 1, ())


def loaded(path):
    """The bank, or None if it is refused; any error that is not meant for the user passes."""
    try:
        return ConceptBank.load(path)
    except ConceptError:
        return None


FUZZ = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FUZZ
@given(data=st.data())
def test_fuzzed_bytes(tmp_path, data):
    path = tmp_path / "bank"
    make_bank().save(path)
    whole = bytearray(path.read_bytes())
    kind = data.draw(st.sampled_from(["flip", "cut", "header", "insert"]))
    place = data.draw(st.integers(0, len(whole) - 1))
    if kind == "flip":
        whole[place] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        del whole[place:]
    elif kind == "header":
        whole[:8] = data.draw(st.integers(0, 2**64 - 1)).to_bytes(8, "little")
    else:
        whole[place:place] = data.draw(st.binary(min_size=1, max_size=40))
    path.write_bytes(whole)
    found = loaded(path)
    if found is not None:  # white space in the header has changed
        assert_equal(found, make_bank())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@FUZZ
@given(data=st.data())
def test_fuzzed_metadata(tmp_path, data):
    """One value, anywhere in the JSON of a bank without a checksum, is replaced by any other."""
    entries = [ENTRY | {"retrieved": [PHOTO]}]
    fields = {
        "concepts": entries,
        "encoders": ENCODERS.to_json(),
        "settings": BankSettings().to_json(),
    }
    fields = json.loads(json.dumps(fields))
    place = fields
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else [0]))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            break
        place = inner
    place[key] = data.draw(JSON)
    path = tmp_path / "bank"
    texts = {name: json.dumps(value) for name, value in fields.items()}
    save_file(TENSORS, path, {"format": FORMAT} | texts)
    result = run("inspect", path)
    assert result.code == int(loaded(path) is None)
    assert len(result.err) < 2_000
    assert "fault of recoseg" not in result.err


def test_what_is_no_regular_file(tmp_path):
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder", "Expected a concept bank")
    (tmp_path / "endless").symlink_to("/dev/zero")
    refused(tmp_path / "endless", "not a regular file")


def test_errors_of_values_are_for_the_user():
    with pytest.raises(FileError, match=r"expected rows as fp32 of shape \(1 or more, 3\)"):
        storage.check_unit_rows(torch.zeros(2, 4), 3, 1, "rows")
    assert issubclass(FileError, RecosegError)
    storage.check_unit_rows(torch.eye(3), 3, 1, "rows")
