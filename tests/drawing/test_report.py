"""The folder of a report: what is written, kept, removed and refused."""

import json

import numpy as np
import pytest
from PIL import Image

from recoseg.drawing.gallery import CHUNK, Gallery, GalleryPhoto, LegendEntry, legend_of
from recoseg.drawing.report import Report, claim_report, remove_report
from recoseg.errors import OutputError


def picture(grey=90):
    return Image.new("RGB", (40, 30), (grey,) * 3)


def files(folder):
    hidden = (".lock", "files.jsonl", "settings.json")
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if name not in hidden)


def gallery(count):
    photos = [GalleryPhoto(f"p{n}", ("a.jpg", "b.jpg"), (4, 3), ((0, 0.25),)) for n in range(count)]
    legend = [LegendEntry("dog", "#e69f00", count)]
    return Gallery("photos", ("photo", "masks"), True, legend, photos)


def rows_of(script):
    text = script.read_text(encoding="utf-8")
    start = 'recosegRows("photos", '
    assert text.startswith(start)
    assert text.endswith(");\n")
    return json.loads(text[len(start) : -3])


def test_rows_are_in_chunks_of_classic_scripts(tmp_path):
    with Report(tmp_path) as report:
        report.gallery(gallery(CHUNK + 1))
    first, second = (rows_of(tmp_path / f"rows/photos-{n}.js") for n in (0, 1))
    assert (len(first), len(second)) == (CHUNK, 1)
    assert second == [
        {"name": f"p{CHUNK}", "pictures": ["a.jpg", "b.jpg"], "size": [4, 3], "shares": [[0, 0.25]]}
    ]


def test_pictures_are_drawn_once_and_removed_when_they_are_not_needed(tmp_path):
    drawn = []

    def draw(grey):
        drawn.append(grey)
        return picture(grey)

    def write(greys):
        with Report(tmp_path) as report:
            return [report.picture(["photo", grey], lambda g=grey: draw(g)) for grey in greys]

    first = write([10, 20])
    assert drawn == [10, 20]
    assert files(tmp_path) == sorted([*first, "report.js"])
    with Image.open(tmp_path / first[1]) as image:
        assert image.format == "JPEG"
        assert np.abs(np.asarray(image).astype(int) - 20).max() <= 2
    second = write([20, 30])
    assert drawn == [10, 20, 30]
    assert second[0] == first[1]
    assert files(tmp_path) == sorted([*second, "report.js"])
    (tmp_path / second[0]).unlink()  # a picture that was lost is drawn again
    assert write([20]) == second[:1]
    assert drawn == [10, 20, 30, 20]


def test_equal_pictures_are_one_file(tmp_path):
    with Report(tmp_path) as report:
        assert report.keep(picture()) == report.keep(picture())
        assert report.keep(picture(91)) != report.keep(picture())


def test_an_error_keeps_what_is_drawn(tmp_path):
    def interrupted():
        with Report(tmp_path) as report:
            report.keep(picture())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(files(tmp_path)) == 2
    with Report(tmp_path) as report:
        report.keep(picture())
    assert len(files(tmp_path)) == 2


def test_files_of_others_are_neither_replaced_nor_removed(tmp_path):
    (tmp_path / "index.html").write_text("mine")
    for write in (lambda: claim_report(tmp_path, replace=True), Report(tmp_path).__enter__):
        with pytest.raises(OutputError, match=r"holds index\.html, which this command did not"):
            write()
    (tmp_path / "index.html").rename(tmp_path / "notes.txt")
    with Report(tmp_path) as report:
        report.keep(picture())
    claim_report(tmp_path, replace=False)  # it has no page, so it was not finished
    with Report(tmp_path) as report:
        report.page("index.html", "report.html.jinja", title="t")
    with pytest.raises(OutputError, match=r"holds a report already\. Replace it with --overwrite"):
        claim_report(tmp_path, replace=False)
    claim_report(tmp_path, replace=True)
    remove_report(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    remove_report(tmp_path)  # there is none


def test_a_whole_report_is_removed_with_its_folder(tmp_path):
    with Report(tmp_path / "report") as report:
        report.keep(picture())
        report.gallery(gallery(3))
    remove_report(tmp_path / "report")
    assert not list(tmp_path.iterdir())


def test_the_legend_counts_photos():
    photos = [
        GalleryPhoto("a", (), (1, 1), ((1, 0.5), (0, 0.2))),
        GalleryPhoto("b", (), (1, 1), ((1, 0.5),)),
        GalleryPhoto("c", (), (1, 1), ()),
    ]
    legend = legend_of(["dog", "sky", "cow"], [(0, 0, 0), (1, 2, 3), (255, 255, 255)], photos)
    assert legend == [
        LegendEntry("dog", "#000000", 1),
        LegendEntry("sky", "#010203", 2),
        LegendEntry("cow", "#ffffff", 0),
    ]
    assert Gallery("a", (), True, legend, photos).empty == 1
