import functools
import hashlib
import http.server
import logging
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from recoseg.device import Compute
from recoseg.encoders import download
from recoseg.encoders.download import locate, reachable
from recoseg.encoders.encoder_table import build_phi, build_retrieval
from recoseg.encoders.spec import EncoderSpec, parse_spec
from recoseg.encoders.weight_sources import HubFile, PackageFile, UrlFile, weights_folder
from recoseg.encoders.weights import combine, fingerprint, load_into, read_state_dict, seeded
from recoseg.errors import MissingWeightsError, RecosegError


def small_model() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Linear(7, 11))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """A file server on this machine: its address and its folder."""
    root = tmp_path / "server"
    root.mkdir()
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("RECOSEG_CACHE", str(tmp_path / "cache"))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", root
        running.shutdown()


class TestSpec:
    def test_grammar(self):
        assert parse_spec("RN50") == EncoderSpec("RN50", None)
        assert parse_spec("ViT-L/14@336px=random").is_random
        assert parse_spec("timm:a=/x/y=z.pth") == EncoderSpec("timm:a", "/x/y=z.pth")
        assert str(parse_spec("a=b")) == "a=b"

    @pytest.mark.parametrize("text", ["", "=file", "RN50="])
    def test_incomplete(self, text: str):
        with pytest.raises(RecosegError, match="NAME=/path/to/weights"):
            parse_spec(text)


class TestFingerprint:
    def test_is_of_the_weights_and_not_of_the_file(self, tmp_path: Path):
        model = small_model()
        state = model.state_dict()
        save_file(state, tmp_path / "a.safetensors")
        torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "a.pth")
        torch.save(dict(reversed(state.items())), tmp_path / "a.bin")
        expected = fingerprint(model)
        assert len(expected) == 16
        assert int(expected, 16) >= 0
        for file in ("a.safetensors", "a.pth", "a.bin"):
            assert fingerprint(read_state_dict(tmp_path / file)) == expected

    def test_tells_weights_names_and_shapes_apart(self):
        state = {"a": torch.arange(6.0), "b": torch.ones(2)}
        others = [
            {"a": torch.arange(6.0) + 1e-3, "b": torch.ones(2)},
            {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2)},
            {"a": torch.arange(6.0), "c": torch.ones(2)},
            {"a": torch.arange(6.0)},
        ]
        assert len({fingerprint(s) for s in [state, *others]}) == 5

    def test_settings_and_counters(self):
        model = small_model()
        before = fingerprint(model)
        model[1].num_batches_tracked += 5
        assert fingerprint(model) == before
        assert fingerprint(model, "gelu") == combine(before, "gelu") != before

    def test_large_tensors_are_sampled_to_their_ends(self):
        for place in (0, 999_999):
            changed = torch.zeros(1_000_000)
            changed[place] = 1
            assert fingerprint({"a": changed}) != fingerprint({"a": torch.zeros(1_000_000)})

    def test_half_precision_files_agree_with_themselves(self):
        state = {"a": torch.randn(100).to(torch.bfloat16)}
        assert fingerprint(state) == fingerprint({"a": state["a"].float()})


class TestReading:
    @pytest.mark.parametrize("nest", ["state_dict", "model", "teacher", "student"])
    def test_nested(self, tmp_path: Path, nest: str):
        torch.save(
            {nest: {"backbone.w": torch.ones(2), "head.w": torch.ones(1)}}, tmp_path / "a.pt"
        )
        assert list(read_state_dict(tmp_path / "a.pt")) == ["w"]

    def test_teacher_before_student(self, tmp_path: Path):
        both = {"student": {"w": torch.zeros(1)}, "teacher": {"module.backbone.w": torch.ones(1)}}
        torch.save(both, tmp_path / "a.pth")
        assert read_state_dict(tmp_path / "a.pth")["w"] == 1

    def test_files_that_bring_code_are_refused(self, tmp_path: Path):
        path = tmp_path / "model.pth"
        torch.save(small_model(), path)
        with pytest.raises(RecosegError, match=r"does not run code(.|\n)*convert it once"):
            read_state_dict(path)

    @pytest.mark.filterwarnings("ignore")
    def test_torchscript_is_refused(self, tmp_path: Path):
        path = tmp_path / "RN50.pt"
        torch.jit.script(nn.Linear(2, 2)).save(path)
        with pytest.raises(RecosegError, match="TorchScript"):
            read_state_dict(path)

    @pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
    def test_rubbish_is_refused(self, tmp_path: Path, name: str):
        (tmp_path / name).write_bytes(b"<html>404</html>")
        with pytest.raises(RecosegError, match=name):
            read_state_dict(tmp_path / name)

    def test_no_tensors(self, tmp_path: Path):
        torch.save({"epoch": 3}, tmp_path / "a.pth")
        with pytest.raises(RecosegError, match="contains no named tensors"):
            read_state_dict(tmp_path / "a.pth")


