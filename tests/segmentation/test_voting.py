"""Regions that vote, compared with a slow mean and mode of each region."""

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from recoseg.config import Fusion
from recoseg.errors import BadImageError, RecosegError, UnknownNameError
from recoseg.photos.load import load_whole
from recoseg.photos.refs import Photo
from recoseg.pipeline.segment import open_segmenter, segment
from recoseg.regions.cache import CachedRegions
from recoseg.regions.clusters import ClusterRegions
from recoseg.regions.providers import provider_of
from recoseg.segmentation import label_maps, voting
from recoseg.segmentation.bank_segmenter import bank_segmenter
from recoseg.segmentation.score_grids import score_grids
from recoseg.segmentation.voting import Voting

from .fakes import ColourEncoder, Stripes, make_bank
from .test_bank_segmenter import PHI, TEXT, noise


def made(vote=None, provider=None, **options):
    options = {"phi": ColourEncoder(PHI), "saliency": ColourEncoder(TEXT)} | options
    chosen = None if vote is None else Voting(provider or Stripes(), vote)
    return bank_segmenter(make_bank(), voting=chosen, **options)


def slow_mean(scores, regions):
    voted = scores.astype(np.float64)
    for number in range(1, regions.max() + 1):
        for one in voted:
            one[regions == number] = one[regions == number].mean()
    return voted


@pytest.mark.parametrize("vote", [None, "mean"])
def test_a_part_is_labelled_as_it_is_within_the_whole(vote):
    own = made(vote, refine="none", background_threshold=0.31)
    item = load_whole(noise(1, 48, 64), 0)
    [grids] = score_grids(item.pixels[None], [own.branches], own.plan)
    regions = None if vote is None else own.labeller.voting.regions(item, [])
    [whole] = own.labeller.label([item], grids)
    part = own.labeller.label_within(item, grids, regions, slice(5, 40), slice(7, 64))
    assert np.array_equal(part.labels, whole.labels[5:40, 7:])
    assert len(np.unique(part.labels)) >= 3


@pytest.mark.parametrize("form", ["product", "sum", "visual"])
@pytest.mark.parametrize("size", [(48, 64), (37, 53)])
def test_means_equal_those_of_each_region(form, size, monkeypatch):
    five_rows = partial(label_maps.score_strips, max_elements=3 * size[1] * 5)
    monkeypatch.setattr(voting, "score_strips", five_rows)
    pixels, options = noise(1, *size), {"fusion": Fusion(form), "keep_scores": True, "resize": 30}
    plain, voted = made(**options)(pixels), made("mean", **options)(pixels)
    regions = Stripes().regions(None, torch.from_numpy(pixels).permute(2, 0, 1)).numpy()
    expected = slow_mean(plain.scores, regions)
    np.testing.assert_allclose(voted.scores, expected, atol=2e-3)  # kept in fp16
    for number in range(1, 4):
        assert len(np.unique(voted.labels[regions == number])) == 1
    np.testing.assert_array_equal(voted.labels[regions == 0], plain.labels[regions == 0])


@pytest.mark.parametrize("refine", [None, "pamr"])
def test_the_mode_is_the_most_frequent_label(refine):
    pixels, options = noise(2, 40, 60), {"background_threshold": 0.42, "refine": refine}
    plain, voted = made(**options)(pixels).labels, made("mode", **options)(pixels).labels
    regions = Stripes().regions(None, torch.zeros(3, 40, 60)).numpy()
    for number in range(1, 4):
        [label] = np.unique(voted[regions == number])
        assert label == np.bincount(plain[regions == number]).argmax()
    np.testing.assert_array_equal(voted[regions == 0], plain[regions == 0])
    assert voted.dtype == plain.dtype


def test_means_come_before_refinement():
    pixels = noise(3, 40, 60)
    voted = made("mean", refine="pamr", keep_scores=True)(pixels)
    again = made("mean", keep_scores=True)(pixels)
    np.testing.assert_array_equal(voted.scores, again.scores)
    assert (voted.labels != again.labels).any(), "refinement moves edges of regions"


@pytest.mark.parametrize("windows", [{}, {"window": 24, "window_step": 12}])
def test_clusters_of_features_vote_for_cells(windows):
    height, width = (36, 48) if windows else (37, 50)  # windows of whole cells, or no windows
    pixels = noise(4, height, width)
    provider = ClusterRegions(3, least=1)
    found = made("mean", provider, fusion=Fusion("text"), keep_scores=True, **windows)(pixels)
    plain = made(fusion=Fusion("text"), keep_scores=True, **windows)(pixels)
    image = torch.from_numpy(pixels).permute(2, 0, 1)
    grid = provider.regions(None, image, [ColourEncoder(PHI).features(image[None])[0]]).numpy()
    regions = grid.repeat(PHI, 0).repeat(PHI, 1)[:height, :width]
    np.testing.assert_allclose(found.scores, slow_mean(plain.scores, regions), atol=3e-3)


