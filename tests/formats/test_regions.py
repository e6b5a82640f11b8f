"""Regions, spools, and names for lists, against slow versions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recoseg.errors import OutputError
from recoseg.formats.place import Place
from recoseg.formats.regions import parts_of
from recoseg.formats.voc import map_names, voc_colours

MAPS = arrays(np.uint8, st.tuples(st.integers(1, 7), st.integers(1, 9)), elements=st.integers(0, 3))


def flooded(labels, ignored):
    """The sets of pixels that hang together, by spreading from each to its eight neighbours."""
    left = {tuple(place) for place in np.argwhere(labels != ignored).tolist()}
    found = []
    for start in sorted(left):
        if start not in left:
            continue
        part, waiting = set(), [start]
        while waiting:
            y, x = waiting.pop()
            if (y, x) in left and labels[y, x] == labels[start]:
                left.remove((y, x))
                part.add((y, x))
                waiting += [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        found.append(part)
    return found


def pixels(region, size):
    return {tuple(place) for place in np.argwhere(region.whole(*size)).tolist()}


@settings(max_examples=200)
@given(MAPS)
def test_regions_are_the_pixels_that_hang_together(labels):
    parts = parts_of(labels, 3)
    found = parts.each()
    slow = flooded(labels, 3)
    assert [pixels(region, labels.shape) for region in found] == slow
    for region, part in zip(found, slow, strict=True):
        rows, columns = zip(*part, strict=True)
        box = (min(columns), min(rows), max(columns) + 1, max(rows) + 1)
        assert region.corners == box
        assert region.area == len(part)
        assert {labels[place] for place in part} == {region.label}
    large = [part for part in slow if len(part) >= 3]
    assert [pixels(region, labels.shape) for region in parts.each(3)] == large


@given(MAPS)
def test_classes_are_all_their_pixels(labels):
    found = parts_of(labels, 3).by_class()
    assert [region.label for region in found] == sorted(set(labels.ravel().tolist()) - {3})
    for region in found:
        assert np.array_equal(region.whole(*labels.shape), labels == region.label)


@given(st.lists(st.text(":# ab", max_size=3) | st.just("background"), max_size=6, unique=True))
def test_names_of_lists_are_different_and_have_no_colon(names):
    found = map_names(names)
    assert len(set(found)) == len(found) == len(names) + 1
    assert not any(":" in name or name.startswith("#") for name in found)


def test_colours_are_all_different():
    assert len({tuple(colour) for colour in voc_colours().tolist()}) == 256


def test_a_spool_keeps_what_an_interrupted_run_has_recorded(tmp_path):
    files = []
    spool = Place(tmp_path, "coco", files.append).spool("images")
    spool.add_json("ä")
    size = spool.size
    spool.add_json("b")
    spool.close()
    again = Place(tmp_path, "coco", files.append).spool("images")
    again.cut(size)
    again.add_json("c")
    with (tmp_path / "whole").open("wb") as file:
        again.copy_to(file)
    assert (tmp_path / "whole").read_text(encoding="utf-8") == '"ä",\n"c"'
    with pytest.raises(OutputError, match="--overwrite"):
        again.cut(1000)
    again.remove()
    assert files == ["coco/.images.part"] * 2
    assert not (tmp_path / files[0]).exists()
