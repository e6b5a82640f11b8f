"""From one machine to another by way of the Hub: what is pushed there gives equal masks."""

import json
from contextlib import suppress

import numpy as np
import pytest

import recoseg
from recoseg.concepts import ConceptBank
from recoseg.encoders.download import reachable
from recoseg.errors import HubError, RecosegError
from tests.command import run
from tests.learning.fakes import make_photo

PHOTO = np.asarray(make_photo(3, "rose", "grass"))


@pytest.fixture
def masks(encoders):
    """The labels of a photo by a bank; with other settings by the options."""

    def made(source, **options):
        opened = recoseg.open_segmenter(source, encoders=encoders, resize=0, **options)
        return opened(PHOTO).labels

    return made


def test_a_bank_and_a_memory(hub, bank, memory, masks, tmp_path):
    pushed = recoseg.push(bank, "ann/pets")
    remembered = recoseg.push(memory, "ann/regions")
    assert pushed.is_new
    assert pushed.files == ("README.md", "bank.safetensors")
    assert hub.files("ann/pets").keys() == {".gitattributes", *pushed.files}
    assert np.array_equal(masks("hf:ann/pets"), masks(bank))
    # By commit, with both from the Hub.
    assert pushed.address == f"hf:ann/pets@{hub.repositories['ann/pets'].branches['main']}"
    options = {"fusion": "sum", "memory_weight": 3.0}
    here = masks(bank, memory=memory, **options)
    assert np.array_equal(masks(pushed.address, memory="hf:ann/regions", **options), here)
    assert not np.array_equal(masks(bank, fusion="sum"), here)
    opened = recoseg.open_memory("hf:ann/regions")
    assert opened.location == remembered.address
    assert opened.summary().regions == len(memory)


def test_a_model(hub, model, tmp_path):
    (tmp_path / "run").mkdir()
    model.save(tmp_path / "run/model.safetensors")
    recoseg.push(tmp_path / "run", "ann/net")
    there, here = recoseg.open_segmenter("hf:ann/net"), recoseg.open_segmenter(model)
    assert np.array_equal(there(PHOTO).labels, here(PHOTO).labels)
    assert there.fingerprint == here.fingerprint
    assert "hf:ann/net@" in there.settings["source"]
    provenance = recoseg.training.model.TrainedModel.load("hf:ann/net").info.provenance
    assert "/home/ann" not in json.dumps(provenance)
    assert provenance["recipe"]["encoder"] == "timm:test_efficientnet=weights.pth"


def test_the_settings_of_masks_name_the_commit(hub, bank, encoders, tmp_path):
    pushed = recoseg.push(bank, "ann/pets")
    make_photo(3, "rose").save(tmp_path / "photo.png")
    options = {"encoders": encoders, "resize": 0, "overlays": False}
    recoseg.segment("hf:ann/pets", tmp_path / "photo.png", tmp_path / "masks", **options)
    settings = json.loads((tmp_path / "masks/settings.json").read_bytes())
    assert settings["source"] == pushed.address
    recoseg.segment(bank, tmp_path / "photo.png", tmp_path / "local", **options)
    assert "source" not in json.loads((tmp_path / "local/settings.json").read_bytes())


def test_branches_and_what_is_pushed_again(hub, bank, masks):
    first = recoseg.push(bank, "ann/pets")
    other = bank.remove(["grass"])
    second = recoseg.push(other, "ann/pets", branch="v2", message="only roses")
    assert hub.repositories["ann/pets"].messages[-1] == "only roses"
    assert [c.name for c in ConceptBank.load("hf:ann/pets@v2").classes] == ["rose"]
    assert len(ConceptBank.load("hf:ann/pets").classes) == 2
    again = recoseg.push(bank, "ann/pets")
    assert not again.is_new
    assert again.address == first.address != second.address