def test_without_regions_settings_are_as_they_were():
    assert not {"regions", "vote", "memory"} & set(made().settings)
    assert "memory_weight" not in made().settings["fusion"]
    assert "lposs" not in made().settings["refine"]
    voted = made("mode").settings
    assert (voted["regions"], voted["vote"]) == ("stripes", "mode")
    with pytest.raises(UnknownNameError, match="Unknown vote 'median'"):
        made("median")


def test_a_photo_without_masks_is_left_out_and_the_others_go_on(tmp_path):
    (tmp_path / "masks").mkdir()
    for name in "ab":
        Image.fromarray(noise(5, 24, 36)).save(tmp_path / f"{name}.png")
    Image.fromarray(np.full((24, 36), 7, np.uint8)).save(tmp_path / "masks" / "b.png")
    made_with = made("mean", provider_of(f"files:{tmp_path / 'masks'}"))
    first, second = made_with.stream([tmp_path / "a.png", tmp_path / "b.png"])
    assert "No masks of a.png were found" in first.failure
    assert len(np.unique(second.labels)) == 1
    with pytest.raises(BadImageError, match="No masks of a photo without a name were found in"):
        made_with(noise(5, 24, 36))


def test_regions_are_kept_in_a_cache(tmp_path):
    provider, pixels = Stripes(), noise(6, 24, 36)
    options = {"phi": ColourEncoder(PHI), "saliency": ColourEncoder(TEXT), "regions": provider}
    opened = open_segmenter(make_bank(), region_cache=tmp_path / "kept", **options)
    first, again = opened(pixels), opened(pixels)
    assert provider.calls == 1
    np.testing.assert_array_equal(first.labels, again.labels)
    opened(pixels[::-1].copy())
    assert provider.calls == 2
    with pytest.raises(RecosegError, match="--vote, --region-cache would have no effect"):
        open_segmenter(make_bank(), vote="mode", region_cache=tmp_path)


def test_a_folder_is_continued_with_the_same_regions_only(tmp_path):
    (tmp_path / "photos").mkdir()
    Image.fromarray(noise(7, 24, 36)).save(tmp_path / "photos" / "a.png")
    options = {"phi": ColourEncoder(PHI), "saliency": ColourEncoder(TEXT)}
    run = {"photos": tmp_path / "photos", "out": tmp_path / "out"}
    segment(make_bank(), **run, regions="superpixels:min=20", **options)
    again = segment(make_bank(), **run, regions="superpixels:min=20", resume=True, **options)
    assert again.photos == 1
    assert not again.failures
    with pytest.raises(RecosegError, match=r"other settings \(regions\)"):
        segment(make_bank(), **run, regions="superpixels", resume=True, **options)
    with pytest.raises(RecosegError, match=r"other settings \(regions, vote\)"):
        segment(make_bank(), **run, resume=True, **options)


def test_photos_whose_masks_have_changed_are_segmented_again(tmp_path):
    for name in ("a", "b", "c"):
        Image.fromarray(noise(1, 20, 30)).save(tmp_path / f"{name}.png")
    stored = tmp_path / "stored"
    stored.mkdir()

    def store(name, column):
        labels = np.ones((20, 30), np.uint8)
        labels[:, column:] = 2
        Image.fromarray(labels).save(stored / f"{name}.png")

    def run(**options):
        made_again = []
        photos = [tmp_path / f"{name}.png" for name in "abc"]
        phi, saliency = ColourEncoder(PHI), ColourEncoder(TEXT)
        segment(
            make_bank(),
            photos,
            tmp_path / "out",
            phi=phi,
            saliency=saliency,
            regions=f"files:{stored}",
            region_cache=tmp_path / "cache",
            callback=lambda name, _: made_again.append(name),
            **options,
        )
        return made_again

    for name in "abc":
        store(name, 10)
    assert run() == ["a", "b", "c"]
    assert run(resume=True) == []
    store("b", 17)
    before = (tmp_path / "out/labels/b.png").read_bytes()
    assert run(resume=True) == ["b"]
    assert (tmp_path / "out/labels/b.png").read_bytes() != before
    assert run(resume=True) == []


def test_regions_that_the_photo_decides_leave_its_stamp_as_it_is():
    photo = Photo("a.png", stamp="1-2")
    for provider in (Stripes(), provider_of("superpixels")):
        cached = CachedRegions(provider, None)
        assert Voting(provider).stamp(photo) == Voting(cached).stamp(photo) == ""
