"""Which pixels of a class belong together, against loops over pixels."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recoseg.decoders.instances import Instances
from recoseg.errors import OptionError, UnknownNameError
from recoseg.segmentation.finish import finished
from recoseg.segmentation.instances import instance_form, joined, of_decoder, of_regions
from recoseg.segmentation.specks import SpeckRule

SIZE = (4, 6)
LABELS = arrays(np.uint8, SIZE, elements=st.sampled_from([0, 1, 255]))
NUMBERS = arrays(np.int32, SIZE, elements=st.integers(0, 4))


def part_of(labels, start):
    """The pixels of a label that hang together with one, by sides or corners."""
    found, waiting = set(), [start]
    while waiting:
        y, x = waiting.pop()
        inside = 0 <= y < labels.shape[0] and 0 <= x < labels.shape[1]
        if inside and (y, x) not in found and labels[y, x] == labels[start]:
            found.add((y, x))
            waiting += [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    return found


def distance(one, other):
    return (one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2


@settings(max_examples=60, deadline=None)
@given(LABELS, NUMBERS)
def test_pixels_join_the_nearest_instance_of_their_class(labels, numbers):
    numbers = np.where(labels == 255, 0, numbers * 2 + labels).astype(np.int32)
    numbers[numbers < 2] = 0  # each number has one label
    found = joined(labels, numbers)
    for place in np.ndindex(SIZE):
        part = part_of(labels, place)
        if numbers[place] or labels[place] == 255 or not any(numbers[one] for one in part):
            assert found[place] == numbers[place]
            continue
        own = [p for p in np.ndindex(SIZE) if numbers[p] and labels[p] == labels[place]]
        nearest = min(distance(place, one) for one in own)
        assert found[place] in {numbers[p] for p in own if distance(place, p) == nearest}


def test_instances_of_a_decoder_at_the_pixels_of_their_class():
    generator = torch.Generator().manual_seed(4)
    masks = torch.nn.functional.interpolate(
        torch.rand(1, 7, 3, 3, generator=generator), (5, 7), mode="bicubic"
    )[0].clamp(0, 1)
    masks[6] = 0.1  # covers nothing
    found = Instances(
        torch.tensor([0, 1, 0, 1, 0, 3, 0]), torch.linspace(0.9, 0.3, 7), masks.half()
    )
    height, width = 31, 23
    rng = np.random.default_rng(0)
    blocks = rng.choice(np.array([0, 1, 2, 255], np.uint8), (8, 6))
    labels = blocks.repeat(4, 0).repeat(4, 1)[:height, :width]
    own = of_decoder(labels, found, 3)
    sure = torch.nn.functional.interpolate(
        masks.half().float()[None], (height, width), mode="bilinear", align_corners=False
    )[0].numpy()
    claimed = np.zeros(labels.shape, int)
    for y, x in np.ndindex(labels.shape):
        best = 0.0
        for index, label in enumerate(found.classes.tolist()):
            value = found.scores[index].item() * sure[index, y, x]
            if label == labels[y, x] and label < 3 and sure[index, y, x] > 0.5 and value > best:
                best, claimed[y, x] = value, index + 1
    filled = joined(labels, claimed.astype(np.int32))
    kept = sorted(set(filled.ravel().tolist()) - {0})
    assert len(kept) > 2
    expected = np.vectorize({0: 0, **{one: at for at, one in enumerate(kept, 1)}}.get)(filled)
    assert np.array_equal(own.numbers, expected)
    assert own.numbers.dtype == np.uint16
    assert own.scores == pytest.approx([found.scores[one - 1].item() for one in kept])


@settings(max_examples=60, deadline=None)
@given(LABELS, NUMBERS)
def test_a_region_is_an_instance_of_its_most_frequent_label(labels, regions):
    own = of_regions(labels, regions, 255)
    claimed = np.zeros(SIZE, np.int32)
    for region in range(1, 5):
        values = labels[regions == region].tolist()
        if values:
            label = min(set(values), key=lambda value: (-values.count(value), value))
            if label != 255:
                claimed[(regions == region) & (labels == label)] = region
    filled = joined(labels, claimed)
    kept = sorted(set(filled.ravel().tolist()) - {0})
    assert np.array_equal(own.numbers, np.searchsorted([0, *kept], filled))
    assert own.scores == ()


def test_forms_of_instances():
    def form(asked=None, *, decoder=False, regions=False, windows=False):
        return instance_form(asked, decoder, regions, windows)

    assert form() == "parts"
    assert form(decoder=True) == "decoder"
    assert form(decoder=True, windows=True) == "parts"
    assert form("parts", decoder=True) == "parts"
    assert form("regions", regions=True) == "regions"
    with pytest.raises(UnknownNameError, match="form of instances"):
        form("sam2")
    with pytest.raises(OptionError, match="Add one: --decoder sam3"):
        form("decoder")
    with pytest.raises(OptionError, match="Leave out --window"):
        form("decoder", decoder=True, windows=True)
    with pytest.raises(OptionError, match="such as --regions sam2"):
        form("regions")


def test_regions_that_voted_are_instances_of_the_finished_label_map():
    from recoseg.labels import Segmentation

    labels = np.array([[0, 0, 0, 1, 255, 255]], np.uint8)
    regions = torch.tensor([[1, 1, 2, 2, 2, 0]], dtype=torch.int32)
    given = Segmentation(labels, ("a", "b"), ((0, 0, 0),) * 2)
    vote = SimpleNamespace(form="mode")
    [found] = finished([given], [regions], {}, vote, SpeckRule(), "regions", 2)
    assert found.labels.tolist() == [[0, 0, 0, 0, 0, 255]]  # the vote of region 2: the first label
    assert found.instances.numbers.tolist() == [[1, 1, 2, 2, 2, 0]]
    [plain] = finished([given], [None], {}, None, SpeckRule(), "parts", 2)
    assert plain is given
