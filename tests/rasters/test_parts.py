"""Tiles that an interrupted run has finished, cut off and damaged anywhere."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recoseg.rasters.parts import TileParts

RNG = np.random.default_rng(0)
LABELS = [RNG.integers(0, 3, (4, 5 + n)).astype(np.uint8 if n else np.uint16) for n in range(4)]


def filled(path):
    with TileParts(path, "one") as parts:
        for number in (2, 0, 3):
            parts.add(number, LABELS[number], {"pixels": {"a": number}})
    return path.read_bytes()


def read(path, identity="one"):
    with TileParts(path, identity) as parts:
        found = {number: parts.read(number).copy() for number in sorted(parts.done)}
        assert all(known == {"pixels": {"a": n}} for n, known in parts.done.items())
    for number, labels in found.items():
        assert labels.dtype == LABELS[number].dtype
        assert np.array_equal(labels, LABELS[number])
    return list(found)


def test_a_later_run_takes_up_the_tiles(tmp_path):
    path = tmp_path / "folder" / "a.part"
    filled(path)
    assert read(path) == [0, 2, 3]
    with TileParts(path, "one") as parts:
        parts.add(1, LABELS[1], {"pixels": {"a": 1}})
    assert read(path) == [0, 1, 2, 3]
    assert read(path, "another") == []
    assert read(path) == []  # they were removed
    with TileParts(path, "one") as parts:
        parts.remove()
    assert not path.exists()


@settings(max_examples=60)
@given(st.data())
def test_what_is_cut_off_or_damaged_does_not_count(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("parts") / "a.part"
    whole = bytearray(filled(path))
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        path.write_bytes(whole[:place])
    else:
        whole[place] ^= data.draw(st.integers(1, 255))
        path.write_bytes(whole)
    kept = read(path)
    assert kept in ([], [2], [0, 2], [0, 2, 3])
    with TileParts(path, "one") as parts:
        parts.add(1, LABELS[1], {"pixels": {"a": 1}})
    assert read(path) == sorted({*kept, 1})
