import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from recoseg.errors import RecosegError
from recoseg.refinement import lposs as module
from recoseg.refinement import neighbours
from recoseg.refinement.lposs import (
    LpossSettings,
    lposs,
    lposs_pixels,
    patch_centres,
    patch_weights,
    solve,
)
from tests import fixtures

EXACT = LpossSettings(steps=400, tolerance=1e-9)
"""Steps until nothing changes, so that the system is solved and not only approached."""


def patches(count=30, classes=4, seed=0):
    torch.manual_seed(seed)
    return torch.rand(count, classes), torch.randn(count, 7), 40 * torch.rand(count, 2)


def literal_weights(features, positions, near, power=3.0, distance=0.01):
    """W of patches, one by one."""
    unit = features.double().numpy()
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    count = len(unit)
    directed = np.zeros((count, count))
    for i in range(count):
        similar = [float(unit[i] @ unit[j]) for j in range(count)]
        for j in sorted(range(count), key=lambda j: -similar[j])[:near]:
            apart = math.dist(positions[i].tolist(), positions[j].tolist())
            directed[i, j] = max(similar[j], 0) ** power * math.exp(-distance * apart)
    weights = directed + directed.T
    np.fill_diagonal(weights, 0)
    return weights


def dense_solution(weights, scores, alpha=0.95):
    """Z of (I - alpha D^-1/2 W D^-1/2) Z = Y, by elimination."""
    degrees = weights.sum(1)
    scale = np.array([1 / math.sqrt(d) if d > 0 else 0.0 for d in degrees])
    system = np.eye(len(weights)) - alpha * scale[:, None] * weights * scale
    return torch.from_numpy(np.linalg.solve(system, scores.double().numpy())).float()


