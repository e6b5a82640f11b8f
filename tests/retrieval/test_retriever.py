"""Retrieval skips near-duplicates on request; the contact sheet is one escaped file."""

import html
import re

import numpy as np
import pytest
import torch
from PIL import Image

from recoseg.archive.index import ArchiveIndex
from recoseg.drawing.retrieval_sheet import write_contact_sheet
from recoseg.errors import BadImageError
from recoseg.retrieval.duplicates import Hit
from recoseg.retrieval.queries import Query
from recoseg.retrieval.retriever import retrieve


class Archive:
    """An index in memory."""

    def __init__(self, rows, ids=None):
        self.rows = np.asarray(rows, np.float16)
        self.ids = ids or [str(position) for position in range(len(rows))]
        self.passes = 0

    def __len__(self):
        return len(self.rows)

    def is_selected(self, position):
        return True

    def blocks(self, *, first=0, stop=None, selected=True):
        self.passes += 1
        yield 0, self.rows

    def embeddings(self, positions):
        return torch.from_numpy(self.rows[list(positions)]).float()

    def photo_id(self, position):
        return self.ids[position]


def spread(angles):
    """Unit vectors in the plane; the query is at angle 0."""
    return [(np.cos(angle), np.sin(angle)) for angle in angles]


QUERY = Query(torch.tensor([[1.0, 0.0]]))


def positions(hits):
    return [hit.position for hit in hits]


def test_plain_retrieval():
    archive = Archive(spread([0.9, 0.1, 0.5]))
    [hits] = retrieve(archive, [QUERY], 2)
    assert hits == [
        Hit(1, pytest.approx(np.cos(0.1), abs=1e-3)),
        Hit(2, pytest.approx(0.878, abs=1e-3)),
    ]


def test_near_duplicates_are_skipped_and_replaced():
    archive = Archive(spread([0.0, 0.1, 0.2, 0.5, 0.6, 1.0]))
    assert positions(retrieve(archive, [QUERY], 3)[0]) == [0, 1, 2]
    assert positions(retrieve(archive, [QUERY], 3, skip_duplicates=True)[0]) == [0, 3, 5]
    assert positions(retrieve(archive, [QUERY], 3, skip_duplicates=0.99)[0]) == [0, 2, 3]
    assert positions(retrieve(archive, [QUERY], 9, skip_duplicates=True)[0]) == [0, 3, 5]


def test_equal_content_is_skipped():
    archive = Archive(spread([0.0, 0.5, 1.0]), ids=["a", "a", "b"])
    assert positions(retrieve(archive, [QUERY], 2, skip_duplicates=True)[0]) == [0, 2]


def test_search_widens_only_for_classes_that_lack_photos():
    copies = [0.0] * 300 + [0.6, 1.2]
    archive = Archive(spread(copies))
    other = Query(torch.tensor([[0.0, 1.0]]))
    first, second = retrieve(archive, [QUERY, other], 2, skip_duplicates=True)
    assert positions(first) == [0, 300]
    assert positions(second) == [301, 300]
    assert 1 < archive.passes < 8


@pytest.mark.parametrize("threshold", [0.0, 1.5, -1.0])
def test_thresholds_outside_the_range(threshold):
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        retrieve(Archive(spread([0.0])), [QUERY], 1, skip_duplicates=threshold)


class Photos:
    def path(self, position):
        return ["/p/<script>alert(1)</script>.jpg", "/p/shard.tar::ü&.png", "/p/gone.jpg"][position]

    def read(self, position):
        if position == 2:
            raise BadImageError("cannot be read: <gone>")
        return Image.new("RGB", (640, 427), "green")


def test_contact_sheet_is_one_escaped_file(tmp_path):
    groups = [("zebra <b>", [Hit(0, 0.31), Hit(1, 0.3), Hit(2, 0.2)]), ("empty", [])]
    path = write_contact_sheet(tmp_path / "deep" / "sheet.html", groups, Photos(), thumbnail=64)
    page = path.read_text(encoding="utf-8")
    assert "<script" not in page
    assert "zebra &lt;b&gt;" in page
    assert html.escape("cannot be read: <gone>") in page
    assert "0.310" in page
    assert "No photo was found." in page
    uris = re.findall(r'src="([^"]+)"', page)
    assert len(uris) == 2
    assert all(uri.startswith("data:image/jpeg;base64,") for uri in uris)
    assert not re.findall(r"https?://", page)
    assert "prefers-color-scheme: dark" in page


def test_with_a_real_index(tmp_path):
    from tests.archive.conftest import make_folder
    from tests.archive.fake_encoder import FakeEncoder
    from tests.archive.test_build import run

    encoder = FakeEncoder()
    run([make_folder(tmp_path / "photos", 12)], tmp_path / "index", encoder)
    index = ArchiveIndex.open(tmp_path / "index")
    query = Query(index.embeddings([7]))
    [hits] = retrieve(index, [query], 3, skip_duplicates=True)
    assert hits[0].position == 7
    assert hits[0].score == pytest.approx(1, abs=1e-3)
    sheet = write_contact_sheet(tmp_path / "sheet.html", [("seven", hits)], index)
    assert sheet.read_text(encoding="utf-8").count("<img") == 3
