"""Seeds that the user sets by hand, and classes that are learnt again from them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import recoseg
from recoseg.concepts import ConceptBank
from recoseg.cosegmentation import cosegment
from recoseg.cosegmentation.reference import reference_of_some
from recoseg.errors import ConceptError, RecosegError
from recoseg.evidence import Correction
from recoseg.learning.corrections import cell_of, corrected, pixel_of
from recoseg.photos.frame import Frame
from recoseg.photos.images import to_frame
from recoseg.photos.refs import Photo
from recoseg.pipeline.relearn import read_seeds
from tests.banks import assert_same_references
from tests.command import run
from tests.learning.fakes import SIZE, Retrieval, make_archive, make_encoders

SETTINGS = {"k": 3, "image_size": SIZE, "prompts": "none", "context": ("sky",)}
NAMES = ["rose", "grass", "sea"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive"), Retrieval())


@pytest.fixture(scope="module")
def bank(archive):
    return recoseg.learn(archive, NAMES, encoders=make_encoders(), **SETTINGS)


def concept(bank, name="grass"):
    [found] = [one for one in bank.classes if one.name == name]
    return found


def again(archive, bank, seeds=None, names=("grass",), **options):
    return recoseg.learn(
        archive,
        list(names),
        encoders=make_encoders(),
        add_to=bank,
        relearn=True,
        seeds=seeds,
        **options,
    )


def pixels_of(cell, side=SIZE, grid=SIZE // 8):
    """A pixel in a cell (y, x) of the first phi."""
    step = side // grid
    return (cell[1] * step + 1, cell[0] * step + step - 1)


@pytest.mark.parametrize("size", [(48, 48), (97, 48), (40, 131), (30, 20), (224, 500)])
def test_cells_are_where_the_pixel_is_seen(size):
    """A white pixel with its surroundings is looked for in the crop that encoders get."""
    width, height = size
    crop, grid = 64, 4
    side = min(size)
    for share_x, share_y in [(0.1, 0.1), (0.5, 0.2), (0.9, 0.6), (0.35, 0.85)]:
        x = int((width - side) / 2 + share_x * side)
        y = int((height - side) / 2 + share_y * side)
        canvas = np.zeros((height, width, 3), np.uint8)
        reach = max(1, side // 40)
        canvas[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1] = 255
        seen = to_frame(Image.fromarray(canvas), Frame(crop)).float().mean(0)
        step = crop // grid
        cells = seen.reshape(grid, step, grid, step).mean((1, 3))
        best = divmod(int(cells.argmax()), grid)
        assert cell_of((x, y), size, (grid, grid)) == best
        assert cell_of(pixel_of(best, size, (grid, grid)), size, (grid, grid)) == best


@pytest.mark.parametrize("pixel", [(48, 0), (0, 24), (-1, 3), (3, -1)])
def test_pixels_outside_of_the_photo_are_refused(pixel):
    with pytest.raises(RecosegError, match="outside of the photo, which has 48 x 24 pixels"):
        cell_of(pixel, (48, 24), (4, 4))


@pytest.mark.parametrize("pixel", [(11, 0), (36, 23)])
def test_pixels_beside_the_centre_square_are_refused(pixel):
    with pytest.raises(RecosegError, match=r"centre square .* x from 12 to 35, y from 0 to 23"):
        cell_of(pixel, (48, 24), (4, 4))
    assert cell_of((12, 0), (48, 24), (4, 4)) == (0, 0)
    assert cell_of((35, 23), (48, 24), (4, 4)) == (3, 3)


@pytest.mark.parametrize("form", ["mean", "normalised-mean", "rank-weighted", "winner"])
def test_the_reference_is_made_of_the_seeds_that_there_are(form):
    """Loops over the photos, for two seeds in the first photo and none in the third."""
    features = torch.randn(4, 6, 4, 4, generator=torch.Generator().manual_seed(3))
    found = cosegment(features, reference=form)
    photos = [Photo(f"{n}.jpg", width=8, height=8, hash=f"{n:032x}") for n in range(4)]
    by_hand = {
        photos[0].id: Correction("0.jpg", photos[0].id, ((0, 0), (7, 3))),
        photos[2].id: Correction("2.jpg", photos[2].id, ()),
    }
    cells = [[(0, 0), (1, 3)], [tuple(found.seeds[1, 0].tolist())], []]
    cells.append([tuple(found.seeds[3, 0].tolist())])
    result = corrected(found, features, photos, by_hand, form=form, regions=None)
    vectors = [(n, features[n, :, y, x]) for n, own in enumerate(cells) for y, x in own]
    units = [vector / vector.norm() for _, vector in vectors]
    if form == "mean":
        merged = sum(vector for _, vector in vectors)
    elif form == "normalised-mean":
        merged = sum(units)
    elif form == "rank-weighted":
        merged = sum((4 - n) * vector for n, vector in vectors)
    else:
        sums = [sum(float(a @ b) for b in units) for a in units]
        merged = units[sums.index(max(sums))]
    assert torch.allclose(result.reference, merged / merged.norm(), atol=1e-6)
    pairs = [
        float(F.cosine_similarity(a, b, dim=0)) for m, a in vectors for n, b in vectors if m != n
    ]
    assert result.seeds_alike == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)
    assert torch.equal(result.support, found.support)
    everywhere = torch.ones(4, 1, dtype=torch.bool)
    same = reference_of_some(found.seed_features, everywhere, form)
    assert torch.allclose(same, found.reference, atol=1e-6)


def test_regions_count_for_seeds_by_hand():
    features = torch.randn(2, 5, 2, 2, generator=torch.Generator().manual_seed(5))
    regions = torch.tensor([[[1, 1], [2, 2]], [[1, 2], [1, 2]]], dtype=torch.int32)
    photos = [Photo(f"{n}.jpg", width=2, height=2, hash=f"{n:032x}") for n in range(2)]
    by_hand = {photos[1].id: Correction("1.jpg", photos[1].id, ((1, 0),))}
    found = cosegment(features, regions=regions)
    result = corrected(found, features, photos, by_hand, form="mean", regions=regions)
    unit = F.normalize(features[1], dim=0)
    expected = F.normalize(unit[:, 0, 1] + unit[:, 1, 1], dim=0)
    assert torch.allclose(result.seed_features[1, 0], expected, atol=1e-6)


def test_a_seed_is_moved_and_stays_where_it_was_put(archive, bank, tmp_path):
    photo = concept(bank).retrieved[0]
    cell = (0, 3) if photo.seeds[0] != (0, 3) else (3, 0)
    name = Path(photo.path).name
    moved = again(archive, bank, {name: [pixels_of(cell)]})
    assert concept(moved).retrieved[0].seeds == (cell,)
    assert [one.seeds for one in concept(moved).retrieved[1:]] == [
        one.seeds for one in concept(bank).retrieved[1:]
    ]
    assert concept(moved).corrections == (
        Correction(photo.path, photo.photo_id, (pixels_of(cell),)),
    )
    assert concept(moved).name == "grass"
    for other in ("rose", "sea"):
        assert concept(moved, other) is concept(bank, other)
    moved.save(tmp_path / "bank.safetensors")
    loaded = ConceptBank.load(tmp_path / "bank.safetensors")
    assert concept(loaded).corrections == concept(moved).corrections
    kept = again(archive, loaded)  # learnt again without a word about seeds
    assert_same_references(concept(kept), concept(moved))
    assert concept(kept).corrections == concept(moved).corrections
    back = again(archive, kept, {name: None})
    assert_same_references(concept(back), concept(bank))
    assert concept(back).corrections == ()


def test_a_dropped_seed(archive, bank):
    photo = concept(bank).retrieved[1]
    without = again(archive, bank, {photo.path: []})
    assert [len(one.seeds) for one in concept(without).retrieved] == [1, 0, 1]
    assert concept(without).retrieved[1].support == ()
    assert [one.path for one in concept(without).retrieved] == [
        one.path for one in concept(bank).retrieved
    ]
    with pytest.raises(RecosegError, match="No photo of the class has a seed"):
        again(archive, bank, {one.path: [] for one in concept(bank).retrieved})


def test_the_seeds_of_a_rejected_photo_are_dropped(archive, bank, caplog):
    photo = concept(bank).retrieved[0]
    moved = again(archive, bank, {photo.path: [(1, 1)]})
    rejected = again(archive, moved, reject=[photo.path])
    assert concept(rejected).corrections == ()
    assert f"The seeds set by hand in {photo.path} are dropped" in caplog.text


def test_what_cannot_be_set_is_refused(archive, bank):
    inside = concept(bank).retrieved[0].path
    with pytest.raises(RecosegError, match=r"'grass' was not learnt from a photo 'nothing.png'"):
        again(archive, bank, {"nothing.png": [(0, 0)]})
    with pytest.raises(RecosegError, match=f"outside of the photo, which has {SIZE} x {SIZE}"):
        again(archive, bank, {inside: [(SIZE, 0)]})
    with pytest.raises(RecosegError, match="as pairs of whole numbers"):
        again(archive, bank, {inside: [(0.5, 1)]})
    with pytest.raises(RecosegError, match=r"one class at a time: .* got rose, grass"):
        again(archive, bank, {inside: [(0, 0)]}, names=("rose", "grass"))
    with pytest.raises(RecosegError, match="only be set for a class that is learnt again"):
        recoseg.learn(archive, ["rose"], encoders=make_encoders(), seeds={"a.jpg": []}, **SETTINGS)
    shared = recoseg.learn(archive, ["sky"], encoders=make_encoders(), **SETTINGS)
    photo = concept(shared, "sky").retrieved[0].path
    with pytest.raises(ConceptError, match="shares the references of the context class 'sky'"):
        again(archive, shared, {photo: [(0, 0)]}, names=("sky",))


def test_seeds_as_the_command_line_gives_them():
    placed = ["a/b.jpg:3,4", "a/b.jpg:10,0", "s3://x/c.jpg:1,2", "d.jpg:found"]
    assert read_seeds(placed, ["e:1.jpg"]) == {
        "a/b.jpg": [(3, 4), (10, 0)],
        "s3://x/c.jpg": [(1, 2)],
        "d.jpg": None,
        "e:1.jpg": [],
    }
    for text in ("a.jpg", "a.jpg:", "a.jpg:1", "a.jpg:-1,2", "a.jpg:1.5,2", ":1,2"):
        with pytest.raises(RecosegError, match="Expected a seed as PHOTO:X,Y"):
            read_seeds([text], [])
    for placed, dropped in ((["a:1,2", "a:found"], []), (["a:1,2"], ["a"])):
        with pytest.raises(RecosegError, match="are both set"):
            read_seeds(placed, dropped)


def test_inspect_shows_seeds_set_by_hand(archive, bank, tmp_path):
    path = concept(bank).retrieved[0].path
    other = concept(bank).retrieved[1].path
    moved = again(archive, bank, {path: [(1, 2), (30, 40)], other: []})
    moved.save(tmp_path / "bank.safetensors")
    told = run("inspect", tmp_path / "bank.safetensors").out
    assert f"seeds of grass set by hand in {path}: 1,2 and 30,40" in told
    assert f"seeds of grass set by hand in {other}: none" in told
    as_json = json.loads(run("inspect", tmp_path / "bank.safetensors", "--json").out)
    [found] = [one for one in as_json["concepts"] if one["words"]["name"] == "grass"]
    assert found["corrections"][0]["pixels"] == [[1, 2], [30, 40]]


def test_seeds_on_the_command_line(bank, archive, tmp_path, monkeypatch):
    """The same bank as in Python; what cannot be set ends the run and leaves the bank as it was."""
    monkeypatch.setattr("recoseg.pipeline.learn.choose_encoders", lambda *_: {})
    monkeypatch.setattr("recoseg.pipeline.learn.load_encoders", lambda **_: make_encoders())
    index = Path(concept(bank).retrieved[0].path).parents[1] / "index"
    moved, dropped = (Path(photo.path).name for photo in concept(bank).retrieved[:2])
    out = tmp_path / "bank.safetensors"
    bank.save(out)
    before = out.read_bytes()
    classes = tmp_path / "classes.txt"
    classes.write_text("grass\n", encoding="utf-8")
    command = ["learn", index, "--classes", classes, "--add-to", out, "--out", out, "--relearn"]
    for options, message in (
        (["--seed-at", moved], f"Expected a seed as PHOTO:X,Y, .* got '{moved}'"),
        (["--seed-at", f"{moved}:9000,1"], "lies outside of the photo"),
        (["--drop-seed", "nothing.png"], "was not learnt from a photo 'nothing.png'"),
    ):
        refused = run(*command, *options)
        assert refused.code != 0
        assert re.search(message, " ".join((refused.out + refused.err).split()))
        assert "Traceback" not in refused.err
        assert out.read_bytes() == before
    done = run(*command, "--seed-at", f"{moved}:1,2", "--drop-seed", dropped)
    assert done.code == 0, done.err
    expected = again(archive, bank, {moved: [(1, 2)], dropped: []})
    found = ConceptBank.load(out)
    assert_same_references(concept(found), concept(expected))
    assert concept(found).corrections == concept(expected).corrections
