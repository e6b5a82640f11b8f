"""The definitions implemented literally, pixel by pixel, in Python and double precision."""

import math

import numpy as np


def neighbours(y, x, height, width, dilation):
    """The 3 x 3 window centred at a pixel; positions are clamped to the image."""
    return [
        (min(max(y + dilation * dy, 0), height - 1), min(max(x + dilation * dx, 0), width - 1))
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    ]


def literal_affinities(image, dilations):
    """Weights (h, w, k) of an image (3, h, w)."""
    _, height, width = image.shape
    weights = np.zeros((height, width, 8 * len(dilations)))
    for y in range(height):
        for x in range(width):
            windows = [neighbours(y, x, height, width, d) for d in dilations]
            logits = []
            for window in windows:
                for place, (ny, nx) in enumerate(window):
                    if place == 4:
                        continue
                    ratios = []
                    for channel in image.astype(np.float64):
                        seen = [channel[py, px] for each in windows for py, px in each]
                        mean = sum(seen) / len(seen)
                        spread = sum((value - mean) ** 2 for value in seen) / (len(seen) - 1)
                        difference = abs(channel[y, x] - channel[ny, nx])
                        ratios.append(difference / (1e-8 + 0.1 * math.sqrt(spread)))
                    logits.append(-sum(ratios) / len(ratios))
            exponentials = [math.exp(logit) for logit in logits]
            weights[y, x] = [value / sum(exponentials) for value in exponentials]
    return weights


def literal_pamr(probs, image, iterations, dilations):
    """Refined maps (c, h, w)."""
    classes, height, width = probs.shape
    weights = literal_affinities(image, dilations)
    probs = probs.astype(np.float64)
    for _ in range(iterations):
        refined = np.zeros_like(probs)
        for y in range(height):
            for x in range(width):
                places = [
                    place
                    for d in dilations
                    for at, place in enumerate(neighbours(y, x, height, width, d))
                    if at != 4
                ]
                for c in range(classes):
                    refined[c, y, x] = sum(
                        weight * probs[c, ny, nx]
                        for weight, (ny, nx) in zip(weights[y, x], places, strict=True)
                    )
        probs = refined
    return probs


def literal_mean_field(probs, image, settings):
    """Mean field of the dense CRF with exact kernels: every pixel sees every pixel.

    The message to pixel i is, summed over both kernels, the compatibility times the sum over j
    (i itself among them) of K_ij q_j / sqrt(n_i n_j), where n_i is the sum of K_ij over j.
    """
    classes, height, width = probs.shape
    unary = -np.log(np.clip(probs.reshape(classes, -1).astype(np.float64), settings.clip, 1))
    y, x = (axis.reshape(-1).astype(np.float64) for axis in np.mgrid[:height, :width])
    colours = image.reshape(3, -1).astype(np.float64)
    near = (y[:, None] - y) ** 2 + (x[:, None] - x) ** 2
    alike = ((colours[:, :, None] - colours[:, None]) ** 2).sum(0)
    kernels = []
    for compat, exponent in (
        (settings.gaussian_compat, near / settings.gaussian_sxy**2),
        (
            settings.bilateral_compat,
            near / settings.bilateral_sxy**2 + alike / settings.bilateral_srgb**2,
        ),
    ):
        kernel = np.exp(-exponent / 2)
        norm = kernel.sum(1) ** -0.5
        kernels.append(compat * norm[:, None] * kernel * norm)
    energy = -unary
    for _ in range(settings.iterations + 1):
        q = np.exp(energy - energy.max(0))
        q /= q.sum(0)
        energy = -unary + sum(q @ kernel for kernel in kernels)
    return q.reshape(classes, height, width)
