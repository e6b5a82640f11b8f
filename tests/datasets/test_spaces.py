"""The label spaces: counts, names, order, colours, groups, words."""

import numpy as np
import pytest

from recoseg.classes import parse_class, parse_classes
from recoseg.datasets.label_space import LabelSpace
from recoseg.datasets.spaces import SPACES, class_lines, classes_of, label_space, space_of
from recoseg.errors import ConceptError, DatasetError, UnknownNameError
from recoseg.evaluation.translate import translation

SIZES = {
    "cityscapes27": (27, 27),
    "cityscapes19": (19, 19),
    "kitti_step19": (19, 19),
    "cocostuff171": (171, 171),
    "cocostuff27": (171, 27),
    "cocostuff27_published": (171, 27),
    "coco_object": (81, 81),
    "context59": (59, 59),
    "context60": (60, 60),
    "voc20": (20, 20),
    "voc21": (21, 21),
    "ade150": (150, 150),
}
COMMUNITY = (
    *("voc21", "context60", "coco_object", "voc20", "context59", "cocostuff171"),
    *("cityscapes19", "ade150"),
)
SIZES |= {f"{name}_community": SIZES[name] for name in COMMUNITY}
WITH_BACKGROUND = {"coco_object", "context60", "voc21"}


@pytest.fixture(params=SPACES)
def space(request: pytest.FixtureRequest) -> LabelSpace:
    return label_space(request.param)


def test_every_label_space_is_checked_here():
    assert tuple(SIZES) == SPACES


def test_sizes(space):
    assert (len(space.names), len(space.scored)) == SIZES[space.name]


def test_names_are_unique_and_tidy(space):
    for names in (space.names, space.scored):
        assert len(set(names)) == len(names)
        assert all(name == name.strip().lower() and name for name in names)


def test_colours_are_rgb(space):
    for item in (*space.classes, *space.groups):
        assert len(item.colour) == 3
        assert all(isinstance(value, int) and 0 <= value <= 255 for value in item.colour)
    assert len(space.palette) == len(space.scored)


def test_words_read_back(space):
    for aliases in (False, True):
        lines = class_lines(space, aliases=aliases)
        assert parse_classes([str(line) for line in lines]) == lines
        for line in lines:
            assert len(set(line.prompts)) == len(line.prompts) > 0
            assert not any(";" in word or ":" in word for word in (line.name, *line.prompts))


def test_no_word_belongs_to_two_classes(space):
    words = [word for line in class_lines(space, aliases=True) for word in line.prompts]
    assert len(set(words)) == len(words)


def test_aliases_add_words_and_do_not_change_prompts(space):
    for item in space.classes:
        plain, rich = item.words().prompts, item.words(aliases=True).prompts
        assert rich[: len(plain)] == plain
        assert len(rich) == len(plain) + len(item.aliases)


def test_background_only_where_it_is_a_class(space):
    name = space.name.removesuffix("_community")
    assert (space.background in space.names) == (name in WITH_BACKGROUND)
    assert bool(space.background_words) == (space.name in WITH_BACKGROUND)
    if space.background:
        assert space.names[0] == space.background == "background"
        assert not set(space.background_words) & (set(space.names) - {"background"})


def test_every_class_has_one_place_in_the_merge_table(space):
    table = space.merge_table()
    used = len(space.classes)
    assert table.dtype == np.uint8
    assert table.shape == (256,)
    assert set(table[:used].tolist()) == set(range(len(space.scored)))
    assert (table[used:] == 255).all()
    members = [name for group in space.groups for name in group.members]
    if space.groups:
        assert sorted(members) == sorted(space.names)
    else:
        assert table[:used].tolist() == list(range(used))


def test_cityscapes_has_the_order_of_its_ids():
    names = label_space("cityscapes27").names
    assert names[4:8] == ("building", "wall", "fence", "guard rail")
    assert names[-3:] == ("train", "motorcycle", "bicycle")
    assert label_space("cityscapes27").palette[14] == (107, 142, 35)


def test_the_papers_renamings_and_no_others_in_cityscapes():
    renamed = {
        item.name: item.prompts for item in label_space("cityscapes27").classes if item.prompts
    }
    assert renamed == {"parking": ("parking lot",), "vegetation": ("tree",)}


def test_cityscapes19_are_the_train_ids():
    assert label_space("cityscapes19").names == (
        *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light"),
        *("traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car", "truck"),
        *("bus", "train", "motorcycle", "bicycle"),
    )
    assert label_space("kitti_step19").classes == label_space("cityscapes19").classes


def test_cocostuff_things_come_before_stuff():
    space = label_space("cocostuff171")
    assert space.names[0] == "person"
    assert space.names[79:81] == ("toothbrush", "banner")
    assert space.names[-1] == "wood"
    assert space.classes[84].words().prompts == ("building other",)
    assert label_space("coco_object").names[1:] == space.names[:80]
    assert label_space("coco_object").classes[3].colour == space.classes[2].colour


