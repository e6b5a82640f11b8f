"""The supplement's Algorithm 1 written out, with loops and the whole adjacency matrix."""

import torch


def literal_cosegment(features, weights=None, seeds_per_image=1, block="image", normalise=False):
    """Support (k, h, w), seeds (k, s, 2) and reference (C,) according to the pseudo-code."""
    k, _, h, w = features.shape
    rows = []
    for image in range(k):
        for y in range(h):
            for x in range(w):
                vector = features[image, :, y, x]
                rows.append(vector / vector.pow(2).sum().sqrt())
    flat = torch.stack(rows)
    adjacency = flat @ flat.T
    if weights is not None:
        adjacency = adjacency * weights.reshape(1, -1)
    n = k * h * w
    grid = torch.zeros(n, k)
    start = 0
    for i in range(k):
        end = start + h * w
        columns = adjacency[:, start:end] if block == "image" else adjacency[:, start : start + end]
        grid[:, i] = columns.max(dim=1).values
        start = end
    average = grid.mean(dim=1)
    seeds, seed_features = [], []
    for i in range(k):
        scores = average[i * h * w : (i + 1) * h * w].tolist()
        best = sorted(range(h * w), key=lambda cell: (-scores[cell], cell))[:seeds_per_image]
        seeds.append([[cell // w, cell % w] for cell in best])
        for cell in best:
            vector = features[i, :, cell // w, cell % w]
            seed_features.append(vector / vector.norm() if normalise else vector)
    mean = torch.stack(seed_features).mean(0)
    return average.view(k, h, w), torch.tensor(seeds), mean / mean.norm()
