"""The Python interface: five lines from a folder of photos to masks, with custom encoders too."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import recoseg
from recoseg.encoders.bundle import Encoders
from recoseg.errors import BadImageError, ConceptError, RecosegError
from tests.learning.fakes import SIZE, Phi, Retrieval, Saliency, make_archive, make_photo

SETTINGS = {"k": 4, "image_size": SIZE, "prompts": "none", "context": ("sky", "road")}


@pytest.fixture(scope="module")
def encoders():
    return Encoders(Retrieval(), Saliency(), (Phi(),))


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("road"), Retrieval())


def test_five_lines(tmp_path, archive, encoders):
    photos = archive.root.parent / "photos"
    index = recoseg.build_index(photos, tmp_path / "index", retrieval=encoders.retrieval)
    bank = recoseg.learn(
        index,
        ["rose", "grass: grass; lawn"],
        out=tmp_path / "b.safetensors",
        encoders=encoders,
        **SETTINGS,
    )
    segmenter = recoseg.open_segmenter(bank, encoders=encoders, resize=0)
    result = segmenter(photos / "rose0.png")
    assert index.report.new == len(index) == len(archive)
    assert recoseg.ConceptBank.load(tmp_path / "b.safetensors").fingerprint == bank.fingerprint
    assert result.labels.shape == (SIZE, SIZE)
    assert result.names == ("rose", "grass")
    assert result.mask("rose").dtype == bool
    assert result.areas()["rose"] == pytest.approx(result.mask("rose").mean())
    assert set(result.masks()) == set(result.areas())
    assert result.overlay().size[0] >= SIZE
    assert result.scores is None
    assert result.photo.path == str(photos / "rose0.png")
    # From files alone, the same masks.
    again = recoseg.open_segmenter(tmp_path / "b.safetensors", encoders=encoders, resize=0)
    assert (again(photos / "rose0.png").labels == result.labels).all()


def test_every_way_to_give_a_photo(archive, encoders, tmp_path):
    bank = recoseg.learn(archive, ["rose", "grass"], encoders=encoders, **SETTINGS)
    segmenter = recoseg.open_segmenter(bank, encoders=encoders, resize=0)
    image = make_photo(3, "rose", "sea")
    image.save(tmp_path / "photo.png")
    data, array = (tmp_path / "photo.png").read_bytes(), np.asarray(image)
    inputs = [
        str(tmp_path / "photo.png"),
        tmp_path / "photo.png",
        data,
        image,
        array,
        torch.from_numpy(array.transpose(2, 0, 1).copy()),
    ]
    results = segmenter(inputs)
    assert len(results) == len(inputs)
    assert all((result.labels == results[0].labels).all() for result in results)
    assert [one.labels.tolist() for one in map(segmenter, inputs)] == [
        results[0].labels.tolist()
    ] * len(inputs)
    for wrong in (3, None, io.BytesIO(data), [{}]):
        with pytest.raises(RecosegError, match=r"A \w+ is not a photo\. Expected a path"):
            segmenter(wrong)
    with pytest.raises(BadImageError, match=r"uint8 array \(h, w, 3\); got \(4, 4\)"):
        segmenter(np.zeros((4, 4), np.uint8))


def test_a_folder_is_streamed_and_failures_are_named(archive, encoders, tmp_path):
    bank = recoseg.learn(archive, ["rose", "grass"], encoders=encoders, **SETTINGS)
    segmenter = recoseg.open_segmenter(bank, encoders=encoders, resize=0)
    for number in range(20):
        make_photo(number, "rose").save(tmp_path / f"photo{number}.png")
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    results = list(segmenter.stream(tmp_path))
    assert [bool(result.failure) for result in results] == [True] + [False] * 20
    assert results[0].failure == "not an image of a known format"
    with pytest.raises(BadImageError, match=r"broken\.jpg"):
        _ = results[0].labels
    with pytest.raises(BadImageError, match=r"broken\.jpg"):
        segmenter(tmp_path / "broken.jpg")
    report = recoseg.segment(segmenter, tmp_path, tmp_path / "masks")
    assert report.photos == 21
    assert list(report.failures) == [str(tmp_path / "broken.jpg")]
    assert len(list((tmp_path / "masks" / "labels").glob("*.png"))) == 20


def test_retrieve_and_a_selection(archive, encoders, tmp_path):
    found = recoseg.retrieve(
        archive, ["rose"], k=3, retrieval=encoders.retrieval, sheet=tmp_path / "sheet.html"
    )
    best = found.hits["rose"][0]
    assert "rose" in found.index.path(best.position)
    assert (tmp_path / "sheet.html").read_text().count("<img") == 3
    selection = recoseg.Selection({archive.photo_id(best.position): "seen before"})
    selection.save(tmp_path / "selection.parquet")
    chosen = recoseg.open_index(archive.root, selection=tmp_path / "selection.parquet")
    again = recoseg.retrieve(chosen, ["rose"], k=3, retrieval=encoders.retrieval)
    assert best.position not in [hit.position for hit in again.hits["rose"]]
    bank = recoseg.learn(chosen, ["rose"], encoders=encoders, **SETTINGS)
    assert archive.path(best.position) not in [photo.path for photo in bank.classes[0].retrieved]


def test_several_phi_add_their_scores(archive, tmp_path):
    two = Encoders(Retrieval(), Saliency(), (Phi(), Phi("d" * 16, stride=16)))
    bank = recoseg.learn(
        archive, ["rose", "grass"], out=tmp_path / "b.safetensors", encoders=two, **SETTINGS
    )
    keys = [phi.info.key for phi in two.phi]
    assert [list(concept.references) for concept in bank.concepts] == [keys] * 4
    alone = [
        recoseg.learn(archive, ["rose", "grass"], encoders=replace(two, phi=(phi,)), **SETTINGS)
        for phi in two.phi
    ]
    for place, key in enumerate(keys):
        for concept, other in zip(bank.concepts, alone[place].concepts, strict=True):
            assert torch.equal(concept.references[key], other.references[key])
    photo = make_photo(5, "rose", "grass")

    def scores(one, encoders, form):
        segmenter = recoseg.open_segmenter(
            one, encoders=encoders, fusion=form, keep_scores=True, resize=0
        )
        return segmenter(photo).scores.astype(np.float32)

    both = scores(recoseg.ConceptBank.load(tmp_path / "b.safetensors"), two, "visual")
    parts = [
        scores(one, replace(two, phi=(phi,)), "visual")
        for one, phi in zip(alone, two.phi, strict=True)
    ]
    assert np.abs(both - (parts[0] + parts[1])).max() < 4e-3  # kept in fp16


def test_errors_of_the_road(archive, encoders, tmp_path):
    with pytest.raises(ConceptError, match="neither a file of classes nor a label space"):
        recoseg.learn(archive, "nothing.txt", encoders=encoders)
    with pytest.raises(RecosegError, match=r"does not end in \.safetensors"):
        recoseg.learn(archive, ["rose"], out=tmp_path / "bank.pt", encoders=encoders)
    bank = recoseg.learn(archive, ["rose"], encoders=encoders, **SETTINGS)
    with pytest.raises(ConceptError, match="already holds: rose"):
        recoseg.learn(archive, ["rose"], add_to=bank, encoders=encoders)
    more = recoseg.learn(archive, ["grass"], add_to=bank, encoders=encoders)
    assert [concept.name for concept in more.classes] == ["rose", "grass"]
    assert torch.equal(
        next(iter(more.classes[0].references.values())),
        next(iter(bank.classes[0].references.values())),
    )


def test_bytes_are_read_once_for_hash_and_pixels(archive, encoders):
    bank = recoseg.learn(archive, ["rose"], encoders=encoders, **SETTINGS)
    buffer = io.BytesIO()
    make_photo(1, "rose").save(buffer, "PNG")
    result = recoseg.open_segmenter(bank, encoders=encoders, resize=0)(buffer.getvalue())
    assert (result.photo.path, len(result.photo.hash)) == ("", 32)
    assert isinstance(result.image, Image.Image)


def test_names_of_the_package():
    assert recoseg.__version__
    assert all(getattr(recoseg, name) is not None for name in recoseg.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = recoseg.nonsense


def test_encoders_that_are_not_what_they_say(archive):
    with pytest.raises(RecosegError, match=r"got the class Phi\. Create an object of it"):
        recoseg.load_encoders(retrieval=Retrieval(), saliency=Saliency(), phi=Phi)
    wrong = Phi()
    wrong.info = replace(wrong.info, dim=99)
    encoders = Encoders(Retrieval(), Saliency(), (wrong,))
    with pytest.raises(RecosegError, match=r"gave features of shape \(4, 29, 6, 6\).*\(4, 99, 6"):
        recoseg.learn(archive, ["rose"], encoders=encoders, **{**SETTINGS, "context": ()})
    with pytest.raises(RecosegError, match="context is 'none'; expected a list"):
        recoseg.learn(archive, ["rose"], encoders=encoders, context="none")
    with pytest.raises(RecosegError, match="No photos are given"):
        recoseg.build_index([], "index", retrieval=Retrieval())
