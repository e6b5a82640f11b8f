"""Photo and mask stay together, and every number is the recipe's."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from recoseg.photos.images import to_tensor
from recoseg.training.augment import FILL, Rescale, augment, build_transform, mixed_seed
from recoseg.training.data import StreamPositions, TrainingStream, photo_at
from recoseg.training.recipe import Augmentation, recipe
from tests.training.runs import blocks, write_pairs

PLAIN = {"jitter_p": 0.0, "blur_p": 0.0}


def test_the_papers_augmentations_in_order():
    short, centre, scale, crop, flip, jitter, blur = build_transform(
        recipe("paper").augmentation
    ).transforms
    assert isinstance(short, Rescale)
    assert short.short_side == 320
    assert isinstance(centre, v2.CenterCrop)
    assert tuple(centre.size) == (320, 320)
    assert isinstance(scale, Rescale)
    assert scale.scale == (0.5, 2.0)
    assert isinstance(crop, v2.RandomCrop)
    assert tuple(crop.size) == (320, 320)
    assert isinstance(flip, v2.RandomHorizontalFlip)
    assert flip.p == 0.5
    assert jitter.p == 0.8
    [colours] = jitter.transforms
    assert isinstance(colours, v2.ColorJitter)
    assert tuple(colours.brightness) == pytest.approx((0.2, 1.8))
    assert tuple(colours.contrast) == pytest.approx((0.2, 1.8))
    assert tuple(colours.saturation) == pytest.approx((0.2, 1.8))
    assert tuple(colours.hue) == pytest.approx((-0.2, 0.2))
    assert blur.p == 0.5
    [gauss] = blur.transforms
    assert isinstance(gauss, v2.GaussianBlur)
    assert tuple(gauss.kernel_size) == (33, 33)
    assert tuple(gauss.sigma) == (0.1, 2.0)


def applied(settings, image, labels, seed):
    masks = torch.from_numpy(np.stack([labels, labels]))
    pixels, found = augment(build_transform(settings), to_tensor(image), masks, seed)
    assert pixels.dtype == found.dtype == torch.uint8
    assert pixels.shape[1:] == found.shape[1:] == (settings.crop, settings.crop)
    assert torch.equal(found[0], found[1])
    return pixels.permute(1, 2, 0).numpy(), found[0].numpy()


@pytest.mark.parametrize("seed", range(12))
def test_photo_and_mask_stay_aligned(seed):
    # Photo and masks both say where each pixel comes from: x in red and in the first mask, y in
    # green and in the second.
    y, x = np.mgrid[:150, :230].astype(np.uint8)
    photo = Image.fromarray(np.stack([x, y, np.zeros_like(x)], axis=-1))
    settings = Augmentation(
        short_side=150, crop=128, scale=(0.6, 1.9), centre_crop=seed % 2 == 0, **PLAIN
    )
    masks = torch.from_numpy(np.stack([x, y]))
    pixels, found = augment(build_transform(settings), to_tensor(photo), masks, seed)
    filled = (found == 255).all(0)
    assert torch.equal(filled, (found == 255).any(0))
    assert (pixels[:, filled] == torch.tensor(FILL)[:, None]).all()
    apart = pixels[:2, ~filled].int() - found[:, ~filled].int()
    assert apart.abs().max() <= 2  # source pixels
    assert (
        apart.float().mean(1).abs().max() <= 0.15
    )  # no shift; torch's plain nearest has up to .33


def test_scales_flips_and_places_vary_as_they_should():
    image, _ = blocks(3, 4, 4, 20)
    ramp = np.arange(80, dtype=np.uint8)[None].repeat(80, 0)
    settings = Augmentation(short_side=80, crop=80, **PLAIN)
    flipped, scales = 0, []
    for seed in range(200):
        _, found = applied(settings, image, ramp, seed)
        row = found[found.shape[0] // 2]
        row = row[row != 255].astype(int)
        flipped += row[0] > row[-1]
        scales.append(len(row) / (abs(row[-1] - row[0]) + 1))
    assert 75 <= flipped <= 125
    assert min(scales) >= 0.48
    assert max(scales) <= 2.1
    assert 1.1 <= np.mean(scales) <= 1.4  # uniform from 0.5 to 2: 1.25


def test_colours_change_and_labels_do_not():
    image, labels = blocks(1)
    loud = Augmentation(short_side=72, crop=64, scale=(1, 1), jitter_p=1.0, blur_p=1.0)
    quiet = Augmentation(short_side=72, crop=64, scale=(1, 1), **PLAIN)
    changed = 0
    for seed in range(5):
        loud_pixels, loud_labels = applied(loud, image, labels, seed)
        quiet_pixels, quiet_labels = applied(quiet, image, labels, seed)
        np.testing.assert_array_equal(loud_labels, quiet_labels)
        changed += not np.array_equal(loud_pixels, quiet_pixels)
    assert changed == 5


def test_augmentation_is_a_function_of_the_seed():
    image, labels = blocks(0)
    before = torch.random.get_rng_state()
    first = applied(Augmentation(short_side=64, crop=64), image, labels, 5)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(3)
    again = applied(Augmentation(short_side=64, crop=64), image, labels, 5)
    other = applied(Augmentation(short_side=64, crop=64), image, labels, 6)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    assert len({mixed_seed(a, b) for a in range(50) for b in range(50)}) == 2500


def test_every_photo_comes_once_before_any_comes_again():
    for epoch in range(3):
        order = [photo_at(position, 7, seed=1) for position in range(7 * epoch, 7 * epoch + 7)]
        assert sorted(order) == list(range(7))
    assert [photo_at(p, 7, 1) for p in range(7)] != [photo_at(p, 7, 1) for p in range(7, 14)]
    assert [photo_at(p, 7, 1) for p in range(7)] != [photo_at(p, 7, 2) for p in range(7)]


def test_the_stream_gives_the_same_whatever_was_read_before(tmp_path):
    photos = write_pairs(tmp_path).photos
    settings = Augmentation(short_side=48, crop=32)
    one, other = (TrainingStream(photos, settings, seed=4) for _ in range(2))
    for place in (9, 2, 5):
        one[place]
    for place in (2, 9):
        a, b = one[place], other[place]
        assert all(torch.equal(a[key], b[key]) for key in a)
        assert a["positions"] == place
    assert one[2]["confidence"].max() == 1


@pytest.mark.parametrize(("parts", "processes"), [(1, 1), (2, 1), (1, 3), (2, 2)])
def test_a_step_has_the_same_photos_however_it_is_divided(parts, processes):
    lists = [list(StreamPositions(3, 12, parts, rank, processes)) for rank in range(processes)]
    for step in range(3):
        own = [
            place
            for part in lists
            for b in part[step * parts : step * parts + parts]
            for place in b
        ]
        assert sorted(own) == list(range(step * 12, step * 12 + 12))
    resumed = StreamPositions(3, 12, parts, 0, processes, start=1)
    assert list(resumed) == lists[0][parts:]
    assert len(resumed) == 3 * parts  # of the whole run
