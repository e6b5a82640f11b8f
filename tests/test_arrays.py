"""Arrays that are larger than the memory of the machine."""

import warnings

import numpy as np
import pytest
import torch

from recoseg.allocator import _physical
from recoseg.memory.nearest import nearest
from recoseg.storage.arrays import map_array


@pytest.fixture
def larger_than_memory(tmp_path):
    """An array of fp16 in a sparse file, whose first rows are unit vectors."""
    dim = 256
    rows = 3 * _physical() // (2 * dim) + 1
    path = tmp_path / "large.npy"
    with path.open("wb") as file:
        header = {"descr": "<f2", "fortran_order": False, "shape": (rows, dim)}
        np.lib.format.write_array_header_2_0(file, header)
        np.eye(dim, dtype=np.float16).tofile(file)
        try:
            file.truncate(file.tell() + 2 * dim * (rows - dim))
        except OSError:
            pytest.skip("The file system holds no sparse files.")
    return path


def test_it_is_mapped_and_searched_all_the_same(larger_than_memory):
    mapped, header = map_array(larger_than_memory, "c")
    assert header.shape == mapped.shape
    assert np.array_equal(mapped[:3], np.eye(3, 256))
    assert not mapped[-1].any()
    part = mapped[:5000]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        [found] = nearest(
            [(0, part)], lambda at: torch.from_numpy(part[at].astype("f4")), torch.eye(256)[7:8], 1
        )
    assert found.positions.tolist() == [7]


def test_changes_never_reach_the_file(tmp_path):
    path = tmp_path / "small.npy"
    np.save(path, np.ones((2, 3), np.float16))
    mapped, _ = map_array(path, "c")
    mapped[0] = 5
    assert np.load(path).tolist() == [[1, 1, 1], [1, 1, 1]]