def test_a_memory_that_shrinks_leaves_nothing_behind(hub, memory, tmp_path):
    recoseg.push(memory, "ann/regions")
    before = set(hub.files("ann/regions"))
    assert "shards/shard_2.json" in before
    merged = tmp_path / "merged"
    recoseg.merge_memories([memory.root], merged)
    for folder in ("shards", "keys", "values", "regions", "photos"):
        for path in (merged / folder).glob("*_2.*"):
            path.unlink()
    shrunk = recoseg.open_memory(merged)
    recoseg.push(shrunk, "ann/regions")
    assert before - set(hub.files("ann/regions")) == {
        *("shards/shard_2.json", "keys/keys_2.npy", "values/values_2.npy"),
        *("regions/regions_2.parquet", "photos/photos_2.parquet"),
    }
    assert len(recoseg.open_memory("hf:ann/regions")) == len(shrunk) < len(memory)


def test_inspect_downloads_the_summary_of_a_memory_alone(hub, memory):
    recoseg.push(memory, "ann/regions")
    hub.asked.clear()
    result = run("inspect", "hf:ann/regions")
    assert result.code == 0, result.err
    assert "source: hf:ann/regions@" in result.out
    assert f"regions: {len(memory)} " in result.out
    assert not [path for path in hub.asked if path.endswith((".npy", ".parquet"))]


def test_an_upload_that_fails_changes_nothing_and_goes_on(hub, memory):
    hub.fails = True
    with pytest.raises(HubError, match="The Hub failed for ann/regions: "):
        recoseg.push(memory, "ann/regions")
    assert hub.files("ann/regions").keys() == {".gitattributes"}
    hub.fails = False
    hub.asked.clear()
    recoseg.push(memory, "ann/regions")
    assert "keys/keys_0.npy" in hub.files("ann/regions")
    assert not [path for path in hub.asked if path.startswith("PUT")]  # all were there already


def test_an_interrupted_download_goes_on(hub, bank, masks, monkeypatch):
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 500)
    recoseg.push(bank, "ann/pets")
    hub.cut = 0
    with pytest.raises(HubError, match="The Hub failed for ann/pets: "):
        masks("hf:ann/pets")
    hub.cut = 1300
    found = None
    for _ in range(8):  # older clients go on when the command is repeated
        with suppress(HubError):
            found = masks("hf:ann/pets")
            break
    assert np.array_equal(found, masks(bank))
    size = len(hub.files("ann/pets")["bank.safetensors"])
    parts = [path for path in hub.asked if path.startswith("GET /ann/pets/resolve")]
    assert len(parts) >= size / 1300 > 3


@pytest.mark.parametrize("switched_off", [True, False])
def test_without_a_network_the_cache_is_used(hub, bank, masks, monkeypatch, switched_off, caplog):
    pushed = recoseg.push(bank, "ann/pets")
    expected = masks("hf:ann/pets")
    if switched_off:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    else:
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    hub.asked.clear()
    for address in ("hf:ann/pets", pushed.address):
        assert np.array_equal(masks(address), expected)
    assert ("No answer from" in caplog.text) != switched_off
    for missing in ("hf:ann/others", "hf:ann/pets@v2"):
        with pytest.raises(HubError, match=f"{missing} is not in the cache of this machine"):
            masks(missing)
    assert not hub.asked


def test_a_commit_in_the_cache_is_used_without_asking(hub, bank, masks):
    pushed = recoseg.push(bank, "ann/pets")
    masks(pushed.address)
    hub.asked.clear()
    masks(pushed.address)
    assert not hub.asked


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("hf:ann/nothing", "No repository ann/nothing of models was found at http://127"),
        ("hf:ann/pets@v9", "ann/pets has no revision 'v9'. Expected a branch, a tag"),
        ("hf:ann/pickled", "holds nothing that `recoseg push` has written.*got pytorch_model.bin"),
        ("hf:ann/regions", "hf:ann/regions holds a region memory. Expected a concept bank"),
        ("hf:ann", "Cannot read 'hf:ann' as a repository.*Expected hf:OWNER/NAME"),
        ("hf:ann/pets@../x", "Cannot read 'hf:ann/pets@../x'"),
        ("hf:ann/a..b", "Cannot read"),
    ],
)
def test_what_is_not_there_is_said(hub, bank, memory, address, text):
    recoseg.push(bank, "ann/pets")
    recoseg.push(memory, "ann/regions")
    hub.repository("ann/pickled", {"pytorch_model.bin": b"\x80\x04.", "config.json": b"{}"})
    hub.asked.clear()
    with pytest.raises(RecosegError, match=text):
        ConceptBank.load(address)
    assert not [path for path in hub.asked if "resolve" in path and "pickled" in path]


