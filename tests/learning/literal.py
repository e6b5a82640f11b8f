"""Learning a list of classes as described in the paper: slow, and without code of recoseg."""

import numpy as np
import torch
from PIL import Image

from tests.cosegmentation.literal import literal_cosegment


def unit(vector):
    return vector / vector.norm()


def sigmoid(value):
    return 1 / (1 + torch.exp(-value))


def embed(encoder, word, templates):
    """Embeddings of the templates, normalised, averaged and normalised again."""
    rows = [unit(encoder.embed_texts([t.replace("{}", word)])[0]) for t in templates]
    return unit(torch.stack(rows).mean(0))


def combine(positives, negatives):
    best = max(positives)
    return best - max(0.0, max(negatives) - best) if negatives else best


def bilinear(grid, height, width):
    """Up-sample (gh, gw) with corners not aligned."""
    gh, gw = grid.shape
    out = torch.zeros(height, width)
    for y in range(height):
        for x in range(width):
            sy = min(max((y + 0.5) * gh / height - 0.5, 0), gh - 1)
            sx = min(max((x + 0.5) * gw / width - 0.5, 0), gw - 1)
            y0, x0 = int(sy), int(sx)
            y1, x1 = min(y0 + 1, gh - 1), min(x0 + 1, gw - 1)
            fy, fx = sy - y0, sx - x0
            top = grid[y0, x0] * (1 - fx) + grid[y0, x1] * fx
            bottom = grid[y1, x0] * (1 - fx) + grid[y1, x1] * fx
            out[y, x] = top * (1 - fy) + bottom * fy
    return out


def literal_learn(paths, classes, context, encoders, k, templates, guidance=True, size=48):
    """Compute references by (role, name), and the retrieved paths.

    `classes` holds (name, positive words, negative words); `context` holds names.
    """
    photos = []
    for path in paths:
        pixels = np.array(Image.open(path).convert("RGB"))
        top, left = (pixels.shape[0] - size) // 2, (pixels.shape[1] - size) // 2
        crop = pixels[top : top + size, left : left + size]
        photos.append(torch.from_numpy(crop.copy()).permute(2, 0, 1)[None])
    rows = [encoders.retrieval.embed_images(photo)[0].half().float() for photo in photos]
    tasks = [("context", name, [name], []) for name in context]
    tasks += [("class", *item) for item in classes]
    references, retrieved, eliminated = {}, {}, []
    for role, name, positives, negatives in tasks:
        if role == "class" and ("context", name) in references:
            references[role, name] = references["context", name]
            continue
        queries = [
            [embed(encoders.retrieval, word, templates) for word in words]
            for words in (positives, negatives)
        ]
        scores = [
            combine([float(row @ q) for q in queries[0]], [float(row @ q) for q in queries[1]])
            for row in rows
        ]
        best = sorted(range(len(rows)), key=lambda at: (-scores[at], at))[:k]
        retrieved[role, name] = [paths[at] for at in best]
        features = torch.stack([encoders.phi[0].features(photos[at])[0] for at in best])
        _, _, height, width = features.shape
        weights = torch.ones(len(best), height, width)
        if guidance:
            words = [
                [embed(encoders.saliency, word, templates) for word in group]
                for group in (positives, negatives)
            ]
            for row, at in enumerate(best):
                patches = encoders.saliency.features(photos[at])[0]
                grid = torch.zeros(patches.shape[1:])
                for y in range(grid.shape[0]):
                    for x in range(grid.shape[1]):
                        patch = unit(patches[:, y, x])
                        cosines = [[float(patch @ word) for word in group] for group in words]
                        grid[y, x] = sigmoid(torch.tensor(10 * combine(*cosines)))
                weights[row] *= bilinear(grid, height, width)
        for row in range(len(best)):
            for y in range(height):
                for x in range(width):
                    for other in eliminated:
                        cosine = unit(features[row, :, y, x]) @ unit(other)
                        weights[row, y, x] *= 1 - sigmoid(cosine)
        _, _, reference = literal_cosegment(features, weights)
        references[role, name] = reference
        if role == "context":
            eliminated.append(reference)
    return references, retrieved