@pytest.mark.parametrize(
    ("fine", "group"),
    [
        ("person", "person"),
        ("stop sign", "outdoor"),
        ("tv", "electronic"),
        ("book", "indoor"),
        ("banner", "textile"),
        ("broccoli", "food things"),
        ("salad", "food stuff"),
        ("bed", "furniture things"),
        ("shelf", "furniture stuff"),
        ("tent", "building"),
        ("wood", "solid"),
        ("fog", "water"),
        ("carpet", "floor"),
    ],
)
def test_cocostuff_groups(fine, group):
    space = label_space("cocostuff27")
    assert space.scored[space.merge_table()[space.names.index(fine)]] == group


def test_cocostuff_groups_begin_with_twelve_of_things():
    space = label_space("cocostuff27")
    tables = space.merge_table()
    assert set(tables[:80].tolist()) == set(range(12))
    assert set(tables[80:171].tolist()) == set(range(12, 27))


def test_published_merge_moves_three_classes():
    right, published = label_space("cocostuff27"), label_space("cocostuff27_published")
    assert published.scored == right.scored
    assert published.palette == right.palette
    moved = np.flatnonzero(right.merge_table() != published.merge_table())
    found = {
        right.names[label]: published.scored[published.merge_table()[label]] for label in moved
    }
    assert found == {"tv": "furniture things", "book": "appliance", "banner": "indoor"}


def test_context_and_voc_with_background_hold_those_without():
    assert label_space("context60").classes[1:] == label_space("context59").classes
    assert label_space("voc21").classes[1:] == label_space("voc20").classes
    assert list(label_space("context59").names) == sorted(label_space("context59").names)
    assert label_space("voc21").names[20] == "tvmonitor"
    assert label_space("voc21").palette[15] == (192, 128, 128)


def test_ade_begins_and_ends_as_the_challenge():
    space = label_space("ade150")
    assert space.names[:9] == (
        *("wall", "building", "sky", "floor", "tree"),
        *("ceiling", "road", "bed", "windowpane"),
    )
    assert space.names[-2:] == ("clock", "flag")


def test_an_unknown_name_lists_the_valid_ones():
    with pytest.raises(
        UnknownNameError,
        match=r"Unknown label space 'voc'\. Did you mean 'voc21'\? Valid: cityscapes27",
    ):
        label_space("voc")


def test_background_is_learnt_from_its_words_only():
    assert len(classes_of("voc21")) == 20
    first = classes_of("voc21", aliases=True)[0]
    assert first.name == "background"
    assert "background" not in first.prompts
    assert "sky" in first.prompts


def test_classes_of_reads_files_and_says_what_it_takes(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("cat; kitten\ndog\n", encoding="utf-8")
    assert classes_of(str(path), aliases=True) == [parse_class("cat; kitten"), parse_class("dog")]
    assert classes_of("cityscapes27", aliases=True)[20].prompts == ("truck", "lorry")
    with pytest.raises(ConceptError, match="neither a file of classes nor a label space"):
        classes_of("cityscapes")


def test_own_classes_get_colours_and_keep_their_words():
    space = space_of("farm", "Farm", [parse_class("cow; cattle"), parse_class("barn")])
    assert [item.words().prompts for item in space.classes] == [("cow", "cattle"), ("barn",)]
    assert len(set(space.palette)) == 2
    with pytest.raises(DatasetError, match="has 256 classes; 8-bit masks have at most 255"):
        space_of("many", "Many", [parse_class(f"c{i}") for i in range(256)])


def test_a_class_called_background_is_that_of_everything_else():
    assert space_of("farm", "Farm", [parse_class("cow")]).background is None
    space = space_of("farm", "Farm", [parse_class("background"), parse_class("cow")])
    assert space.background == "background"
    # Pixels that are given to no class are background, and a bank does not need the class.
    assert translation(["cow"], space, 255)[[0, 255]].tolist() == [1, 0]


@pytest.mark.parametrize("name", COMMUNITY)
def test_names_of_later_papers_are_words_of_the_same_classes(name):
    plain, named = label_space(name), label_space(f"{name}_community")
    assert (named.names, named.palette, named.background) == (
        *(plain.names, plain.palette, plain.background),
    )
    lines = class_lines(named)
    assert class_lines(named, aliases=True) == lines
    assert [line.name for line in lines] == list(plain.names)  # background among them


def test_names_of_later_papers_that_differ_from_those_of_the_classes():
    """Facts of the published lists of names."""
    found = {
        name: {
            line.name: line.prompts
            for line in class_lines(label_space(f"{name}_community"))
            if line.prompts != (line.name,)
        }
        for name in COMMUNITY
    }
    assert [name for name in COMMUNITY if found[name]] == ["voc21", "coco_object", "voc20"]
    assert list(found["voc20"]) == ["boat", "diningtable", "person", "tvmonitor"]
    assert found["voc20"]["person"][::6] == ("person", "person in jacket")
    assert len(found["voc20"]["tvmonitor"]) == 5
    words = found["voc21"].pop("background")
    assert (len(words), words[0], words[11], words[-1]) == (26, "sky", "bed", "fence")
    assert found["voc21"] == found["voc20"]
    assert found["coco_object"]["background"] == tuple(word for word in words if word != "bed")
    assert found["coco_object"]["person"] == (*found["voc20"]["person"], "body")
    assert len(found["coco_object"]) == 2
