"""Conditions on metadata, and the rows of tables that belong to photos."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recoseg.archive.other_columns import read_any_table, read_columns
from recoseg.curation.conditions import parse_condition, parse_conditions
from recoseg.curation.metadata_verdicts import metadata_verdicts, rows_of, value_counts
from recoseg.errors import ArchiveError, OptionError


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("licence=CC0, CC BY*", "CC BY-SA 4.0", True),
        ("licence=CC0, CC BY*", "cc0", True),
        ("licence=CC0, CC BY*", "CC", False),
        ('licence="a, b"', "a, b", True),
        ("licence=CC0", None, None),
        ("licence=CC0", "", None),
        ("NSFW=1", 1, True),
        ("nsfw=true", True, True),
        ("punsafe>0.5", 0.51, True),
        ("punsafe>0.5", 0.5, False),
        ("width < 64", "63", True),
        ("width<64", "many", None),
        ("width<64", float("nan"), None),
        ("url=*[0-9].org/*", "https://a7.org/x", True),
    ],
)
def test_a_condition_holds(text, value, holds):
    assert parse_condition(text).holds(value) is holds


@pytest.mark.parametrize("text", ["licence", "=CC0", "licence=", "width<wide", "width>inf", ""])
def test_other_forms_are_refused(text):
    with pytest.raises(OptionError, match=r"cannot be read\. Expected a column"):
        parse_condition(text)


def test_absent_values_fail_what_is_needed_and_not_what_is_refused():
    values = {"licence": ["CC0", None, "other"], "score": [0.1, 0.9, None]}
    needed, refused = parse_conditions("licence=CC0"), parse_conditions(["score>0.5"])
    one, other = metadata_verdicts(values, needed, refused)
    assert (one.reason, one.is_out.tolist()) == ("not licence=CC0", [False, True, True])
    assert (other.reason, other.is_out.tolist()) == ("score>0.5", [False, True, False])


def test_rows_belong_to_photos_by_the_end_of_their_path():
    paths = ["/a/b/1.jpg", "/a/c/2.jpg", "/t/x.tar::d/3.png", "/a/4.jpg", "s3://z/5.jpg"]
    columns = {"path": ["c/2.jpg", "b/1", "3.png", None, "s3://z/5.jpg", "/elsewhere/4.jpg"]}
    assert rows_of(paths, columns, "t.csv") == [1, 0, 2, None, 4]


def test_tables_that_do_not_fit_are_refused():
    with pytest.raises(OptionError, match=r"t.csv has the columns x. Expected one with the paths"):
        rows_of(["/a.jpg"], {"x": ["1"]}, "t.csv")
    with pytest.raises(OptionError, match=r"None of the 1 row of t.csv belongs to a photo"):
        rows_of(["/a.jpg"], {"path": ["b.jpg"]}, "t.csv")
    with pytest.raises(OptionError, match=r"fits two photos: /a/1.jpg and /b/1.jpg"):
        rows_of(["/a/1.jpg", "/b/1.jpg"], {"path": ["1.jpg"]}, "t.csv")


def test_values_are_counted():
    assert value_counts(["b", "a", "", "b", None, 3], most=3) == [("-", 2), ("b", 2), ("3", 1)]


def test_tables_are_read_as_texts_and_numbers(tmp_path):
    table = pa.table(
        {
            "text": pa.array(["x", None]).dictionary_encode(),
            "number": [-200.5, None],
            "flag": [True, False],
            "list": [[1], [2]],
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    expected = {"text": ["x", None], "number": [-200.5, None], "flag": [True, False]}
    assert read_any_table(tmp_path / "t.parquet") == expected
    found = read_columns(tmp_path / "t.parquet", ["flag", "absent"], 2)
    assert found == {"flag": [True, False], "absent": [None, None]}
    with pytest.raises(ArchiveError, match=r"`list` of type .*\. Expected texts or numbers"):
        read_columns(tmp_path / "t.parquet", ["list"])
    with pytest.raises(ArchiveError, match=r"has 2 rows\. Expected 3"):
        read_columns(tmp_path / "t.parquet", ["text"], 3)
    (tmp_path / "t.csv").write_text("id,licence\n0012,CC0\n0013,\n", encoding="utf-8")
    assert read_any_table(tmp_path / "t.csv") == {"id": ["0012", "0013"], "licence": ["CC0", ""]}
    (tmp_path / "bad.csv").write_text("a,b\n1\n1,2,3\n", encoding="utf-8")
    with pytest.raises(ArchiveError, match="cannot be read as a table"):
        read_any_table(tmp_path / "bad.csv")


def test_a_text_that_is_repeated_too_often_is_refused(tmp_path):
    long = pa.DictionaryArray.from_arrays(np.zeros(2000, np.int32), ["x" * 2_000_000])
    pq.write_table(pa.table({"caption": long}), tmp_path / "t.parquet")
    with pytest.raises(ArchiveError, match=r"bytes of `caption`\. Expected"):
        read_columns(tmp_path / "t.parquet", ["caption"])
