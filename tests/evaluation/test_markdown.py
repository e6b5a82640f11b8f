import re

import numpy as np
import pytest

from recoseg.evaluation.evaluation import ImageScore
from recoseg.evaluation.markdown import markdown_table, report_markdown, settings_rows
from tests.evaluation.examples import COUNTS, NAMES, example


def rows_of(text, title):
    """The cells of the table under a heading, without its header."""
    section = text.split(f"## {title}\n\n")[1].split("\n\n")[0]
    lines = section.splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_headline():
    text = report_markdown(example())
    assert text.startswith("# bank of four on street, val\n\n| mIoU | pixel accuracy |")
    # (60 / 83 + 90 / 105 + 27 / 30) / 3, 177 / 200, (60 / 80 + 1 + 27 / 30) / 3,
    # 0.4 * 60 / 83 + 0.45 * 90 / 105 + 0.15 * 27 / 30; boundary F (0.6 + 1 + 6 / 11) / 3
    numbers = re.findall(r"\d+\.\d", text.splitlines()[4])
    assert numbers == ["82.7", "88.5", "88.3", "81.0", "71.5"]
    assert "5 of 6 photos, 200 labelled pixels, 2.5 % of them without a prediction" in text
    assert "1 photo without a labelled pixel; 12 s." in text


def test_classes_stand_in_the_order_of_the_label_space():
    text = report_markdown(example())
    assert rows_of(text, "Classes") == [
        ["tree", "72.3", "95.2", "75.0", "40.0", "60.0"],
        ["sky", "85.7", "85.7", "100.0", "45.0", "100.0"],
        ["road", "90.0", "100.0", "90.0", "15.0", "54.5"],
        ["tram", "-", "-", "-", "0.0", "-"],
    ]
    plain = report_markdown(example(boundary=None))
    assert "boundary" not in plain
    assert rows_of(plain, "Classes")[0] == ["tree", "72.3", "95.2", "75.0", "40.0"]


def test_confusions_are_said_in_words():
    text = report_markdown(example())
    section = text.split("## Most frequent confusions\n\n")[1].split("\n\n")[0]
    assert section.splitlines() == [
        "- tree taken for sky: 19 % of tree",
        "- tree without a prediction: 6 % of tree",
        "- road taken for tree: 10 % of road",
    ]
    assert "road taken" not in report_markdown(example(), most_confusions=2)
    perfect = report_markdown(example(counts=np.eye(4, 5, dtype=np.int64)))
    assert "confusions" not in perfect
    assert "without a prediction" not in perfect


def test_a_rare_confusion_is_not_rounded_to_nothing():
    counts = np.array([[9960, 40], [0, 0]])
    counts = np.pad(counts, ((0, 2), (0, 3)))
    assert "tree taken for sky: 0.4 % of tree" in report_markdown(example(counts=counts))


def test_every_setting_is_named():
    settings = {"a": {"b": {"c": 1.5, "d": []}, "e": True}, "f": {}, "g": [[1, 2], None]}
    assert settings_rows(settings) == [
        ("a.b.c", "1.5"),
        ("a.b.d", "none"),
        ("a.e", "yes"),
        ("f", "none"),
        ("g", "1, 2, none"),
    ]
    text = report_markdown(example(settings=settings))
    assert rows_of(text, "Settings") == [list(row) for row in settings_rows(settings)]


def test_failures_have_their_reason_and_are_not_too_many():
    assert "- a/4: the file is truncated\n" in report_markdown(example())
    images = tuple(ImageScore(f"p{n}", error="gone\nfor good") for n in range(23))
    text = report_markdown(example(images=images))
    assert "0 of 23 photos" in text
    assert "- p19: gone for good\n- and 3 more\n" in text
    assert "could not be evaluated" not in report_markdown(example(images=images[:0]))


def test_without_pixels():
    text = report_markdown(example(counts=COUNTS * 0, boundary=None))
    assert "there are no scores" in text
    assert rows_of(text, "Classes") == [[name, "-", "-", "-", "-"] for name in NAMES]


def test_names_cannot_break_the_table():
    text = report_markdown(example(names=("a|b", "two\nlines", "road", "tram")))
    assert "| a\\|b " in text
    assert "| two lines " in text
    assert markdown_table(["x"], []) == "| x |\n|:--|"
    with pytest.raises(ValueError):
        markdown_table(["x", "y"], [["only one"]])


def test_names_are_shown_as_they_are():
    name = "<script>alert(1)</script> & a|b `c`\n# x \x1b[31m [l](javascript:x) *b*"
    table = markdown_table([name], [[name]])
    lines = table.split("\n")
    assert len(lines) == 3
    for line in lines[::2]:
        assert "<" not in line
        assert line.isprintable()
        assert re.sub(r"\\.", "", line).count("|") == 2
        assert "&lt;script>" in line
        assert "&amp; a\\|b \\`c\\`" in line
        assert "\\[l\\]" in line
    report = report_markdown(example(name=name, names=(name, *NAMES[1:])))
    assert "<" not in report
    assert "\x1b" not in report
