"""Photos that a selection leaves out are never found, and the index does not change."""

import numpy as np
import pytest
import torch

from recoseg.archive.index import ArchiveIndex
from recoseg.archive.selection import Selection
from recoseg.errors import ArchiveError
from recoseg.retrieval.queries import Query
from recoseg.retrieval.retriever import retrieve
from tests.archive.test_build import run


@pytest.fixture
def root(tmp_path, photos, encoder):
    run([photos], tmp_path / "index", encoder)
    return tmp_path / "index"


def test_a_selection_is_saved_and_read_back(tmp_path):
    selection = Selection({"a" * 32: "blurred", "b" * 32: "a duplicate", "c" * 32: "blurred"})
    selection.save(tmp_path / "selection.parquet")
    assert Selection.load(tmp_path / "selection.parquet") == selection
    assert selection.reasons() == {"blurred": 2, "a duplicate": 1}
    again = selection.left_out_with({"a" * 32: "other", "d" * 32: "other"})
    assert again.left_out == {**selection.left_out, "d" * 32: "other"}


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ArchiveError, match="No selection file was found"):
        Selection.load(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("no")
    with pytest.raises(ArchiveError, match=r"is not a selection.*photo_id and reason"):
        Selection.load(tmp_path / "text.parquet")


@pytest.mark.parametrize("skip_duplicates", [False, 0.999])
def test_search_equals_search_without_those_rows(root, skip_duplicates):
    whole = ArchiveIndex.open(root)
    gone = [0, 5, 6, len(whole) - 1]
    selection = Selection({whole.photo_id(position): "test" for position in gone})
    index = ArchiveIndex.open(root, selection)
    assert [index.is_selected(position) for position in range(len(index))] == [
        position not in gone for position in range(len(index))
    ]
    rows = whole.embeddings(range(len(whole)))
    query = torch.nn.functional.normalize(rows[:1] + rows[5:6], dim=1)
    scores = (rows.double() @ query[0].double()).float()
    scores[gone] = -2
    best = scores.sort(descending=True, stable=True).indices[: len(whole) - len(gone)].tolist()
    [hits] = retrieve(index, [Query(query)], 100, skip_duplicates=skip_duplicates)
    assert [hit.position for hit in hits] == best
    # The files have not changed.
    assert np.isfinite(index.embeddings(gone).numpy()).all()
    assert all(np.isfinite(block).all() for _, block in index.blocks(selected=False))


def test_rows_that_are_kept_do_not_change(root):
    whole = ArchiveIndex.open(root)
    index = ArchiveIndex.open(root, Selection({whole.photo_id(3): "test"}))
    plain = np.concatenate([block for _, block in whole.blocks()])
    masked = np.concatenate([block for _, block in index.blocks(4)])
    assert masked.dtype == plain.dtype
    assert np.isnan(masked[3]).all()
    assert (np.delete(masked, 3, 0) == np.delete(plain, 3, 0)).all()


@pytest.mark.parametrize(
    ("left_out", "message"),
    [
        ({"/photos/a.jpg": "blurred"}, r"'/photos/a\.jpg' is not the id of a photo"),
        (["a" * 32], "Expected a selection as a mapping .* got a list"),
    ],
)
def test_a_selection_is_checked_when_it_is_made(left_out, message):
    with pytest.raises(ArchiveError, match=message):
        Selection(left_out)
