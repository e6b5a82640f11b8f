"""Classes are learnt again without photos that were rejected."""

from pathlib import Path

import pytest

import recoseg
from recoseg.errors import ConceptError, OptionError, RecosegError
from recoseg.pipeline.relearn import without_photos
from tests.banks import assert_same_references
from tests.learning.fakes import SIZE, Retrieval, make_archive, make_encoders

SETTINGS = {"k": 3, "image_size": SIZE, "prompts": "none", "context": ("sky",)}
NAMES = ["rose", "grass", "sea"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive"), Retrieval())


@pytest.fixture(scope="module")
def bank(archive):
    return recoseg.learn(archive, NAMES, encoders=make_encoders(), **SETTINGS)


def concept(bank, name):
    [found] = [one for one in bank.classes if one.name == name]
    return found


def paths(bank, name):
    return [Path(photo.path).name for photo in concept(bank, name).retrieved]


def test_a_rejected_photo_is_replaced_by_the_next_one(archive, bank):
    bad = concept(bank, "grass").retrieved[0].path
    again = recoseg.learn(
        archive, ["grass"], encoders=make_encoders(), add_to=bank, relearn=True, reject=[bad]
    )
    assert Path(bad).name not in paths(again, "grass")
    assert paths(again, "grass")[:2] == paths(bank, "grass")[1:]
    assert [one.name for one in again.classes] == NAMES  # labels keep their numbers
    for name in ("rose", "sea"):
        assert concept(again, name) is concept(bank, name)
    whole = recoseg.learn(
        archive.without({concept(bank, "grass").retrieved[0].photo_id: "bad"}),
        ["grass"],
        encoders=make_encoders(),
        **SETTINGS,
    )
    assert_same_references(concept(again, "grass"), concept(whole, "grass"))
    assert not archive.selection.left_out  # the index of the caller is as it was


def test_the_ends_of_paths_are_enough(archive, bank):
    bad = paths(bank, "rose")[0]
    for text in (bad, f"photos/{bad}", concept(bank, "rose").retrieved[0].path):
        left = without_photos(archive, [text]).selection.left_out
        assert list(left) == [concept(bank, "rose").retrieved[0].photo_id]


def test_a_new_bank_without_photos(archive, bank):
    bad = paths(bank, "rose")[:2]
    found = recoseg.learn(archive, ["rose"], encoders=make_encoders(), reject=bad, **SETTINGS)
    assert not set(bad) & set(paths(found, "rose"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing.png", "holds no photo 'nothing.png'"),
        ("0.png", "holds no photo '0.png'"),  # an end of a name is no end of a path
        ("", "holds no photo ''"),
    ],
)
def test_what_is_not_there_is_refused(archive, text, message):
    with pytest.raises(RecosegError, match=message):
        without_photos(archive, [text])


def test_an_end_of_several_paths_is_refused(tmp_path):
    archive = make_archive(tmp_path, Retrieval(), {"1": (1, "rose"), "2": (2, "sea")})
    (tmp_path / "photos/1.png").rename(tmp_path / "photos/2.png.png")
    found = without_photos(archive, ["2.png"]).selection.left_out
    assert len(found) == 1
    for folder in ("a", "b"):
        (tmp_path / "two" / folder).mkdir(parents=True)
    (tmp_path / "photos/2.png").rename(tmp_path / "two/a/x.png")
    (tmp_path / "photos/2.png.png").rename(tmp_path / "two/b/x.png")
    index = recoseg.build_index([tmp_path / "two"], tmp_path / "new", retrieval=Retrieval())
    with pytest.raises(RecosegError, match=r"The paths of 2 photos end in 'x.png': .*/a/x.png, "):
        without_photos(index, ["x.png"])
    assert len(without_photos(index, ["a/x.png"]).selection.left_out) == 1


def test_what_has_no_effect_is_refused(archive, bank):
    with pytest.raises(OptionError, match=r"--relearn learns classes of a bank again.*--add-to"):
        recoseg.learn(archive, ["rose"], encoders=make_encoders(), relearn=True)
    with pytest.raises(RecosegError, match=r"already holds: rose. Add --relearn to learn them"):
        recoseg.learn(archive, ["rose"], encoders=make_encoders(), add_to=bank)


@pytest.mark.parametrize(
    ("names", "near"),
    [(["rsoe"], " Did you mean 'rose'?"), (["Rose"], " Did you mean 'rose'?"), (["sun"], "")],
)
def test_a_class_that_the_bank_does_not_have_is_not_added_by_relearning(archive, bank, names, near):
    with pytest.raises(ConceptError) as told:
        recoseg.learn(archive, names, encoders=make_encoders(), add_to=bank, relearn=True)
    assert str(told.value) == (
        f"The bank has no class {names[0]}.{near} Its classes: rose, grass, sea. Only classes of "
        "the bank are learnt again; new ones are added without --relearn."
    )
