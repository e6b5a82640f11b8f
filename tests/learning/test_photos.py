"""Retrieved photos: each is encoded once, and those that cannot be read are left out."""

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from recoseg.archive.index import ArchiveIndex
from recoseg.classes import parse_class, parse_classes
from recoseg.errors import ConceptError, OutputError, RecosegError
from recoseg.learning.feature_store import FeatureStore
from recoseg.learning.learner import learn_bank
from tests.banks import references_of
from tests.building import build_index

from .fakes import (
    SIZE,
    Retrieval,
    make_archive,
    make_encoders,
    make_photo,
    settings,
    stem,
)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive"), Retrieval())


def test_each_photo_goes_through_each_encoder_once(index):
    encoders = make_encoders()
    classes = parse_classes(["rose", "rose again: rose; violet", "grass", "sun", "sea"])
    bank = learn_bank(index, classes, encoders, settings(k=9))
    used = {photo.photo_id for item in bank.concepts for photo in item.retrieved}
    total = sum(len(item.retrieved) for item in bank.concepts)
    assert total > 1.5 * len(used)  # the classes share photos
    for encoder in (encoders.phi[0], encoders.saliency):
        assert list(encoder.seen.values()) == [1] * len(used)
    assert not encoders.retrieval.seen


def test_banks_that_share_a_store_encode_each_photo_once(index):
    encoders = make_encoders()
    first, second = parse_classes(["rose", "grass"]), parse_classes(["grass", "sun", "violet"])
    with FeatureStore([encoders.phi[0], encoders.saliency], SIZE) as store:
        shared = [
            learn_bank(index, classes, encoders, chosen, store=store)
            for classes, chosen in (
                (first, settings(k=4)),
                (second, settings(k=9)),
                (second, settings(k=3, guidance=False, context=())),
            )
        ]
    for encoder in (encoders.phi[0], encoders.saliency):
        assert set(encoder.seen.values()) == {1}
        assert len(encoder.seen) > 9
    alone = learn_bank(index, second, make_encoders(), settings(k=9))
    for mine, other in zip(shared[1].concepts, alone.concepts, strict=True):
        torch.testing.assert_close(references_of(mine), references_of(other))


def test_features_lie_in_files_without_names(index, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    encoders = make_encoders()
    with FeatureStore([encoders.phi[0], encoders.saliency], SIZE) as store:
        store.fill(index, range(7))
        ids = [index.photo_id(position) for position in range(7)]
        found = store.features(encoders.phi[0], ids)
        # A killed process leaves nothing, since the system removes the files.
        assert not list(tmp_path.iterdir())
    with FeatureStore([encoders.phi[0]], SIZE) as store:
        for position in reversed(range(7)):
            store.fill(index, [position])
        assert torch.equal(store.features(encoders.phi[0], ids), found)


def test_a_full_temporary_folder_is_one_line(index, monkeypatch):
    full = Path("/dev/full").open("r+b", 0)  # noqa: SIM115  # closed by the store
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **options: full)
    with (
        FeatureStore([make_encoders().phi[0]], SIZE) as store,
        pytest.raises(OutputError, match=r"No space left on device\. Set TMPDIR"),
    ):
        store.fill(index, range(3))


def test_a_store_with_other_encoders_or_size_is_refused(index):
    encoders = make_encoders()
    classes = parse_classes(["rose"])
    with (
        FeatureStore([encoders.phi[0]], SIZE) as store,
        pytest.raises(RecosegError, match="no features of fake-saliency"),
    ):
        learn_bank(index, classes, encoders, settings(), store=store)
    with (
        FeatureStore([encoders.phi[0], encoders.saliency], 24) as store,
        pytest.raises(RecosegError, match=r"image size of 48 pixels, as in the settings; got 24"),
    ):
        learn_bank(index, classes, encoders, settings(), store=store)


def test_without_guidance_the_saliency_encoder_sees_no_photo(index):
    encoders = make_encoders()
    bank = learn_bank(index, parse_classes(["rose"]), encoders, settings(guidance=False))
    assert not encoders.saliency.seen
    assert bank.classes[0].text_positive.shape == (1, 3)  # needed to segment


def test_photos_of_equal_content(tmp_path):
    photos = {f"rose{n}": (n // 2, "rose") for n in range(6)}  # each twice
    index = make_archive(tmp_path, Retrieval(), photos)
    encoders = make_encoders()
    plain = settings(k=6, context=())
    bank = learn_bank(index, [parse_class("rose")], encoders, plain)
    [rose] = bank.classes
    assert len(rose.retrieved) == 6
    assert len({photo.photo_id for photo in rose.retrieved}) == 3
    assert len(encoders.phi[0].seen) == 3
    assert references_of(rose)[0] @ encoders.phi[0].of_colour("rose") > 0.98
    skipping = replace(plain, learn=replace(plain.learn, skip_duplicates=1.0))
    bank = learn_bank(index, [parse_class("rose")], make_encoders(), skipping)
    assert len(bank.classes[0].retrieved) == 3


def test_missing_photos_are_left_out(tmp_path):
    index = make_archive(tmp_path, Retrieval())
    classes = [parse_class("sea")]
    before = learn_bank(index, classes, make_encoders(), settings()).classes[0].retrieved
    (tmp_path / "photos" / f"{stem(before[1])}.png").unlink()
    (tmp_path / "photos" / f"{stem(before[2])}.png").write_bytes(b"\x89PNG cut off")
    learnt = []
    bank = learn_bank(index, classes, make_encoders(), settings(), callback=learnt.append)
    [sea] = bank.classes
    assert [photo.path for photo in sea.retrieved] == [before[0].path, before[3].path]
    assert len(learnt[-1].positions) == len(learnt[-1].cosegmentation.support) == 2
    paths = [index.path(position) for position in learnt[-1].positions]
    assert paths == [photo.path for photo in sea.retrieved]
    for photo in (tmp_path / "photos").glob("sea*"):
        photo.unlink()
    with pytest.raises(ConceptError, match="None of 4 photos retrieved for 'sea' can be read"):
        learn_bank(index, classes, make_encoders(), settings())


def test_photos_of_other_sizes_are_cropped(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        wide = Image.new("RGB", (3 * SIZE, SIZE), (120, 120, 120))
        wide.paste(make_photo(number, "sea"), (SIZE, 0))
        wide.save(folder / f"wide{number}.png")
    make_photo(9, "sea").resize((SIZE // 2, SIZE // 2)).save(folder / "small.png")
    build_index([folder], tmp_path / "index", Retrieval(), precision="fp32")
    index = ArchiveIndex.open(tmp_path / "index")
    encoders = make_encoders()
    bank = learn_bank(index, [parse_class("sea")], encoders, settings(context=()))
    assert len(bank.classes[0].retrieved) == 4
    assert references_of(bank.classes[0])[0] @ encoders.phi[0].of_colour("sea") > 0.97
