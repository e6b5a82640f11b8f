import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoseg.errors import FileError
from recoseg.regions.rle import mask_of, run_lengths


def decode_rle(counts, size):
    return mask_of(run_lengths(counts, size), size)


def lengths_of(mask):
    """Run lengths along the columns, pixel by pixel, 0s first."""
    counts, value, length = [], False, 0
    for pixel in mask.T.flatten():
        if bool(pixel) != value:
            counts.append(length)
            value, length = bool(pixel), 0
        length += 1
    return [*counts, length]


def text_of(counts):
    """COCO's text: 5 bits per character and the sign in the last one, character by character."""
    text = ""
    for place, count in enumerate(counts):
        number = count - counts[place - 2] if place > 2 else count
        while True:
            bits = number & 31
            number >>= 5
            done = number == (-1 if bits & 16 else 0)
            text += chr(48 + bits + (0 if done else 32))
            if done:
                break
    return text


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 999))
def test_masks_survive_both_forms(height, width, seed):
    random = np.random.default_rng(seed)
    blobs = random.random((height // 5 + 1, width // 5 + 1)) < random.random()
    mask = np.kron(blobs, np.ones((5, 5), bool))[:height, :width].astype(bool)
    counts = lengths_of(mask)
    for form in (counts, text_of(counts)):
        decoded = decode_rle(form, (height, width))
        assert decoded.dtype == bool
        assert np.array_equal(decoded, mask)


def test_long_runs_and_differences_below_0():
    counts = [100_000, 5, 3, 70_000, 1, 29_991]
    mask = decode_rle(text_of(counts), (400, 500))
    assert lengths_of(mask) == counts


def test_an_empty_and_a_full_mask():
    assert not decode_rle([6], (2, 3)).any()
    assert decode_rle([0, 6], (2, 3)).all()
    assert decode_rle(text_of([0, 6]), (2, 3)).all()


@pytest.mark.parametrize(
    "counts",
    [
        [5],
        [7],
        [-1, 7],
        [6.0],
        [True, 5],
        [1 << 40],
        [None],
        "",
        "é",
        "P",  # tells that another character follows
        " 6",
        "P" * 30 + "0",
        "o7" * 100,
    ],
)
def test_wrong_run_lengths_are_refused(counts):
    with pytest.raises(FileError, match="Expected"):
        run_lengths(counts, (2, 3))
