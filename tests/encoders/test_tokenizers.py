"""Tokenizers of the Hub: found on this machine, fetched for another one, of the model's length."""

import json

import open_clip
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

import recoseg
from recoseg.encoders.download import locate
from recoseg.encoders.encoder_rows import TABLE
from recoseg.encoders.inventory import files_of_encoder
from recoseg.encoders.tokenizers import load_tokenizer
from recoseg.encoders.weight_sources import HubTokenizer
from recoseg.errors import MissingWeightsError, RecosegError

ARCH = "ViT-B-16-SigLIP2-256"


@pytest.fixture
def snapshot(tmp_path, monkeypatch):
    """A tiny tokenizer as the Hub's cache holds one; returns its folder."""
    folder = tmp_path / "snapshots" / ("c" * 40)
    folder.mkdir(parents=True)
    words = {"<pad>": 0, "<unk>": 1, "a": 2, "red": 3, "dog": 4}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"unk_token": "<unk>"}))
    (folder / "weights.bin").write_bytes(b"not of the tokenizer")
    asked = []

    def download(repo, **options):
        asked.append((repo, options["local_files_only"]))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setenv("RECOSEG_CACHE", str(tmp_path / "cache"))
    yield folder
    assert set(asked) <= {(f"timm/{ARCH}", True)}


def test_texts_are_cleaned_and_have_the_models_length(snapshot):
    ids = load_tokenizer(ARCH, "siglip2-b16")(["A red dog.", "a cat " * 100])
    length = open_clip.get_model_config(ARCH)["text_cfg"]["context_length"]
    assert ids.shape == (2, length)
    # SigLIP 2's cleaning leaves out capitals and punctuation.
    assert ids[0].tolist() == [2, 3, 4] + [0] * (length - 3)
    assert ids[1].tolist() == [2, 1] * (length // 2)


def test_a_copy_for_another_machine_is_found_there(snapshot, tmp_path, monkeypatch):
    files = files_of_encoder("siglip2-b16")
    [tokenizer] = [file for file in files if isinstance(file.source, HubTokenizer)]
    assert tokenizer.licence == "Apache-2.0"
    monkeypatch.setattr("recoseg.pipeline.fetch.files_of_encoder", lambda name: (tokenizer,))
    [found] = recoseg.fetch("siglip2-b16", to=tmp_path / "away")
    assert sorted(file.name for file in found.path.iterdir()) == [
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert found.size == sum(file.stat().st_size for file in found.path.iterdir())
    monkeypatch.setenv("RECOSEG_CACHE", str(tmp_path / "away"))
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: 1 / 0)
    assert load_tokenizer(ARCH, "siglip2-b16")(["red"])[0, :2].tolist() == [3, 0]
    (found.path / "tokenizer.json").write_text("{}")
    with pytest.raises(RecosegError, match=r"tokenizer of 'siglip2-b16' cannot be read from"):
        load_tokenizer(ARCH, "siglip2-b16")(["red"])


def test_a_snapshot_without_tokenizer_does_not_count(snapshot, monkeypatch):
    (snapshot / "tokenizer.json").unlink()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(MissingWeightsError, match=r"HF_HUB_OFFLINE(.|\n)*-256-tokenizer"):
        load_tokenizer(ARCH, "siglip2-b16")(["red"])


def test_a_tokenizer_is_downloaded_without_the_weights_beside_it(snapshot, monkeypatch):
    asked = {}

    def download(repo, **options):
        if options.get("local_files_only"):
            raise FileNotFoundError(repo)
        asked[repo] = options["allow_patterns"]
        return str(snapshot)

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setattr("recoseg.encoders.download.reachable", lambda *_: True)
    found = locate(HubTokenizer(f"timm/{ARCH}"), "siglip2-b16")
    assert (found.path, found.origin) == (snapshot, f"timm/{ARCH}@{'c' * 12}")
    [patterns] = asked.values()
    names = [file.name for file in snapshot.iterdir() if any(map(file.match, patterns))]
    assert sorted(names) == ["tokenizer.json", "tokenizer_config.json"]
    (snapshot / "tokenizer.json").unlink()
    with pytest.raises(MissingWeightsError, match="holds no tokenizer"):
        locate(HubTokenizer(f"timm/{ARCH}"), "siglip2-b16")
    monkeypatch.setattr("recoseg.encoders.download.reachable", lambda *_: False)
    with pytest.raises(MissingWeightsError, match="no answer from"):
        locate(HubTokenizer(f"timm/{ARCH}"), "siglip2-b16")


def test_rows_name_the_tokenizer_that_open_clip_takes():
    rows = [row for row in TABLE if row.tag and "phi" not in row.roles]
    assert len(rows) > 20
    for row in rows:
        repo = open_clip.get_model_config(row.arch)["text_cfg"].get("hf_tokenizer_name")
        assert row.companions == ((HubTokenizer(repo),) if repo else ())
