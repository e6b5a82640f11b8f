"""The joint space of the offline backend against loops and numpy, and its names in the cache."""

import numpy as np
import torch
import torch.nn.functional as F

from recoseg.encoders.lite import encoders as lite
from recoseg.encoders.lite.bridge import ROW_WEIGHT, Bridge, KernelRidge, conse


def unit_rows(count, dim, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, dim, generator=generator), dim=1)


class TestBridge:
    def test_conse_is_the_mean_of_the_likeliest_names(self):
        logits = 4 * torch.randn(5, 13, generator=torch.Generator().manual_seed(1))
        names = unit_rows(13, 7)
        for row, got in zip(logits, conse(logits, names, 2.0, 3), strict=True):
            best = sorted(range(13), key=lambda at: -float(row[at]))[:3]
            odds = [np.exp(float(row[at]) / 2) for at in best]
            mean = sum(odd / sum(odds) * names[at] for odd, at in zip(odds, best, strict=True))
            torch.testing.assert_close(got, mean / mean.norm())

    def test_conse_with_more_asked_for_than_there_are(self):
        logits, names = torch.randn(2, 5), unit_rows(5, 7)
        torch.testing.assert_close(conse(logits, names, 2.0, 50), conse(logits, names, 2.0, 5))

    def test_ridge_is_numpys_solution(self):
        names, rows = unit_rows(17, 5), torch.randn(17, 3, generator=torch.manual_seed(2))
        asked = unit_rows(4, 5, seed=3)
        n, r, a = (value.double().numpy() for value in (names, rows, asked))
        kernel = np.exp(6.0 * (n @ n.T - 1)) + 0.3 * np.eye(17)
        expected = np.exp(6.0 * (a @ n.T - 1)) @ np.linalg.solve(kernel, r - r.mean(0))
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        got = KernelRidge.fit(names, rows, sharpness=6.0, ridge=0.3)(asked)
        np.testing.assert_allclose(got.numpy(), expected, atol=1e-5)

    def test_without_ridge_the_names_get_their_own_rows(self):
        names, rows = unit_rows(17, 11), torch.randn(17, 3, generator=torch.manual_seed(2))
        got = KernelRidge.fit(names, rows, ridge=1e-9)(names)
        torch.testing.assert_close(got, F.normalize(rows - rows.mean(0), dim=1), atol=1e-4, rtol=0)

    def test_the_names_lie_round_zero(self, model):
        bridge = model.bridge
        joined = torch.cat([bridge.names, ROW_WEIGHT * bridge.ridge(bridge.names)], 1)
        assert (joined - bridge.mean_text).mean(0).abs().max() < 1e-6
        # Made unit, they still have hardly any common direction.
        assert bridge.embed_texts(bridge.names).mean(0).norm() < 0.1

    def test_joint_embeddings(self):
        names, rows, biases = unit_rows(13, 7), torch.randn(13, 5), torch.randn(13)
        bridge = Bridge(names, rows, biases)
        features = torch.rand(3, 5)
        images, texts = bridge.embed_features(features), bridge.embed_texts(unit_rows(4, 7, 9))
        assert images.shape == (3, 12) == (3, bridge.dim)
        torch.testing.assert_close(images.norm(dim=1), torch.ones(3))
        torch.testing.assert_close(texts.norm(dim=1), torch.ones(4))
        semantic = conse(features @ rows.T + biases, names)
        torch.testing.assert_close(images[:, :7], semantic / 2**0.5)
        torch.testing.assert_close(images[:, 7:], F.normalize(features, dim=1) / 2**0.5)


class CountingText:
    """A text encoder that says how much it embeds."""

    def __init__(self):
        self.device = torch.device("cpu")
        self.embedded = 0

    def embed(self, texts):
        self.embedded += len(texts)
        return unit_rows(len(texts), 384)


def test_names_are_kept_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECOSEG_CACHE", str(tmp_path / "cache"))
    text = CountingText()
    names = lite._load_names(text)
    assert names.shape == (1000, 384)
    [file] = (tmp_path / "cache").glob("lite-names-*.safetensors")
    done = text.embedded
    assert torch.equal(lite._load_names(text), names)
    assert text.embedded == done
    whole = file.read_bytes()
    for damaged in (b"", whole[:100], whole[:-1], b"\x00" * len(whole)):
        file.write_bytes(damaged)
        before = text.embedded
        assert torch.equal(lite._load_names(text), names)
        assert text.embedded == before + done
        assert file.read_bytes() == whole
    other = CountingText()
    monkeypatch.setattr(lite, "TEXT_FINGERPRINT", "0" * 16)
    lite._load_names(other)
    assert other.embedded == done
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_cache_that_cannot_be_written_to_costs_time_only(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file in the way")
    monkeypatch.setenv("RECOSEG_CACHE", str(tmp_path / "cache"))
    assert lite._load_names(CountingText()).shape == (1000, 384)
