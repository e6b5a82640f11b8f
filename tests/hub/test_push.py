"""What goes up, and what does not: paths of this machine, other files, and where it may go."""

import re
from dataclasses import replace

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

import recoseg
from recoseg.classes import ClassNames
from recoseg.concepts import ConceptBank
from recoseg.errors import HubError, OptionError, OutputError, RecosegError
from recoseg.memory.region_memory import RegionMemory
from recoseg.publishing.card import bank_card
from recoseg.publishing.licence import HubLicence, strictest
from recoseg.publishing.local_paths import bank_without_paths, paths_of_bank
from tests.banks import assert_same_references
from tests.command import run
from tests.memory.fakes import contents


def texts_in(folder):
    """All bytes of a folder as text."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return "".join(path.read_bytes().decode("latin-1") for path in files)


def metadata_of(card):
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)[1])


def test_paths_are_left_out(with_paths, tmp_path):
    report = recoseg.push(with_paths, "ann/pets", dry_run=tmp_path / "out")
    assert set(report.paths) == {"photos", "weights files", "a file of prompts", "a region memory"}
    assert all("archive-of-ann" in path for path in report.paths["photos"])
    text = texts_in(tmp_path / "out")
    assert "archive-of-ann" not in text
    assert "/home/ann" not in text
    there = ConceptBank.load(tmp_path / "out/bank.safetensors")
    assert there.fingerprint == with_paths.fingerprint
    assert there.settings.learn.prompts == "mine.txt"
    assert (there.settings.segment.memory, there.settings.segment.memory_content) == ("", "")
    for mine, theirs in zip(with_paths.concepts, there.concepts, strict=True):
        assert_same_references(mine, theirs)
        assert [p.photo_id for p in mine.retrieved] == [p.photo_id for p in theirs.retrieved]
        assert (mine.evidence, mine.verdict) == (theirs.evidence, theirs.verdict)


def test_paths_are_kept_if_that_is_asked_for(with_paths, tmp_path):
    report = recoseg.push(with_paths, "ann/pets", keep_paths=True, dry_run=tmp_path / "out")
    assert report.kept
    there = ConceptBank.load(tmp_path / "out/bank.safetensors")
    assert there.encoders.retrieval.file == "/home/ann/weights/clip.safetensors"
    assert paths_of_bank(there) == report.paths == paths_of_bank(with_paths)


def test_a_memory_on_the_hub_stays_recorded(with_paths):
    segment = replace(with_paths.settings.segment, memory="hf:ann/regions@" + "0" * 40)
    bank = replace(with_paths, settings=replace(with_paths.settings, segment=segment))
    assert bank_without_paths(bank).settings.segment == segment
    assert "a region memory" not in paths_of_bank(bank)


def test_a_memory_without_the_paths_of_its_photos(memory, tmp_path):
    report = recoseg.push(memory, "ann/regions", dry_run=tmp_path / "out")
    (tmp_path / "out/README.md").unlink()
    text = texts_in(tmp_path / "out")
    assert "archive-of-ann" not in text
    assert ".png" not in text
    assert len(report.paths["photos"]) == memory.summary().photos
    there = RegionMemory.open(tmp_path / "out")
    assert contents(there) == contents(memory)
    assert [there.photo_id(at) for at in range(9)] == [memory.photo_id(at) for at in range(9)]
    queries = {memory.manifest.phi[0].key: torch.randn(5, memory.manifest.phi[0].dim)}
    for mine, theirs in zip(memory.search(queries), there.search(queries), strict=True):
        assert torch.equal(mine, theirs)
    assert recoseg.verify(tmp_path / "out").problems == ()
    recoseg.push(memory, "ann/regions", dry_run=tmp_path / "kept", keep_paths=True)
    kept = RegionMemory.open(tmp_path / "kept")
    assert kept.content == memory.content
    assert kept.region(3).photo.path == memory.region(3).photo.path


def test_the_card_of_a_bank(bank, tmp_path):
    card = recoseg.push(bank, "ann/pets", dry_run=tmp_path / "out").card
    assert card == (tmp_path / "out/README.md").read_text(encoding="utf-8")
    found = metadata_of(card)
    assert (found["library_name"], found["pipeline_tag"]) == ("recoseg", "image-segmentation")
    assert found["license"] == "unknown"  # the encoders of these tests have none
    for text in ("# pets", "recoseg segment hf:ann/pets photos --out masks", "## Encoders"):
        assert text in card
    assert 'recoseg.open_segmenter("hf:ann/pets")' in card
    [rose] = [line for line in card.splitlines() if line.startswith("| rose")]
    assert [cell.strip() for cell in rose.split("|")][1:5] == ["rose", "rose", "-", "4"]
    assert bank.classes[0].verdict.judgement in rose
    assert "Context classes, which the others were kept apart from: sky." in card
    assert "learn.k" in card
    for concept in bank.classes:
        assert re.search(rf"^(.*, )?{concept.name}(, .*)?: {concept.verdict.advice}$", card, re.M)


def test_names_of_classes_cannot_act_on_the_card(bank):
    words = ClassNames("a|b <script>", ("x`y", "[z](http://a)"), ())
    odd = replace(bank, concepts=(replace(bank.classes[0], words=words),))
    card = bank_card(odd, "hf:ann/pets")
    assert "<script>" not in card
    assert r"a\|b &lt;script>" in card
    assert r"\[z\](http://a)" in card
    assert metadata_of(card)["tags"][:2] == ["recoseg", "semantic-segmentation"]


@pytest.mark.parametrize(
    ("licences", "expected"),
    [
        (["MIT", "MIT"], HubLicence("mit")),
        (["MIT", "Apache-2.0"], HubLicence("apache-2.0")),
        (["Apache-2.0", "CC BY-NC 4.0", "DINOv3 licence"], HubLicence("cc-by-nc-4.0")),
        (["Apache AMLR", "MIT"], HubLicence("other", "apache-amlr")),
        (["Apple AMLR", "CC BY-NC 4.0"], HubLicence("other", "apple-amlr-and-cc-by-nc-4.0")),
        (["NVIDIA Open Model", "MIT"], HubLicence("other", "nvidia-open-model-license")),
        (["", "MIT"], HubLicence("mit")),
        (["", ""], HubLicence("unknown")),
    ],
)
def test_the_strictest_licence_is_named(licences, expected):
    assert strictest(licences) == strictest(reversed(licences)) == expected


def test_the_licence_of_encoders_is_in_the_card(bank):
    encoders = bank.encoders
    encoders = replace(
        encoders,
        retrieval=replace(encoders.retrieval, licence="MIT"),
        saliency=replace(encoders.saliency, licence="CC BY-NC 4.0"),
    )
    card = bank_card(replace(bank, encoders=encoders), "hf:ann/pets")
    assert metadata_of(card)["license"] == "cc-by-nc-4.0"
    assert "under CC BY-NC 4.0, MIT; the strictest" in card
    assert "The licences of other weights that it was made with are not recorded." in card


def test_figures_lose_their_metadata(bank, tmp_path):
    figures = tmp_path / "figures"
    figures.mkdir()
    exif = Image.Exif()
    exif[0x8298] = "Ann of 5 Home Street"
    Image.new("RGB", (30, 20), "red").save(figures / "a rose.jpg", exif=exif, comment=b"by Ann")
    (figures / "settings.json").write_text('{"archive": "/home/ann"}')
    (figures / "._a rose.jpg").write_bytes(b"what a Mac puts beside a file on other disks")
    report = recoseg.push(bank, "ann/pets", figures=figures, dry_run=tmp_path / "out")
    assert report.files == ("README.md", "bank.safetensors", "figures/a rose.jpg")
    assert "![a rose](figures/a%20rose.jpg)" in report.card
    data = (tmp_path / "out/figures/a rose.jpg").read_bytes()
    assert b"Ann" in (figures / "a rose.jpg").read_bytes()
    assert b"Ann" not in data
    with pytest.raises(HubError, match=r"holds 0 pictures\. Expected 1 to 200"):
        recoseg.push(bank, "ann/pets", figures=tmp_path / "out", dry_run=tmp_path / "b")


def test_other_files_are_not_pushed(hub, tmp_path):
    torch.save({"w": torch.zeros(3)}, tmp_path / "model.pth")
    save_file({"w": torch.zeros(3)}, tmp_path / "weights.safetensors")
    for name, text in (
        ("model.pth", "may hold code, and is not uploaded: weights go to the Hub as safetensors"),
        ("weights.safetensors", "is no output of recoseg. Expected a concept bank, a trained"),
        ("nothing.safetensors", "No file or folder was found at"),
    ):
        with pytest.raises(RecosegError, match=text):
            recoseg.push(tmp_path / name, "ann/pets")
    assert not hub.repositories


def test_a_damaged_memory_is_not_pushed(hub, memory, tmp_path):
    recoseg.merge_memories([memory.root], tmp_path / "copy")
    path = tmp_path / "copy/values/values_0.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(HubError, match=r"values_0.*Nothing was uploaded"):
        recoseg.push(tmp_path / "copy", "ann/regions")
    assert not hub.repositories


def test_only_with_a_login(hub, logged_out, bank, tmp_path):
    with pytest.raises(HubError, match="Uploading needs a login"):
        recoseg.push(bank, "ann/pets")
    recoseg.push(bank, "ann/pets", dry_run=tmp_path / "out")
    assert not hub.asked


def test_only_where_the_user_may_write(hub, bank):
    with pytest.raises(HubError, match="does not let you write to bob/pets"):
        recoseg.push(bank, "bob/pets")
    hub.repository("bob/pets")
    with pytest.raises(HubError, match="does not let you write to bob/pets"):
        recoseg.push(bank, "bob/pets")
    assert hub.files("bob/pets").keys() == {".gitattributes"}


def test_nothing_else_is_replaced(hub, bank, memory):
    hub.repository("ann/work", {"config.json": b"{}", "model.onnx": b""})
    with pytest.raises(HubError, match=r"holds config.json, model.onnx, which recoseg has not"):
        recoseg.push(bank, "ann/work")
    hub.repository("ann/new", {"README.md": b"# mine", "LICENSE": b""})
    recoseg.push(bank, "ann/new", keep_card=True)
    assert hub.files("ann/new")["README.md"] == b"# mine"
    with pytest.raises(HubError, match=r"ann/new holds a concept bank\. Expected a new"):
        recoseg.push(memory, "ann/new")


def test_private_does_not_end_up_in_public(hub, bank):
    recoseg.push(bank, "ann/pets")
    with pytest.raises(HubError, match="exists already and is public"):
        recoseg.push(bank.remove(["rose"]), "ann/pets", private=True)
    assert len(hub.repositories["ann/pets"].messages) == 2


def test_names_are_checked_first(bank, tmp_path):
    for name in ("pets", "ann/pets/x", "ann/../x", "../pets", "ann/pets@v1", "ann/a--b"):
        with pytest.raises(OptionError, match="Expected OWNER/NAME"):
            recoseg.push(bank, name, dry_run=tmp_path / "out")
    with pytest.raises(OptionError, match=r"Cannot use '\.\./x' as the name of a branch"):
        recoseg.push(bank, "ann/pets", branch="../x", dry_run=tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/a").touch()
    with pytest.raises(OutputError, match="is not empty"):
        recoseg.push(bank, "ann/pets", dry_run=tmp_path / "full")


def test_the_command(hub, with_paths, tmp_path):
    with_paths.save(tmp_path / "pets.safetensors")
    result = run("push", tmp_path / "pets.safetensors", "ann/pets", "--dry-run", tmp_path / "out")
    assert result.code == 0, result.err
    assert result.out.startswith("---\nlibrary_name:")
    assert "Nothing was uploaded; 2 files are in" in result.out
    assert "Left out: paths of this machine: photos, " in result.err
    assert not hub.repositories
    result = run("push", tmp_path / "pets.safetensors", "ann/pets", "--keep-paths")
    assert result.code == 0, result.err
    assert "that everybody can read there: weights files, 1 in all" in result.err
    commit = hub.repositories["ann/pets"].branches["main"]
    assert f"On the Hub: hf:ann/pets@{commit} ({hub.address}/ann/pets/tree/" in result.out
    found = run("inspect", "hf:ann/pets")
    assert f"source: hf:ann/pets@{commit}" in found.out
    assert "rose" in found.out
