"""Small scenes whose colours follow their true classes."""

import torch


def scene(height, width, classes, seed=0, strength=1.0):
    """A noisy photo, probabilities that are often wrong, and the truth.

    Stripes of one class each, and a disc of the next class in the middle. Sizes should be primes.
    """
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    truth = x * classes // width
    disc = (y - height / 2) ** 2 + (x - width / 2) ** 2 < (height / 4) ** 2
    truth = torch.where(disc, (truth + 1) % classes, truth)
    noise = 3 * torch.randn(3, height, width, generator=generator)
    image = (60 + 40 * truth + noise).clamp(0, 255).to(torch.uint8)
    scores = torch.randn(classes, height, width, generator=generator)
    scores += strength * torch.nn.functional.one_hot(truth, classes).permute(2, 0, 1)
    return image, scores.softmax(0), truth


def accuracy(probs, truth):
    return (probs.argmax(0) == truth).float().mean().item()
