"""Measures equal slow versions of their definitions and tell pictures of each kind apart."""

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import uniform_filter1d

from recoseg.curation.pixel_measures import (
    ALIKE,
    brightness,
    contrast,
    correlation,
    drawn_share,
    measure_pixels,
    sharpness,
    thumbnail,
)
from tests.curation.pictures import blank, blurred, drawn, sharp


def slow_sharpness(grey):
    """Tile by tile and pixel by pixel."""
    directions = []
    for picture in (grey, grey.T):
        height, width = picture.shape
        shares = []
        again = np.array(
            [np.convolve(np.pad(line, 4, "symmetric"), np.ones(9) / 9, "valid") for line in picture]
        )
        edges = [k * height // 4 for k in range(5)], [k * (width - 1) // 4 for k in range(5)]
        for top, bottom in pairwise(edges[0]):
            for left, right in pairwise(edges[1]):
                total = lost = 0.0
                for y in range(top, bottom):
                    for x in range(left, right):
                        step = abs(float(picture[y, x + 1]) - float(picture[y, x]))
                        total += step
                        lost += max(step - abs(again[y, x + 1] - again[y, x]), 0)
                if total > height * (width - 1) / 16:
                    shares.append(lost / total)
        if shares:
            directions.append(sorted(shares)[-min(2, len(shares))])
    return min(directions, default=1.0)


def slow_drawn_share(pixels):
    colours = {}
    for colour in (pixels // 16).reshape(-1, 3).tolist():
        colours[tuple(colour)] = colours.get(tuple(colour), 0) + 1
    frequent = sum(sorted(colours.values())[-8:]) / (pixels.shape[0] * pixels.shape[1])
    seen = hard = 0
    for y in range(pixels.shape[0]):
        for x in range(pixels.shape[1]):
            for other in ((y + 1, x), (y, x + 1)):
                if other[0] < pixels.shape[0] and other[1] < pixels.shape[1]:
                    step = max(
                        abs(int(a) - int(b))
                        for a, b in zip(pixels[y, x], pixels[other], strict=True)
                    )
                    seen += step > 8
                    hard += step >= 40
    return frequent * hard / seen if seen else 0.0


@pytest.mark.parametrize("make", [sharp, blurred])
def test_equal_slow_versions(make):
    pixels = np.asarray(make(3).resize((37, 53)))
    grey = brightness(pixels)
    assert grey[5, 7] == pytest.approx(np.dot(pixels[5, 7], [0.299, 0.587, 0.114]), rel=1e-6)
    assert sharpness(grey) == pytest.approx(slow_sharpness(grey), rel=1e-4)
    assert drawn_share(pixels) == pytest.approx(slow_drawn_share(pixels), rel=1e-6)
    assert contrast(grey) == pytest.approx(grey.astype(np.float64).std(), rel=1e-5)


def test_pictures_of_each_kind_are_told_apart():
    measures = {
        name: measure_pixels(np.asarray(picture), (640, 480))
        for name, picture in {
            "sharp": sharp(1),
            "blurred": blurred(1),
            "blank": blank(),
            "drawn": drawn(),
        }.items()
    }
    width, height, contrasts, sharp_, drawn_ = np.stack(list(measures.values()), 1)[:5]
    assert (set(width), set(height)) == ({640}, {480})
    assert [value < 8 for value in contrasts] == [False, False, True, False]
    assert [value < 0.55 for value in sharp_] == [False, True, False, False]
    assert [value > 0.33 for value in drawn_] == [False, False, False, True]


def test_a_shaken_photo_and_a_blurred_background():
    picture = np.asarray(sharp(2), np.float32)
    shaken = uniform_filter1d(picture, 15, axis=1).astype(np.uint8)
    assert sharpness(brightness(shaken)) < 0.55 < sharpness(brightness(picture.astype(np.uint8)))
    background = np.array(blurred(2))
    assert sharpness(brightness(background)) < 0.55
    background[40:120, 48:144] = picture[40:120, 48:144].astype(np.uint8)
    assert sharpness(brightness(background)) > 0.55


def test_thumbnails_know_copies_again():
    photo = sharp(4)
    thumbnails = [
        thumbnail(brightness(np.asarray(picture)))
        for picture in (
            photo,
            photo.resize((90, 77)),
            photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
            sharp(5),
            Image.new("RGB", (64, 64), "red"),
        )
    ]
    first = brightness(np.asarray(photo))
    assert thumbnails[0][2, 3] == pytest.approx(first[40:60, 72:96].mean(), rel=1e-4)
    found = [correlation(thumbnails[0], other) for other in thumbnails]
    assert [value > ALIKE for value in found] == [True, True, True, False, False]
    assert found[3] == pytest.approx(
        max(
            np.corrcoef(thumbnails[0].ravel(), other.ravel())[0, 1]
            for other in (thumbnails[3], thumbnails[3][:, ::-1])
        ),
        abs=1e-5,
    )
    assert not correlation(thumbnails[0], thumbnails[0] * np.nan) > ALIKE


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (3, 2)])
def test_pictures_of_few_pixels(size):
    values = measure_pixels(np.asarray(Image.new("RGB", size, "red")), size)
    assert values[:5].tolist() == [*size, 0, 1, 0]
    assert values[5:] == pytest.approx(np.full(64, 76.245), rel=1e-4)
