"""A curation finds what is unfit, keeps the best copy, deletes nothing, and resumes."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import recoseg
from recoseg.curation import measuring
from recoseg.errors import ArchiveError, OptionError, OutputError, UnknownNameError
from recoseg.photos.refs import Photo
from tests.archive.fake_encoder import FakeEncoder
from tests.archive.test_index import unit
from tests.building import build_index
from tests.command import run
from tests.curation.pictures import blank, blurred, drawn, sharp
from tests.pages import read_page

SHARP = 6


class Worded(FakeEncoder):
    """Texts are embedded by a table of words; others far from every photo."""

    def __init__(self):
        super().__init__()
        self.words = {}

    def embed_texts(self, texts):
        nothing = -torch.ones(self.info.dim) / self.info.dim**0.5
        return torch.stack([self.words.get(text, nothing) for text in texts])


@pytest.fixture(scope="module")
def encoder():
    return Worded()


@pytest.fixture(scope="module")
def root(tmp_path_factory, encoder):
    """An index of six sharp photos, copies of the first two, and one photo of each other kind."""
    root = tmp_path_factory.mktemp("curate")
    photos = root / "photos"
    photos.mkdir()
    for number in range(SHARP):
        sharp(number).save(photos / f"sharp{number}.png")
    sharp(0).resize((150, 125), Image.Resampling.LANCZOS).save(photos / "a smaller copy.png")
    (photos / "identical.png").write_bytes((photos / "sharp1.png").read_bytes())
    blurred(9).save(photos / "blurred.png")
    blank().save(photos / "blank.png")
    drawn().save(photos / "drawn.png")
    sharp(7, (48, 40)).save(photos / "tiny.png")
    build_index([photos], root / "index", encoder)
    return root


def names(paths):
    return sorted(path.replace("\\", "/").rsplit("/", 1)[-1] for path in paths)


def staying(index):
    return names(photo.path for photo in index.photos())


def by_reason(found):
    """The names of the photos that are left out, by reason, as the findings tell."""
    lines = (found.folder / "findings.jsonl").read_text("utf-8").splitlines()
    reasons = {}
    for line in map(json.loads, lines):
        if line["outcome"] == "left out":
            reasons.setdefault(line["reason"], []).append(line["path"])
    return {reason: names(paths) for reason, paths in reasons.items()}


def test_the_whole_way(root, tmp_path):
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    found = recoseg.curate(root / "index", tmp_path / "out")
    expected = {
        "tiny": ["tiny.png"],
        "blank": ["blank.png"],
        "blurred": ["blurred.png"],
        "drawn": ["drawn.png"],
        "an identical copy": ["sharp1.png"],
        "a near-duplicate": ["a smaller copy.png"],
    }
    assert by_reason(found) == expected
    assert found.reasons == dict.fromkeys(expected, 1)
    assert (found.photos, found.failures) == (SHARP + 6, ())
    assert before == {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    # The selection, its folder and the list of what stays say the same.
    kept = ["identical.png", *(f"sharp{n}.png" for n in (0, 2, 3, 4, 5))]
    for selection in (found.selection, tmp_path / "out", tmp_path / "out" / "selection.parquet"):
        index = recoseg.open_index(root / "index", selection=selection)
        assert staying(index) == kept
        assert sum(map(index.is_selected, range(len(index)))) == SHARP
    assert names((tmp_path / "out" / "kept.txt").read_text("utf-8").splitlines()) == kept
    # Nothing that is left out is found by any search.
    rows = np.concatenate([block for _, block in index.blocks()])
    assert np.isfinite(rows).all(1).sum() == SHARP


def captions(page, section):
    found = page.within(section, "figcaption")
    return [[span.text for span in caption.all("span")] for caption in found]


def test_the_sheets_show_what_goes_and_what_nearly_went(root, tmp_path, monkeypatch):
    monkeypatch.setattr("recoseg.curation.pixel_measures.ALIKE", 2)  # embeddings alone decide
    recoseg.curate(root / "index", tmp_path, limits={"tiny": 100, "duplicates": 1})
    pages = {
        name: read_page((tmp_path / f"{name}.html").read_text("utf-8"))
        for name in ("left-out", "nearly")
    }
    titles = [tag.text for tag in pages["left-out"].all("h2")]
    assert titles == ["tiny", "blank", "blurred", "drawn", "an identical copy", "a near-duplicate"]
    assert captions(pages["left-out"], "reason-1") == [["tiny.png", "40"]]
    copies = captions(pages["left-out"], "reason-5")
    assert copies == [["identical.png", "kept"], ["sharp1.png", ""]]
    # The smaller copy has a short side of 125 and is like its original.
    assert captions(pages["nearly"], "reason-1")[0] == ["a smaller copy.png", "125"]
    original, copy = captions(pages["nearly"], "reason-5")[:2]
    assert (original, copy[0]) == (["sharp0.png", "kept"], "a smaller copy.png")
    assert 0.95 < float(copy[1]) <= 1
    assert all(tag.attrs["src"].startswith("data:image/jpeg") for tag in pages["nearly"].all("img"))


def test_people_and_unwanted_words(root, tmp_path, encoder, monkeypatch):
    # All scores are told, however far from the limit.
    monkeypatch.setattr("recoseg.curation.verdicts.Verdict.is_near", lambda one: one.scores < 9)
    index = recoseg.open_index(root / "index")
    at = {names([photo.path])[0]: position for position, photo in index.entries()}
    rows = index.embeddings([at["sharp2.png"], at["sharp3.png"], at["sharp4.png"]])
    encoder.words = {"person": rows[0], "gun": rows[1], "zebra": rows[2]}
    found = recoseg.curate(
        index,
        tmp_path,
        checks=["people"],
        unwanted=["weapon: gun; -knife", "zebra"],
        limits={"people": 1.5, "unwanted": 1.5},
        keep="*/sharp4.*",
        retrieval=encoder,
        prompts="none",
    )
    # Words that the table lacks have a cosine with each photo, which the margin subtracts.
    lines = [json.loads(line) for line in (tmp_path / "findings.jsonl").read_text().splitlines()]
    best = {line["reason"]: line for line in sorted(lines, key=lambda line: line["score"])}
    nothing = -torch.ones(encoder.info.dim) / encoder.info.dim**0.5
    for reason, row in zip(("people", "unwanted: weapon", "unwanted: zebra"), rows, strict=True):
        assert best[reason]["score"] == pytest.approx(1 - float(row @ nothing), abs=2e-3)
    assert names(line["path"] for line in best.values()) == [f"sharp{n}.png" for n in (2, 3, 4)]
    limits = {"people": best["people"]["score"] - 0.01, "unwanted": 0.9}
    found = recoseg.curate(
        index,
        tmp_path,
        checks=["people"],
        unwanted=["weapon: gun; -knife", "zebra"],
        limits=limits,
        keep="*/sharp4.*",
        retrieval=encoder,
        prompts="none",
    )
    assert by_reason(found)["people"] == ["sharp2.png"]
    assert not any("sharp4.png" in left for left in by_reason(found).values())


def test_the_detector_judges_people_as_well(root, tmp_path, encoder):
    pytest.importorskip("cv2")
    encoder.words = {}
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray(pytest.importorskip("skimage.data").astronaut()).save(photos / "face.png")
    sharp(0).save(photos / "none.png")
    build_index([photos], tmp_path / "index", encoder)
    found = recoseg.curate(
        tmp_path / "index",
        tmp_path / "out",
        checks=["people"],
        limits={"people": 2},
        detector=True,
        retrieval=encoder,
        prompts="none",
    )
    assert found.reasons == {"people": 0, "people, by their faces": 1}
    assert by_reason(found) == {"people, by their faces": ["face.png"]}


def test_pixels_are_measured_once(root, tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "_PER_FILE", 4)
    read = []
    original = measuring.read_photo

    def counted(photo):
        read.append(photo)
        return original(photo)

    monkeypatch.setattr(measuring, "read_photo", counted)
    first = recoseg.curate(root / "index", tmp_path)
    assert len(read) == first.photos == 12
    again = recoseg.curate(root / "index", tmp_path, limits={"tiny": 10})
    assert len(read) == 12
    assert again.reasons["tiny"] == 0
    # A damaged file of measures is measured again; nothing else is.
    (tmp_path / "pixels-1" / "measures_1.parquet").write_bytes(b"no table")
    assert recoseg.curate(root / "index", tmp_path).reasons == first.reasons
    assert len(read) == 16


def test_an_interrupted_run_keeps_its_measures(root, tmp_path, monkeypatch):
    original = measuring.read_photo
    read = []

    def interrupted(photo):
        read.append(photo)
        if len(read) == 8:
            raise KeyboardInterrupt
        return original(photo)

    monkeypatch.setattr(measuring, "read_photo", interrupted)
    with pytest.raises(KeyboardInterrupt, match="keeps what was measured"):
        recoseg.curate(root / "index", tmp_path, threads=1)
    assert recoseg.curate(root / "index", tmp_path, threads=1).photos == 12
    assert 12 <= len(read) - 1 < 12 + 8


def test_photos_that_are_gone_are_told_and_stay(tmp_path, encoder):
    for number in range(4):
        (tmp_path / "photos").mkdir(exist_ok=True)
        sharp(number).save(tmp_path / "photos" / f"{number}.png")
    build_index([tmp_path / "photos"], tmp_path / "index", encoder)
    (tmp_path / "photos" / "1.png").unlink()
    (tmp_path / "photos" / "2.png").write_bytes(b"broken")
    found = run("curate", tmp_path / "index", "--out", tmp_path / "out")
    assert found.code == 0
    assert "1.png: cannot be read: no such file" in found.err
    assert "2.png: " in found.err
    assert "Left out: 0 of 4 photos" in found.out
    assert len((tmp_path / "out" / "kept.txt").read_text().splitlines()) == 4


def test_metadata_of_other_programs(tmp_path):
    root = tmp_path / "embeddings"
    (root / "img_emb").mkdir(parents=True)
    (root / "metadata").mkdir()
    np.save(root / "img_emb/img_emb_0.npy", unit(4))
    table = {
        "image_path": [f"/p/{n}.jpg" for n in range(4)],
        "LICENSE": ["CC0", "CC BY", None, "?"],
        "punsafe": [0.1, 0.9, 0.2, 0.3],
    }
    pq.write_table(pa.table(table), root / "metadata/metadata_0.parquet")
    found = run(
        *("curate", root, "--out", tmp_path / "out", "--checks", "none"),
        *("--only", "LICENSE=CC*", "--without", "punsafe>0.5"),
    )
    assert found.code == 0, found.err
    assert found.out.splitlines()[:5] == [
        "LICENSE: - (1), ? (1), CC BY (1), CC0 (1)",
        "punsafe: 0.1 (1), 0.2 (1), 0.3 (1), 0.9 (1)",
        "not LICENSE=CC*: 2 photos",
        "punsafe>0.5: 1 photo",
        "Left out: 3 of 4 photos",
    ]
    index = recoseg.open_index(root, selection=tmp_path / "out")
    assert [photo.path for photo in index.photos()] == ["/p/0.jpg"]
    (tmp_path / "t.csv").write_text("file,source\n0,web\n3.jpg,own\n", encoding="utf-8")
    found = recoseg.curate(
        root, tmp_path / "other", checks=["none"], only="source=own", table=tmp_path / "t.csv"
    )
    assert found.values == {"source": [("-", 2), ("own", 1), ("web", 1)]}
    assert found.selection.reasons() == {"not source=own": 3}
    with pytest.raises(UnknownNameError, match=r"'licence'.*LICENSE"):
        recoseg.curate(root, tmp_path / "other", checks=["none"], only="licence=CC0")


def test_an_earlier_selection_stays(root, tmp_path):
    index = recoseg.open_index(root / "index")
    earlier = recoseg.Selection({index.photo_id(0): "seen"})
    found = run(
        *("curate", root / "index", "--out", tmp_path / "out"),
        *("--selection", _saved(earlier, tmp_path / "earlier.parquet"), "--checks", "tiny"),
    )
    assert "Left out: 1 of 11 photos" in found.out, found.err
    selection = recoseg.Selection.load(tmp_path / "out")
    assert selection.reasons() == {"tiny": 1, "seen": 1}


def _saved(selection, path):
    selection.save(path)
    return path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--checks", "blured"], "Unknown check 'blured'. Did you mean 'blurred'"),
        (["--limit", "blured=1"], "Unknown limit 'blured'. Did you mean 'blurred'"),
        (["--limit", "blurred"], "The limit 'blurred' cannot be read. Expected NAME=NUMBER"),
        (["--limit", "duplicates=2"], "The limit of duplicates is 2.0. Expected a cosine"),
        (["--limit", "tiny=nan"], "The limit of tiny is nan. Expected a number"),
        (["--only", "licence"], "The condition 'licence' cannot be read"),
        (["--detector"], "The detector only looks for people"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(root, tmp_path, options, message):
    found = run("curate", root / "index", "--out", tmp_path / "out", *options)
    assert (found.code, found.out) == (2, "")
    assert message in found.err
    assert not (tmp_path / "out").exists()


def test_a_folder_of_others_is_refused(root, tmp_path):
    (tmp_path / "kept.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds kept\.txt, which this command did not write"):
        recoseg.curate(root / "index", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]
    everything = recoseg.open_index(root / "index")
    none = everything.without({photo.id: "seen" for photo in everything.photos()})
    with pytest.raises(ArchiveError, match="has no photo to check"):
        recoseg.curate(none, tmp_path / "out")
    with pytest.raises(OptionError, match="only looks for people"):
        recoseg.curate(everything, tmp_path / "out", detector=True)
    assert Photo("x").id == Photo("x").path_id != Photo("x", hash="0" * 32).id
