"""The scores of all photos of an archive, against NumPy on all rows."""

import numpy as np
import pytest
import torch

from recoseg.classes import parse_class
from recoseg.encoders.protocols import EncoderInfo
from recoseg.evidence import YARDSTICK
from recoseg.retrieval import spread
from recoseg.retrieval.class_texts import ClassTexts
from recoseg.retrieval.spread import measure

DIM = 12
LINES = ("dog", "sofa; couch; -bed", "car")


class Texts:
    """A text encoder with a random embedding for each word."""

    info = EncoderInfo("fake", "random", "a" * 16, DIM)

    def embed_texts(self, texts):
        rows = [
            torch.randn(DIM, generator=torch.Generator().manual_seed(sum(text.encode())))
            for text in texts
        ]
        return torch.nn.functional.normalize(torch.stack(rows), dim=1)


class Knowing(Texts):
    """An encoder that does not know one of the everyday words."""

    def unknown_words(self, words):
        return [word for word in words if word == "sky"]


class Closed(Texts):
    """An encoder that raises at words it does not know, in a way of its own."""

    def embed_texts(self, texts):
        if any(text in YARDSTICK for text in texts):
            raise ValueError(texts)
        return super().embed_texts(texts)


class Archive:
    """Rows in blocks of 100, some of which a selection leaves out."""

    def __init__(self, rows, left_out=()):
        self.rows = rows.astype(np.float16)
        self.rows[list(left_out)] = np.nan
        self.read = 0

    def __len__(self):
        return len(self.rows)

    def blocks(self, *, first=0, stop=None, selected=True):
        stop = len(self) if stop is None else stop
        for start in range(first, stop, 100):
            block = self.rows[start : min(start + 100, stop)]
            self.read += len(block)
            yield start, block


def unit_rows(count):
    rows = np.random.default_rng(3).normal(size=(count, DIM))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def queries():
    return ClassTexts.of([parse_class(line) for line in LINES]).queries(Texts(), "none")


def expected(rows):
    """Medians and step by their definition, in fp64."""
    rows = rows[np.isfinite(rows).all(1)].astype(np.float64)
    medians = []
    for query in queries():
        best = (rows @ query.positive.double().numpy().T).max(1)
        if len(query.negative):
            worst = (rows @ query.negative.double().numpy().T).max(1)
            best = best - np.maximum(worst - best, 0)
        medians.append(np.sort(best)[(len(best) - 1) // 2])
    words = Texts().embed_texts([f"{word}" for word in YARDSTICK]).double().numpy()
    below = [np.quantile(rows @ word, 0.5) - np.quantile(rows @ word, 0.1587) for word in words]
    return medians, np.mean(below)


@pytest.mark.parametrize("left_out", [(), (0, 5, 700, 998)], ids=["all", "selected"])
def test_all_photos_of_a_small_archive_are_measured(left_out):
    archive = Archive(unit_rows(999), left_out)
    found = measure(archive, queries(), Texts(), "none")
    medians, step = expected(archive.rows)
    assert found.photos == 999 - len(left_out)
    assert found.medians == pytest.approx(medians, abs=1e-5)
    assert found.step == pytest.approx(step, abs=1e-5)


def test_an_even_sample_of_a_large_archive_is_measured(monkeypatch):
    monkeypatch.setattr(spread, "_MEASURED", 2000)
    monkeypatch.setattr(spread, "_RUN", 50)
    archive = Archive(unit_rows(20_000))
    found = measure(archive, queries(), Texts(), "none")
    assert found.photos == archive.read == 2000
    medians, step = expected(archive.rows)
    assert found.medians == pytest.approx(medians, abs=0.05)
    assert found.step == pytest.approx(step, abs=0.03)


def test_nothing_is_measured_without_photos_or_without_the_everyday_words(caplog):
    assert measure(Archive(unit_rows(3), (0, 1, 2)), queries(), Texts(), "none") is None
    assert measure(Archive(np.empty((0, DIM))), queries(), Texts(), "none") is None
    assert measure(Archive(unit_rows(9)), queries(), Knowing(), "none") is None
    assert measure(Archive(unit_rows(9)), queries(), Closed(), "none") is None
    [told] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told.startswith("Nothing is said about how well the archive shows the classes")
    assert "tree, sky, building, road, person" in told
    assert "Error" not in told


def test_no_class_is_no_error():
    assert measure(Archive(unit_rows(9)), [], Texts(), "none").medians == ()