class TestLoading:
    def test_heads_may_be_surplus_and_other_names_are_told(self, caplog: pytest.LogCaptureFixture):
        model = nn.Linear(2, 2)
        state = {k: torch.ones_like(v) for k, v in model.state_dict().items()}
        with caplog.at_level(logging.WARNING):
            load_into(model, state | {"head.w": torch.ones(1)}, "file", heads=("head",))
        assert not caplog.records
        load_into(model, state | {"odd": torch.ones(1)}, "file", heads=("head",))
        assert "odd" in caplog.text
        assert torch.equal(model.weight, torch.ones(2, 2))

    def test_missing_names_are_listed(self):
        with pytest.raises(RecosegError, match=r"lacks 1 of the 2 .*: bias"):
            load_into(nn.Linear(2, 2), {"weight": torch.ones(2, 2)}, "file")

    def test_wrong_shapes_are_listed(self):
        state = {"weight": torch.ones(2, 3), "bias": torch.ones(2)}
        with pytest.raises(RecosegError, match=r"weight \(expected \(2, 2\), got \(2, 3\)\)"):
            load_into(nn.Linear(2, 2), state, "file")

    def test_seeded_leaves_no_trace(self):
        torch.manual_seed(5)
        expected = torch.rand(1)
        torch.manual_seed(5)
        with seeded():
            first = torch.rand(1)
        assert torch.rand(1) == expected
        with seeded():
            assert torch.rand(1) == first


