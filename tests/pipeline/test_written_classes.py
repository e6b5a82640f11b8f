"""Classes as people write them: what was meant in another way is refused with what was read."""

import logging

import pytest

from recoseg.classes import ClassNames, class_list
from recoseg.datasets.spaces import SPACES
from recoseg.errors import ConceptError
from recoseg.pipeline.classes import as_classes
from tests.command import run
from tests.learning.fakes import Retrieval, make_archive


def written(tmp_path, text):
    path = tmp_path / "classes.txt"
    path.write_text(text, encoding="utf-8")
    return path


def names(classes):
    return [item.name for item in as_classes(classes)]


def test_classes_in_one_text():
    assert names("dog, cat,horse") == ["dog", "cat", "horse"]
    assert names("dog,") == ["dog"]
    assert names('"building, edifice"') == ["building, edifice"]
    found = as_classes("crane: crane bird; -construction crane, dog")
    assert [item.prompts for item in found] == [("crane bird",), ("dog",)]
    assert found[0].negatives == ("construction crane",)
    assert names("fire engine") == ["fire engine"]
    assert as_classes("Tür: door; gate; -window")[0].negatives == ("window",)


@pytest.mark.parametrize("text", ["dogs.txt", "a/dogs", "cityscape", "dogs2", "here", "mine"])
def test_what_looks_like_a_file_or_a_data_set_is_no_class(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    (tmp_path / "mine.txt").write_text("dog\n", encoding="utf-8")
    with pytest.raises(ConceptError, match="neither a file of classes nor a label space"):
        as_classes(text)


def test_classes_that_differ_in_case_are_refused():
    with pytest.raises(ConceptError, match="differ in upper and lower case only"):
        as_classes("dog, Dog")


@pytest.mark.parametrize("text", ["dog, cat, horse\n", "# mine\n\n  dog, cat, horse \n"])
def test_several_classes_in_one_line_are_refused(tmp_path, text):
    path = written(tmp_path, text)
    with pytest.raises(ConceptError, match="one line, 'dog, cat, horse', which would be one") as at:
        as_classes(path)
    assert str(path) in str(at.value)
    assert "by semicolons: 'dog, cat, horse: dog; cat; horse'" in str(at.value)
    assert '--classes "dog, cat, horse"' in str(at.value)
    with pytest.raises(ConceptError, match="The list has one line, 'dog, cat, horse'"):
        as_classes(["dog, cat, horse"])


def test_one_class_with_a_comma_can_be_written(tmp_path):
    path = written(tmp_path, "building, edifice: building; edifice\n")
    assert names(path) == ["building, edifice"]


def test_commas_among_several_lines_are_told(tmp_path, caplog):
    path = written(tmp_path, "building, edifice\nsky\n")
    with caplog.at_level(logging.WARNING):
        assert names(path) == ["building, edifice", "sky"]
    assert "has names with commas, such as 'building, edifice'; each line is one" in caplog.text


@pytest.mark.parametrize("line", ["dog # my dog", "dog: puppy # small", "dog; -cat #no"])
def test_comments_behind_a_class_are_refused(tmp_path, line):
    with pytest.raises(ConceptError, match=r"would be a word for it\. Put the comment into"):
        as_classes(written(tmp_path, f"{line}\ncat\n"))
    assert names(written(tmp_path, "# dogs\nC#\ncat\n")) == ["C#", "cat"]


@pytest.mark.parametrize("lines", [["0 dog"], ["0 dog", "1 cat"], ["1 dog", "2 cat", "3 cow"]])
def test_numbers_without_a_colon_are_refused(tmp_path, lines):
    for given in (written(tmp_path, "\n".join(lines)), lines, ", ".join(lines) + ","):
        with pytest.raises(ConceptError, match=r"is a list of numbers and names, such as '[01] d"):
            as_classes(given)


def test_names_with_numbers_are_names(tmp_path):
    assert names(["2 euro coin", "dog"]) == ["2 euro coin", "dog"]
    assert names(["7 dwarfs", "101 dalmatians"]) == ["7 dwarfs", "101 dalmatians"]
    assert names(written(tmp_path, "0: dog\n1: cat\n")) == ["dog", "cat"]


def test_names_that_differ_in_case_only_are_refused(tmp_path):
    expected = "The classes 'dog' and 'Dog' differ in upper and lower case only"
    with pytest.raises(ConceptError, match=expected):
        as_classes(written(tmp_path, "dog\ncat\nDog\n"))
    with pytest.raises(ConceptError, match=expected):
        as_classes(["dog", "Dog"])


def test_lists_that_recoseg_writes_are_read_as_they_are(tmp_path):
    given = ["0 dog", "1 cat # x", "#Cat", "#cat"]
    assert names(written(tmp_path, class_list(given))) == given


@pytest.mark.parametrize("space", SPACES)
def test_label_spaces_are_taken_as_they_are(space):
    assert as_classes(space)
    assert as_classes(as_classes(space)) == as_classes(space)


def test_classes_that_are_parsed_already_are_taken_as_they_are():
    given = [ClassNames("dog, cat", ("dog, cat",))]
    assert as_classes(given) == given


def test_retrieve_takes_a_file_of_classes(tmp_path, monkeypatch):
    index = make_archive(tmp_path, Retrieval())
    path = written(tmp_path, "rose\nsea: sea; -sky\n")
    monkeypatch.setattr("recoseg.pipeline.retrieve.retrieval_encoder", lambda *_: Retrieval())
    place = ("retrieve", index.location, "--prompts", "none", "-k", 2)
    one = run(*place, "--classes", path)
    assert one.code == 0, one.err
    assert [line for line in one.out.splitlines() if line[0] != " "] == ["rose", "sea"]
    assert run(*place, "--classes", "rose, sea: sea; -sky").out == one.out
    assert run(*place, "rose", "sea: sea; -sky").out == one.out
    for arguments, message in (
        ((), "got neither"),
        (("rose", "--classes", path), "got both"),
        ((path,), "is a file. Give a file of classes by --classes"),
    ):
        refused = run(*place, *arguments)
        assert refused.code == 2
        assert message in refused.err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("dog; -dog", "'dog' is both a word for the class and one to avoid"),
        ("pet: Dog; cat; -dog", "'dog' is both"),
        ("dog: puppy: big", "a second colon"),
        ("x: dog; cat: foo", "a second colon, so that 'cat: foo' would be a word"),
    ],
)
def test_lines_that_probably_mean_something_else_are_refused(line, message, tmp_path):
    with pytest.raises(ConceptError, match=message):
        as_classes(written(tmp_path, f"sky\n{line}\ntree\n"))


def test_classes_with_equal_words_are_told(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        as_classes(written(tmp_path, "dog\ncat: Dog\nsky\npuppy: dog; -wolf\n"))
    [record] = caplog.records
    assert "'dog' and 'cat' have the same words" in record.getMessage()
