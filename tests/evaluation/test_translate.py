import numpy as np
import pytest

from recoseg.datasets.spaces import label_space
from recoseg.errors import LabelError
from recoseg.evaluation.translate import translation

from .scenes import space

ANIMALS = (("plants", ("oak", "moss")), ("animals", ("cat", "dog")))


def test_labels_in_another_order_are_told_by_name():
    table = translation(["red", "green", "blue"], space(("blue", "red", "green")), 255)
    assert table.shape == (1 << 16,)
    assert table[[0, 1, 2, 255]].tolist() == [1, 2, 0, 255]
    assert (np.delete(table, [0, 1, 2, 255]) == -1).all()


def test_groups_are_scored():
    table = translation(
        ["dog", "moss", "cat", "oak"], space(("oak", "cat", "dog", "moss"), ANIMALS), 255
    )
    assert table[:5].tolist() == [1, 0, 1, 0, -1]


def test_coco_stuff_in_any_order_becomes_its_27_groups():
    coco = label_space("cocostuff27")
    names = sorted(coco.names)
    table = translation(names, coco, 255)
    for label, name in enumerate(names):
        assert name in coco.groups[table[label]].members
    assert set(table[:171]) == set(range(27))
    assert table[171] == -1


def test_background():
    street = space(("nothing", "car", "van"), background="nothing")
    assert translation(["van", "car"], street, 255)[[0, 1, 255]].tolist() == [2, 1, 0]
    learnt = translation(["van", "nothing", "car"], street, 255)
    assert learnt[[0, 1, 2, 255]].tolist() == [2, 0, 1, 0]
    assert translation(["car"], space(("car",)), 255)[255] == 255, "no class stands for it"
    wide = translation(["van", "car"], street, 65535)
    assert (wide[65535], wide[255]) == (0, -1)
    grouped = space(
        ("nothing", "car", "van"),
        (("vehicle", ("car", "van")), ("rest", ("nothing",))),
        background="nothing",
    )
    assert translation(["van", "car"], grouped, 255)[[0, 1, 255]].tolist() == [0, 0, 1]


def test_names_that_are_always_background():
    street = space(("nothing", "car", "van"), background="nothing")
    table = translation(["sky", "van", "car"], street, 255, background=["sky"])
    assert table[[0, 1, 2, 255]].tolist() == [0, 2, 1, 0]
    assert translation(["sky", "car"], space(("car",)), 255, ["sky"])[[0, 1]].tolist() == [255, 0]


def test_classes_that_do_not_fit_are_named():
    with pytest.raises(LabelError) as caught:
        translation(["blue", "cow"], space(), 255)
    text = str(caught.value)
    assert "Expected the classes of Blocks (3 names); got 2" in text
    assert "missing: red, green; not in the label space: cow." in text
    assert "recoseg learn --classes FILE" in text, "blocks is no label space to learn by name"
    many = [f"class {number}" for number in range(12)]
    with pytest.raises(LabelError) as caught:
        translation(many, label_space("voc20"), 255)
    text = str(caught.value)
    assert "bottle, bus, car and 12 more" in text or "and 12 more" in text
    assert "class 7 and 4 more" in text
    assert "recoseg learn --classes voc20" in text
