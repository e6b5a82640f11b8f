"""Co-segmentation alone, on groups of photos of one subject; each group is an archive.

For each group, the reference is learnt from all its photos without text or context. Then the
cosine with the reference is up-sampled, thresholded, and compared with the subject's mask. The
threshold is Otsu's for each photo, the one that is best over all photos, or the best for each photo
(an upper bound). Data: `images/<group>/<id>.jpg` and `masks/<group>/<id>.png` with 255 for the
subject.

    python benchmarks/groups.py --data FOLDER --phi timm:deit_tiny_patch16_224=FILE
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from recoseg.allocator import keep_freed_memory
from recoseg.cosegmentation import cosegment, distinctive, mend_outliers
from recoseg.device import resolve_compute
from recoseg.encoders.defaults import default_settings
from recoseg.encoders.encoder_table import build_phi
from recoseg.encoders.protocols import DenseImageEncoder
from recoseg.learning.seed_regions import regions_of_photos, seed_regions
from recoseg.photos.images import center_crop, decode_image, resize_short_side, to_tensor
from recoseg.segmentation.scores import visual_scores
from recoseg.segmentation.upsample import Upsampler

BINS = np.linspace(-1, 1, 257)
MIDDLES = (BINS[1:] + BINS[:-1]) / 2


def otsu(similarity: np.ndarray) -> float:
    """Otsu's threshold, which maximises the variance between the values below and above it."""
    counts, _ = np.histogram(similarity, BINS)
    share = counts / counts.sum()
    below = share.cumsum()
    mean = (share * MIDDLES).cumsum()
    between = (mean[-1] * below - mean) ** 2 / np.maximum(below * (1 - below), 1e-12)
    return float(MIDDLES[between.argmax()])


def iou_by_threshold(similarity: np.ndarray, subject: np.ndarray) -> np.ndarray:
    """IoU of `similarity > t` with the subject, for every inner edge of the bins."""
    inside, _ = np.histogram(similarity[subject], BINS)
    outside, _ = np.histogram(similarity[~subject], BINS)
    hits = inside[::-1].cumsum()[::-1][1:]
    false = outside[::-1].cumsum()[::-1][1:]
    return hits / np.maximum(subject.sum() + false, 1)


def similarities(
    group: Path,
    phi: DenseImageEncoder,
    learn_side: int,
    side: int,
    border: int,
    blocks: list[str],
    *,
    mend: bool,
    regions: str,
) -> dict[str, list[np.ndarray]]:
    """Cosine with the group's reference at every pixel of every photo, for each block mode."""
    photos = [decode_image(path) for path in sorted(group.glob("*.jpg"))]
    crops = [to_tensor(center_crop(resize_short_side(p, learn_side), learn_side)) for p in photos]
    features = torch.cat([phi.features(part) for part in torch.stack(crops).split(16)])
    if mend:
        features = mend_outliers(features)
    provider = seed_regions(regions)
    references = {
        block: cosegment(
            features,
            block=block,
            border=border,
            compared=distinctive(features) if mend else None,
            regions=None if provider is None else regions_of_photos(provider, [features])[0],
        ).reference
        for block in blocks
    }
    maps: dict[str, list[np.ndarray]] = {block: [] for block in blocks}
    for photo in photos:
        pixels = to_tensor(resize_short_side(photo, side))
        scores = visual_scores(phi.features(pixels[None]), [r[None] for r in references.values()])
        grid, size = scores.shape[2:], (photo.height, photo.width)
        up = Upsampler.build(
            (grid[0], grid[1]), phi.info.stride, (pixels.shape[1], pixels.shape[2]), size
        )
        for block, whole in zip(blocks, up.strip(scores[0], 0, size[0]), strict=True):
            maps[block].append(whole.numpy())
    return maps


def main() -> None:
    """Print one row for each block mode."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--phi", default="lite")
    parser.add_argument("--learn-side", type=int, default=224)
    parser.add_argument("--side", type=int, default=320)
    parser.add_argument("--mend", action="store_true")
    parser.add_argument("--regions", default="")
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    keep_freed_memory()
    phi = build_phi(given.phi, resolve_compute(given.device))
    border = default_settings(phi.info, phi.info).learn.border
    blocks = ["image", "paper"]
    found: dict[str, list[tuple[float, np.ndarray]]] = {block: [] for block in blocks}
    groups = sorted(path for path in (given.data / "images").iterdir() if path.is_dir())
    for group in groups:
        maps = similarities(
            group,
            phi,
            given.learn_side,
            given.side,
            border,
            blocks,
            mend=given.mend,
            regions=given.regions,
        )
        masks = [
            np.asarray(Image.open(path)) > 127
            for path in sorted((given.data / "masks" / group.name).glob("*.png"))
        ]
        for block in blocks:
            for similarity, subject in zip(maps[block], masks, strict=True):
                cut = similarity > otsu(similarity)
                overlap = (cut & subject).sum() / max((cut | subject).sum(), 1)
                found[block].append((float(overlap), iou_by_threshold(similarity, subject)))
    print(f"{given.phi.split('=')[0]}, {len(groups)} groups, {len(found['image'])} photos")
    print(f"{'block':8s} {'Otsu':>6s} {'one for all':>12s} {'best per photo':>15s}")
    for block in blocks:
        curves = np.stack([curve for _, curve in found[block]])
        means = curves.mean(0)
        best = BINS[1:-1][means.argmax()]
        one = f"{means.max():.3f} ({best:.2f})"
        automatic = np.mean([overlap for overlap, _ in found[block]])
        print(f"{block:8s} {automatic:6.3f} {one:>12s} {curves.max(1).mean():15.3f}")


if __name__ == "__main__":
    main()