def lab_of(pixel):
    """Lab of one sRGB pixel by the formulas of CIE, divided by 100, 128 and 128."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in pixel / 255]
    matrix = [
        (0.412453, 0.357580, 0.180423),
        (0.212671, 0.715160, 0.072169),
        (0.019334, 0.119193, 0.950227),
    ]
    white = (0.95047, 1.0, 1.08883)
    roots = []
    for row, level in zip(matrix, white, strict=True):
        part = sum(a * b for a, b in zip(row, linear, strict=True)) / level
        roots.append(part ** (1 / 3) if part > 0.008856 else 7.787 * part + 16 / 116)
    x, y, z = roots
    return np.array([(116 * y - 16) / 100, 500 * (x - y) / 128, 200 * (y - z) / 128])


def literal_pixel_weights(image, square, colour):
    """W of pixels, one by one."""
    _, height, width = image.shape
    places = [(y, x) for y in range(height) for x in range(width)]
    labs = {place: lab_of(image[:, *place].double().numpy()) for place in places}
    weights = np.zeros((len(places), len(places)))
    for i, one in enumerate(places):
        for j, other in enumerate(places):
            apart = max(abs(one[0] - other[0]), abs(one[1] - other[1]))
            if i != j and apart <= square // 2:
                weights[i, j] = math.exp(-np.linalg.norm(labs[one] - labs[other]) / colour)
    return weights


@pytest.mark.parametrize("near", [1, 5, 400])
@pytest.mark.parametrize("chunk", [1 << 24, 50])
def test_weights_of_patches_equal_the_definition(near, chunk, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK_ELEMENTS", chunk)
    _, features, positions = patches()
    weights = patch_weights(features, positions, LpossSettings(neighbours=near))
    expected = literal_weights(features, positions, near)
    np.testing.assert_allclose(weights.to_dense().numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("near", [1, 6, 30])
def test_patches_equal_a_dense_solution(near):
    scores, features, positions = patches()
    refined = lposs(scores, features, positions, replace(EXACT, neighbours=near))
    expected = dense_solution(literal_weights(features, positions, near), scores)
    torch.testing.assert_close(refined, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("hw", "square"), [((5, 7), 3), ((4, 3), 13), ((1, 6), 5)])
@pytest.mark.parametrize("chunk", [1 << 24, 1])
def test_pixels_equal_a_dense_solution(hw, square, chunk, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK_ELEMENTS", chunk)
    monkeypatch.setattr(neighbours, "_STRIP_PIXELS", {"cpu": 2 * hw[1]})
    torch.manual_seed(1)
    image = torch.randint(100, 140, (3, *hw), dtype=torch.uint8)
    scores = torch.rand(3, *hw)
    # Weights of more than one size: a wide scale of colours.
    refined = lposs_pixels(scores, image, replace(EXACT, square=square, colour=0.1))
    weights = literal_pixel_weights(image, square, 0.1)
    expected = dense_solution(weights, scores.flatten(1).T)
    torch.testing.assert_close(refined.flatten(1).T, expected, rtol=1e-5, atol=1e-5)


def test_few_steps_are_those_of_conjugate_gradients():
    scores, features, positions = patches()
    weights = literal_weights(features, positions, 6)
    scale = weights.sum(1) ** -0.5
    system = np.eye(30) - 0.95 * scale[:, None] * weights * scale
    # The estimate after m steps is the vector of y, Ay, ..., A^(m-1) y with the least error in A.
    y = scores[:, 0].double().numpy()
    basis = np.stack([np.linalg.matrix_power(system, power) @ y for power in range(3)], 1)
    best = basis @ np.linalg.solve(basis.T @ system @ basis, basis.T @ y)
    refined = lposs(scores, features, positions, LpossSettings(neighbours=6, steps=3))
    torch.testing.assert_close(refined[:, 0].double(), torch.from_numpy(best), rtol=1e-4, atol=1e-4)


def test_a_class_that_has_converged_stays():
    scores, features, positions = patches()
    scores[:, 1] = 0  # solved before the first step
    refined = lposs(scores, features, positions)
    assert refined[:, 1].eq(0).all()
    alone = lposs(scores[:, :1], features, positions)
    torch.testing.assert_close(refined[:, :1], alone)


def test_without_alpha_nothing_spreads():
    scores, features, positions = patches()
    settings = LpossSettings(alpha=0)
    assert torch.equal(lposs(scores, features, positions, settings), scores)
    kept = solve(lambda x: x, scores, settings)
    assert torch.equal(kept, scores)


def test_a_patch_without_neighbours_keeps_its_scores():
    scores, features, positions = patches(count=9)
    features = torch.eye(9)  # all similarities to others are 0
    assert torch.equal(lposs(scores, features, positions), scores)


def test_centres_by_hand():
    centres = patch_centres((2, 3), 16, (0, 24))
    assert centres.tolist() == [[8, 32], [8, 48], [8, 64], [24, 32], [24, 48], [24, 64]]


@fixtures.needed
def test_equal_to_the_published_code():
    tensors, _ = fixtures.load("lposs")
    boxes = tensors["boxes"].tolist()
    centres = torch.cat([patch_centres((6, 6), 8, (y, x)) for y, _, x, _ in boxes])
    settings = LpossSettings(neighbours=20)
    refined = lposs(tensors["cosines"], tensors["features"], centres, settings)
    torch.testing.assert_close(refined, tensors["expected"], rtol=0, atol=1e-5)
    weights = patch_weights(tensors["features"], centres, settings).to_dense()
    scale = weights.sum(1).rsqrt()
    laplacian = torch.eye(72) - 0.95 * scale[:, None] * weights * scale
    torch.testing.assert_close(laplacian, tensors["expected.dense_laplacian"], rtol=0, atol=1e-6)
    scores = tensors["pixels"].T.reshape(3, 14, 18)
    plus = lposs_pixels(scores, tensors["image"][0], settings).flatten(1).T
    torch.testing.assert_close(plus, tensors["expected.plus"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"neighbours": 0},
        {"steps": 0},
        {"alpha": 1.0},
        {"alpha": -0.1},
        {"square": 4},
        {"square": 1},
        {"power": 0},
        {"colour": float("nan")},
        {"distance": -1},
        {"tolerance": -1},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(RecosegError, match=rf"{next(iter(wrong))} is .*; expected"):
        LpossSettings(**wrong)
