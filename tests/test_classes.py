"""Lines and files of classes, and the combined score of several words."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recoseg.classes import (
    ClassNames,
    WordSpans,
    class_list,
    combine_names,
    parse_class,
    parse_classes,
    read_classes,
)
from recoseg.cli.options import names_in
from recoseg.errors import ConceptError, RecosegError
from recoseg.storage.reading import split_lines


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("sofa", ClassNames("sofa", ("sofa",))),
        ("  traffic light  ", ClassNames("traffic light", ("traffic light",))),
        ("sofa; couch", ClassNames("sofa", ("sofa", "couch"))),
        ("sofa;; couch ;sofa", ClassNames("sofa", ("sofa", "couch"))),
        ("sofa; -bed; couch", ClassNames("sofa", ("sofa", "couch"), ("bed",))),
        ("-bed; sofa", ClassNames("sofa", ("sofa",), ("bed",))),
        ("vegetation: tree", ClassNames("vegetation", ("tree",))),
        ("crane: crane bird; -crane", ClassNames("crane", ("crane bird",), ("crane",))),
        ("crane: -digger", ClassNames("crane", ("crane",), ("digger",))),
        ("crane:", ClassNames("crane", ("crane",))),
        ("ratio: 3:2 screen", ClassNames("ratio", ("3:2 screen",))),
        ("sofa; -; - ", ClassNames("sofa", ("sofa",))),
        ("été: plage; 海辺", ClassNames("été", ("plage", "海辺"))),
        ("t-shirt", ClassNames("t-shirt", ("t-shirt",))),
    ],
)
def test_lines(line, expected):
    assert parse_class(line) == expected


@pytest.mark.parametrize("line", ["", "   ", ";;", "-bed", ": sofa", " : -bed"])
def test_lines_without_a_name(line):
    with pytest.raises(ConceptError, match=r"No class name in .* Expected 'name' or 'name: alias"):
        parse_class(line)


@pytest.mark.parametrize("line", ["sofa", "sofa: couch", "sofa: sofa; couch; -bed; -chair"])
def test_a_class_as_text_is_its_line(line):
    assert str(parse_class(line)) == line


word = st.text(
    st.characters(whitelist_categories=("L", "N"), whitelist_characters=" '"), min_size=1
)
words = word.map(str.strip).filter(bool)


@given(words, st.lists(words, min_size=1, unique=True), st.lists(words))
def test_text_and_back(name, prompts, negatives):
    item = ClassNames(name, tuple(prompts), tuple(negatives))
    assert parse_class(str(item)) == item


def test_lists_of_classes(tmp_path):
    lines = ["# furniture", "sofa; couch", "", "   ", "tree"]
    assert [item.name for item in parse_classes(lines)] == ["sofa", "tree"]
    file = tmp_path / "classes.txt"
    file.write_bytes("\ufeffsofa; couch\r\nété\r\n".encode())
    assert read_classes(file) == [parse_class("sofa; couch"), parse_class("été")]


odd_names = st.text(
    st.sampled_from("#ab01 .,:;-\u2028\ufeff\"'[]{}")
    | st.characters(codec="utf-8", exclude_categories=["Cc"]),
    min_size=1,
    max_size=8,
)


@given(st.lists(odd_names, min_size=1, max_size=5, unique=True))
def test_what_is_written_is_read_back(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("classes") / "classes.txt"
    path.write_bytes(class_list(names).encode())
    assert [item.name for item in read_classes(path)] == names
    assert all(item.prompts == (item.name,) for item in read_classes(path))


@pytest.mark.parametrize(
    "names",
    [
        ["#grass", "sky"],
        [" #grass", "sky"],
        ["sky", "crane: bird"],
        ["-digger", "a; b"],
        ["# recoseg: one name per line, as it is", "sky"],
        ["\ufeffsky"],
    ],
)
def test_names_that_look_like_something_else_keep_their_labels(tmp_path, names):
    (tmp_path / "classes.txt").write_bytes(class_list(names).encode())
    assert [item.name for item in read_classes(tmp_path / "classes.txt")] == names


def test_usual_names_are_written_as_ever():
    assert class_list(["traffic light", "été"]) == "traffic light\nété\n"


@pytest.mark.parametrize(
    "name", ["", "a\nb", "a\r", "\udce9", "do\0g", "a\tb", "a\x1b[2K", "c\x85d"]
)
def test_names_that_no_list_can_hold_are_refused(name):
    with pytest.raises(ConceptError, match=r"cannot be written into a list|control character"):
        class_list(["sky", name])
    with pytest.raises(ConceptError, match="occur twice"):
        class_list(["sky", "sky"])


def test_lines_end_at_line_feeds_only(tmp_path):
    (tmp_path / "classes.txt").write_bytes("a\u2028b\r\nc\u2029d\n".encode())
    names = [item.name for item in read_classes(tmp_path / "classes.txt")]
    assert names == ["a\u2028b", "c\u2029d"]
    with pytest.raises(ConceptError, match="not a regular file"):
        read_classes(tmp_path)


def test_invalid_lists_of_classes(tmp_path):
    with pytest.raises(ConceptError, match="occur twice: sofa, tree"):
        parse_classes(["tree", "sofa", "sofa: couch", "tree", "sky"])
    with pytest.raises(ConceptError, match="is empty"):
        parse_classes(["", "# nothing"])
    with pytest.raises(ConceptError, match=r"No file of classes at .*gone\.txt"):
        read_classes(tmp_path / "gone.txt")
    latin = tmp_path / "latin.txt"
    latin.write_bytes("été".encode("latin-1"))
    with pytest.raises(ConceptError, match="is not UTF-8 text"):
        read_classes(latin)


cosines = st.floats(-1, 1, width=32)


@given(st.lists(cosines, min_size=1, max_size=4), st.lists(cosines, max_size=4))
def test_combined_score(positive, negative):
    got = float(combine_names(torch.tensor(positive), torch.tensor(negative)))
    best = max(positive)
    if not negative or max(negative) <= best:
        assert got == best
    else:
        assert got == pytest.approx(2 * best - max(negative), abs=1e-6)


@given(st.lists(cosines, min_size=2, max_size=5), st.lists(cosines, min_size=1, max_size=5))
def test_combined_score_is_continuous(positive, negative):
    step = 1e-3
    start = combine_names(torch.tensor(positive), torch.tensor(negative))
    moved = combine_names(torch.tensor(positive) + step, torch.tensor(negative) - step)
    assert abs(float(moved - start)) <= 3.01 * step + 1e-6


def test_combined_score_keeps_the_grid():
    positive, negative = torch.rand(2, 3, 5), torch.rand(2, 3, 7)
    combined = combine_names(positive, negative)
    assert combined.shape == (2, 3)
    assert combined[1, 2] == combine_names(positive[1, 2], negative[1, 2])
    assert torch.equal(combine_names(positive, negative[..., :0]), positive.amax(-1))
    assert torch.equal(combine_names(positive), positive.amax(-1))


def test_spans_combine_each_class_separately():
    counts = [(2, 1), (1, 0), (3, 2)]
    spans = WordSpans.of(counts)
    cosines = torch.rand(4, 5, 9)
    got = spans.combine(cosines)
    assert got.shape == (4, 5, 3)
    assert torch.equal(got[..., 0], combine_names(cosines[..., :2], cosines[..., 2:3]))
    assert torch.equal(got[..., 1], cosines[..., 3])
    assert torch.equal(got[..., 2], combine_names(cosines[..., 4:7], cosines[..., 7:9]))
    assert spans.has_negatives
    assert not spans.is_plain
    assert WordSpans.of([(1, 0), (1, 0)]).is_plain
    assert not WordSpans.of([(1, 0), (2, 0)]).is_plain


def test_indented_comments_are_comments():
    assert [item.name for item in parse_classes(["  # a comment", "\t#b", "dog"])] == ["dog"]


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        (["0: background", "1: dog", "2: car"], ["background", "dog", "car"]),
        (["# mine", "0 :zero; nought", "", "1: one; -two"], ["zero", "one"]),
        (["0: dog", "car"], ["0", "car"]),
        (["0", "1"], ["0", "1"]),
    ],
)
def test_numbers_of_classes_are_no_names(lines, names):
    found = parse_classes(lines)
    assert [item.name for item in found] == names
    again = parse_classes([str(item) for item in found])
    assert [item.name for item in again] == names
    assert parse_classes(split_lines(class_list(names))) == [ClassNames(n, (n,)) for n in names]


@pytest.mark.parametrize("numbers", [(1, 2, 3), (0, 2, 3), (1, 0, 2), (7, 8, 9)])
def test_other_numbers_of_classes_are_refused(numbers):
    with pytest.raises(ConceptError, match=r"have the numbers .*Expected 0, 1, 2 and so on"):
        parse_classes([f"{number}: thing" + "s" * number for number in numbers])


@pytest.mark.parametrize("name", ["building, edifice", 'it is a "dog"', "car/truck", "a; b"])
def test_names_with_commas_in_options(name):
    quoted = name.replace('"', '""')
    assert names_in(f'sky, "{quoted}", sea,') == ["sky", name, "sea"]
    if "," not in name:
        assert names_in(f"sky,{name}") == ["sky", name]
    assert names_in("") == []
    with pytest.raises(RecosegError, match=r"cannot be read. Expected names with commas"):
        names_in('sky, "sea')


@pytest.mark.parametrize(
    "line", ["do\0g", "dog: pup\tpy", "dog; -c\x1bat", "1\tdog", "c\x7f", "c\x85d"]
)
def test_control_characters_in_class_lines_are_refused(tmp_path, line):
    with pytest.raises(ConceptError, match="holds the control character '"):
        parse_class(line)
    (tmp_path / "classes.txt").write_bytes(f"{line}\ncar\n".encode())
    with pytest.raises(ConceptError, match=r"control character|a table of numbers"):
        read_classes(tmp_path / "classes.txt")
    assert parse_class("\tdog \t; cat\r") == ClassNames("dog", ("dog", "cat"))


@pytest.mark.parametrize(
    "lines",
    [
        ["id,name", "0,background", "1,dog"],
        ["id,name", "1,dog"],
        ["0,background", "1,dog"],
        ['0,"building, edifice"', "1,dog"],
        ["0;background;#000000", "1;dog;#ff0000"],
        ["0\tbackground", "1\tdog"],
        ["name,id", "background,0", "dog,1"],
        ["dog,1", "car,2"],
        ["1,dog"],
        ["0 background", "1 dog", "2 car"],
        ["1. background", "2. dog", "3. car"],
        ['["dog", "car"]'],
        ["{", '"0": "dog",', '"1": "car"', "}"],
    ],
)
def test_tables_and_json_are_not_taken_for_names(tmp_path, lines):
    with pytest.raises(ConceptError, match=r"such as .* Expected one name per line, such as"):
        parse_classes(lines)
    names = [line for line in lines if "\t" not in line]
    if names:  # what is written reads back the same, whatever the names look like
        (tmp_path / "classes.txt").write_bytes(class_list(names).encode())
        assert [item.name for item in read_classes(tmp_path / "classes.txt")] == names


@pytest.mark.parametrize(
    "names",
    [
        ["building, edifice", "car, auto"],
        ["sky", "studio, 54"],
        ["name", "label"],
        ["route 66", "area 51", "boeing 737"],
        ["3 euro", "1 euro", "2 euro"],
        ["2 euro", "1 euro"],
        ["[mask]", "dog"],
        ["0", "1", "2"],
    ],
)
def test_lists_with_numbers_and_commas_in_names_are_read(names):
    assert [item.name for item in parse_classes(names)] == names
