"""Context classes as background: what shares words with one's own classes does not erase them."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from recoseg.classes import parse_class
from recoseg.errors import RecosegError
from recoseg.segmentation.bank_segmenter import bank_segmenter
from recoseg.segmentation.context import background_names
from tests.segmentation.fakes import ColourEncoder, make_bank

LOG = "recoseg.segmentation.context"


def bank(own, context=("white: white; sky", "black: black; night")):
    """A bank of the class red and one of white, with white and black as context."""
    made = make_bank(("red", "white", "black"))
    white, red, _, black = made.concepts
    concepts = [
        *(
            replace(one, words=parse_class(line), role="context")
            for one, line in zip((white, black), context, strict=True)
        ),
        red,
        replace(white, words=parse_class(own), role="class"),
    ]
    return replace(made, concepts=tuple(concepts))


def labels(made, background):
    """Labels of a photo whose left half is white, and whose right half is black."""
    photo = np.zeros((24, 48, 3), np.uint8)
    photo[:, :24] = 255
    segment = bank_segmenter(
        made, phi=ColourEncoder(4), saliency=ColourEncoder(6), background=background
    )
    found = segment(photo).labels
    return int(found[12, 6]), int(found[12, 42])


@pytest.mark.parametrize(
    "own", ["white", "White: snow", "wall: white; pale", "heaven: Sky; clouds", "sky: blue sky"]
)
def test_own_classes_win_with_a_note(own, caplog):
    with caplog.at_level(logging.WARNING, LOG):
        assert labels(bank(own), ["context"]) == (1, 255)
    [record] = caplog.records
    name = parse_class(own).name
    assert f"context class white shares words with {name}" in record.getMessage()


def test_context_that_shares_nothing_becomes_background(caplog):
    with caplog.at_level(logging.WARNING, LOG):
        assert background_names(bank("pale"), ["context"]) == ("white", "black")
        assert labels(bank("pale"), ["context"])[1] == 255
    assert not caplog.records


def test_what_is_named_becomes_background_all_the_same(caplog):
    with caplog.at_level(logging.WARNING, LOG):
        assert labels(bank("white"), ["white"]) == (255, 0)
        assert labels(bank("white"), ["context", "white"]) == (255, 255)
        made = bank("wall: white; pale")
        assert background_names(made, ["white", "context"]) == ("white", "black")
        # A class that is background itself loses nothing.
        assert background_names(made, ["wall", "context"]) == ("wall", "white", "black")
    assert not caplog.records


def test_without_any_free_context_there_is_a_note_for_each(caplog):
    made = bank("wall: sky; night")
    with caplog.at_level(logging.WARNING, LOG):
        assert background_names(made, ["context"]) == ()
    assert len(caplog.records) == 2


def test_unknown_names_are_refused():
    with pytest.raises(RecosegError, match=r"cow.*red, wall, white, black, context"):
        background_names(bank("wall: stone"), ["cow"])


def test_a_text_of_names_is_what_the_command_takes():
    own = bank("pale")
    assert background_names(own, "white, red") == ("white", "red")
    assert background_names(own, "context") == background_names(own, ["context"])