def test_pickles_beside_a_bank_are_never_downloaded(hub, bank, masks, tmp_path):
    recoseg.push(bank, "ann/pets")
    files = hub.files("ann/pets")
    hub.repositories["ann/pets"].commit("main", {**files, "evil.pkl": b"\x80\x04."})
    assert np.array_equal(masks("hf:ann/pets"), masks(bank))
    assert not any("evil" in path for path in hub.asked)
    assert not list(tmp_path.rglob("evil*"))


def test_an_array_of_objects_in_a_memory_is_refused(hub, memory, tmp_path):
    recoseg.push(memory, "ann/regions")
    files = hub.files("ann/regions")
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    data = (tmp_path / "objects.npy").read_bytes()
    hub.repositories["ann/regions"].commit("main", {**files, "keys/keys_0.npy": data})
    opened = recoseg.open_memory("hf:ann/regions")
    with pytest.raises(RecosegError, match=r"keys_0\.npy"):
        list(opened.blocks())


def test_private_repositories(hub, bank, masks, monkeypatch):
    recoseg.push(bank, "ann/secret", private=True)
    assert hub.repositories["ann/secret"].private
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match=r"or it is private.*log in by `hf auth login`"):
        masks("hf:ann/secret")
    monkeypatch.setenv("HF_TOKEN", "hf_of_ann")
    assert np.array_equal(masks("hf:ann/secret"), masks(bank))


def test_the_hub_is_read_but_not_written(hub, bank, memory, archive, encoders, tmp_path):
    recoseg.push(bank, "ann/pets")
    options = {"encoders": encoders, "add_to": "hf:ann/pets"}
    more = recoseg.learn(archive, ["sea"], out=tmp_path / "more.safetensors", **options)
    assert [concept.name for concept in more.classes] == ["rose", "grass", "sea"]
    with pytest.raises(RecosegError, match=r"Cannot write to hf:ann/pets\..*recoseg push"):
        recoseg.learn(archive, ["sea"], out="hf:ann/pets", **options)
    result = run("forget", "hf:ann/pets", "rose")
    assert result.code == 2
    assert "Cannot write to hf:ann/pets" in result.err
    assert run("forget", "hf:ann/pets", "rose", "--out", tmp_path / "b.safetensors").code == 0
    with pytest.raises(RecosegError, match="Cannot write the region memory to hf:ann/x"):
        recoseg.merge_memories([memory.root], "hf:ann/x")


def test_a_model_is_not_exported_into_the_cache(hub):
    result = run("export", "hf:ann/net", "--onnx")
    assert result.code == 2
    assert "hf:ann/net has no folder on this machine. Name the file: --out" in result.err


def test_verify_reads_the_hub(hub, bank, memory):
    recoseg.push(bank, "ann/pets")
    recoseg.push(memory, "ann/regions")
    assert recoseg.verify("hf:ann/pets").problems == ()
    assert recoseg.verify("hf:ann/regions").problems == ()
    files = hub.files("ann/regions")
    name = "values/values_0.npy"
    broken = {**files, name: files[name][:-1] + b"\x7f"}
    hub.repositories["ann/regions"].commit("main", broken)
    assert "values_0" in recoseg.verify("hf:ann/regions").problems[0]


def test_the_server_is_reached_as_the_hub_is(hub):
    assert reachable(hub.address)
