"""Precision of retrieval against brute force."""

import json

import numpy as np
import pytest
import torch

from recoseg.classes import ClassNames
from recoseg.datasets.labelled import LabelledArchive
from recoseg.errors import EncoderMismatchError, RecosegError
from recoseg.experiments.retrieval import (
    measure_retrieval,
    precision_at,
    retrieval_markdown,
    write_retrieval,
)

from ..learning.fakes import Retrieval, make_archive

NAMES = ("rose", "grass", "sea", "sun")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive"), Retrieval())


@pytest.fixture(scope="module")
def labelled(archive):
    """Classes by file name; unknown for `both*`, `sky*` and `road*`; no photo shows the sun."""
    names = tuple(ClassNames(name, (name,)) for name in NAMES)
    stems = [archive.path(position).rsplit("/", 1)[-1] for position in range(len(archive))]
    known = [next((n for n, name in enumerate(NAMES) if s.startswith(name)), None) for s in stems]
    return LabelledArchive(names, tuple(known))


def test_precision_by_hand():
    labels = np.array([0, 1, 0, 1, 1])
    found = precision_at([[0, 1, 2], [3, 4, 0]], labels, [1, 2, 3])
    np.testing.assert_allclose(found, [[1, 1 / 2, 2 / 3], [1, 1, 2 / 3]])


def test_equal_to_brute_force_over_the_known_photos(archive, labelled):
    encoder = Retrieval()
    ks = (1, 3, 6)
    scores = measure_retrieval(archive, encoder, labelled, "none", ks)
    assert scores.classes == ("rose", "grass", "sea")  # no photo is known to show the sun
    known = [place for place, label in enumerate(labelled.labels) if label is not None]
    assert scores.photos == len(known) == 13
    rows = archive.embeddings(known)
    for number, name in enumerate(scores.classes):
        text = encoder.embed_texts([name])[0]
        best = torch.argsort(rows @ text, descending=True, stable=True).tolist()
        labels = [labelled.labels[known[place]] for place in best]
        for column, k in enumerate(ks):
            right = sum(label == number for label in labels[:k])
            assert scores.by_class[number][column] == pytest.approx(right / k)
    means = np.mean(scores.by_class, axis=0)
    np.testing.assert_allclose(scores.precision, means)
    # 5, 4 and 4 photos.
    np.testing.assert_allclose(scores.ceiling, [1, 1, (5 + 4 + 4) / 18])
    assert scores.precision[0] == 1


def test_photos_that_a_selection_leaves_out_count_for_nothing(archive, labelled):
    roses = [at for at, label in enumerate(labelled.labels) if label == 0][:2]
    some = archive.without({archive.photo_id(at): "seen" for at in roses})
    scores = measure_retrieval(some, Retrieval(), labelled, "none", (3,))
    assert scores.photos == 11
    assert scores.ceiling == pytest.approx([1])
    assert scores.by_class[0][0] == 1  # the three others
    scores = measure_retrieval(some, Retrieval(), labelled, "none", (4,))
    assert scores.by_class[0][0] == 3 / 4


def test_table_and_files(archive, labelled, tmp_path):
    scores = measure_retrieval(archive, Retrieval(), labelled, "none", (1, 5))
    text = retrieval_markdown([scores])
    line = next(line for line in text.splitlines() if line.startswith("| fake-retrieval  "))
    assert f"{100 * scores.precision[1]:.1f}" in line
    assert "| paper: ViT-L/14@336px" in text
    assert "3 classes, 13 photos" in text
    assert write_retrieval(tmp_path, [scores]) is None
    fields = json.loads((tmp_path / "retrieval.json").read_text())
    assert fields["indexes"][0]["precision"] == pytest.approx(scores.precision)
    assert (tmp_path / "retrieval.png").stat().st_size > 1000


def test_labels_of_another_archive_are_refused(archive, labelled):
    short = LabelledArchive(labelled.names, labelled.labels[:-1])
    with pytest.raises(RecosegError, match="Expected the classes of 23 photos; got 22"):
        measure_retrieval(archive, Retrieval(), short, "none")
    with pytest.raises(EncoderMismatchError):
        measure_retrieval(archive, Retrieval("f" * 16), labelled, "none")