class TestMissing:
    @pytest.mark.parametrize(
        ("build", "spec", "file"),
        [
            (build_retrieval, "ViT-B/32", "vit_base_patch32_clip_224.openai.safetensors"),
            (build_phi, "dino-s16", "vit_small_patch16_224.dino.safetensors"),
        ],
    )
    def test_hub_without_network(self, build, spec, file, no_network: Path, compute: Compute):
        start = time.monotonic()
        with pytest.raises(MissingWeightsError) as caught:
            build(spec, compute)
        assert time.monotonic() - start < 10
        text = str(caught.value)
        assert "http://127.0.0.1:9/timm/" in text
        for part in (file, str(no_network / file), f"{spec}=/path/to/file", "--preset lite"):
            assert part in text

    def test_url_without_network(self, no_network: Path):
        start = time.monotonic()
        with pytest.raises(MissingWeightsError, match=r"get it:  http://127.0.0.1:9/a/b.pth"):
            locate(UrlFile("http://127.0.0.1:9/a/b.pth?x=1"), "thing")
        assert time.monotonic() - start < 10

    def test_server_that_never_answers(self, monkeypatch: pytest.MonkeyPatch):
        import socket

        monkeypatch.setenv("no_proxy", "*")
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            start = time.monotonic()
            assert not reachable(f"http://127.0.0.1:{silent.getsockname()[1]}", seconds=0.5)
            assert time.monotonic() - start < 2

    def test_forbidden_hub_is_not_asked(self, no_network: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(MissingWeightsError, match="HF_HUB_OFFLINE is set"):
            locate(HubFile("a/b"), "thing")

    def test_hub_without_the_file(
        self, no_network: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setenv("HF_ENDPOINT", server[0])
        start = time.monotonic()
        with pytest.raises(MissingWeightsError, match="cannot be downloaded"):
            locate(HubFile("a/b"), "thing")
        assert time.monotonic() - start < 10

    def test_tokenizer_without_network(self, no_network: Path):
        from recoseg.encoders.tokenizers import load_tokenizer

        start = time.monotonic()
        with pytest.raises(MissingWeightsError, match=r"tokenizer.*timm/ViT-B-16-SigLIP"):
            load_tokenizer("ViT-B-16-SigLIP", "siglip")(["a dog"])
        assert time.monotonic() - start < 10

    def test_named_file_that_is_not_there(self, compute: Compute):
        with pytest.raises(MissingWeightsError, match=r"No weights file.* '/no/such.pth'"):
            build_phi("dino-s16=/no/such.pth", compute)

    def test_package_that_is_not_installed(self):
        with pytest.raises(MissingWeightsError, match="pip install no-such-package"):
            locate(PackageFile("no-such-package", "a/b"), "thing")


class TestFinding:
    def test_file_placed_by_hand(self, no_network: Path, compute: Compute):
        no_network.mkdir(parents=True)
        state = timm.create_model("vit_small_patch16_224", num_classes=0).state_dict()
        save_file(state, no_network / "vit_small_patch16_224.dino.safetensors")
        encoder = build_phi("dino-s16", compute)
        assert encoder.info.weights == "file vit_small_patch16_224.dino.safetensors"

    def test_hub_cache(self, no_network: Path, tmp_path: Path):
        commit = "0123456789abcdef0123456789abcdef01234567"
        repo = tmp_path / "hub" / "models--a--b"
        (repo / "refs").mkdir(parents=True)
        (repo / "refs" / "main").write_text(commit)
        (repo / "snapshots" / commit).mkdir(parents=True)
        (repo / "snapshots" / commit / "pytorch_model.bin").write_bytes(b"x")
        found = locate(HubFile("a/b"), "thing")
        assert found.path.read_bytes() == b"x"
        assert found.origin == "a/b@0123456789ab"

    def test_download_is_checked_and_kept(self, server: tuple[str, Path]):
        address, root = server
        (root / "w.pth").write_bytes(b"weights")
        digest = hashlib.sha256(b"weights").hexdigest()
        found = locate(UrlFile(f"{address}/w.pth", digest[:8]), "thing")
        assert found.path == weights_folder() / "w.pth"
        (root / "w.pth").unlink()
        locate(UrlFile(f"{address}/w.pth", md5=hashlib.md5(b"weights").hexdigest()), "thing")
        again = locate(UrlFile(f"{address}/w.pth", digest), "thing")
        assert again.path.read_bytes() == b"weights"
        with pytest.raises(MissingWeightsError, match="Delete the file"):
            locate(UrlFile(f"{address}/w.pth", "0" * 64), "thing")

    def test_damaged_download_leaves_nothing(self, server: tuple[str, Path]):
        address, root = server
        (root / "w.pth").write_bytes(b"weights")
        with pytest.raises(MissingWeightsError, match="expected sha256 00000000"):
            locate(UrlFile(f"{address}/w.pth", "00000000"), "thing")
        assert not list(weights_folder().iterdir())
        with pytest.raises(MissingWeightsError, match="404"):
            locate(UrlFile(f"{address}/other.pth"), "thing")

    @pytest.mark.parametrize(("limit", "announced"), [(10, False), (1 << 30, True)])
    def test_a_download_is_bounded(
        self, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, limit, announced
    ):
        address, root = server
        (root / "w.pth").write_bytes(b"weights" * 100)
        monkeypatch.setattr(download, "LARGEST_DOWNLOAD", limit)
        if announced:  # and then more is sent
            real = urllib.request.urlopen

            def longer(*args, **options):
                response = real(*args, **options)
                response.headers.replace_header("Content-Length", "5")
                return response

            monkeypatch.setattr(urllib.request, "urlopen", longer)
            limit = 5
        with pytest.raises(MissingWeightsError, match=f"sends more than {limit} bytes"):
            locate(UrlFile(f"{address}/w.pth"), "thing")
        assert not (weights_folder() / "w.pth").exists()

    @pytest.mark.parametrize("name", ["..", "%00"])
    def test_names_stay_in_the_folder(self, server: tuple[str, Path], name: str):
        with pytest.raises(RecosegError):
            locate(UrlFile(f"{server[0]}/{name}"), "thing")

    def test_an_empty_file_is_told(self, server: tuple[str, Path], compute: Compute):
        address, root = server
        (root / "w.pth").write_bytes(b"")
        with pytest.raises(MissingWeightsError, match="cannot be downloaded"):
            locate(UrlFile(f"{address}/w.pth"), "thing")
        weights_folder().mkdir(parents=True, exist_ok=True)
        (weights_folder() / "w.pth").write_bytes(b"")
        with pytest.raises(MissingWeightsError, match="is empty") as caught:
            locate(UrlFile(f"{address}/w.pth"), "thing")
        assert "\n" not in str(caught.value)
        with pytest.raises(MissingWeightsError, match="is empty"):
            build_phi(f"dino-s16={root / 'w.pth'}", compute)
        with pytest.raises(RecosegError, match="cannot be read as plain tensors"):
            read_state_dict(root / "w.pth")

    def test_file_in_a_package(self):
        found = locate(PackageFile("numpy", "numpy/__init__.py"), "thing")
        assert found.path.is_file()
        assert found.origin.startswith("package numpy ")
        with pytest.raises(MissingWeightsError, match="damaged, or this is another file"):
            locate(PackageFile("numpy", "numpy/__init__.py", "0" * 64), "thing")
        with pytest.raises(MissingWeightsError, match="does not contain numpy/none"):
            locate(PackageFile("numpy", "numpy/none"), "thing")
