"""Speed of a segmenter compared with a plain loop over single photos, and its peak memory.

    python benchmarks/segmentation.py PHOTOS --presets lite paper-light=random

The loop follows the paper's section 3.3, photo by photo, with the same encoders at the same
precision: resizing to a short side of 320, both feature maps, cosines, activations, bilinear
up-sampling to the photo's size, fusion, and the best class. The bank is random, since its content
does not change the amount of work. Memory is the peak of a whole process that segments one photo
of 2048 x 1024 into 171 classes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from measuring import alternately, in_a_process, machine, peak_bytes, print_head, print_row
from PIL import Image
from torch import Tensor

from recoseg.allocator import keep_freed_memory
from recoseg.classes import ClassNames
from recoseg.concepts import Concept, ConceptBank
from recoseg.config import PAPER_RECIPE
from recoseg.device import Compute, resolve_compute
from recoseg.encoders.bundle import EncoderInfos
from recoseg.encoders.defaults import default_settings
from recoseg.encoders.encoder_table import build_phi, build_saliency
from recoseg.encoders.presets import preset
from recoseg.encoders.protocols import DenseImageEncoder, DenseTextEncoder
from recoseg.photos.images import decode_image, resize_short_side, to_tensor
from recoseg.segmentation.bank_segmenter import bank_segmenter

CLASSES, MANY = 27, 171


def build(name: str, compute: Compute) -> tuple[DenseImageEncoder, DenseTextEncoder]:
    """Build the dense encoders of a preset; `NAME=random` has random weights."""
    base, _, weights = name.partition("=")
    chosen = preset(base)
    suffix = f"={weights}" if weights else ""
    [phi] = chosen.phi_of(PAPER_RECIPE)
    return build_phi(phi + suffix, compute), build_saliency(chosen.saliency + suffix, compute)


def random_bank(phi: DenseImageEncoder, saliency: DenseTextEncoder, classes: int) -> ConceptBank:
    """A bank with random unit vectors as references and text embeddings."""
    torch.manual_seed(0)
    concepts = tuple(
        Concept(
            ClassNames(f"class {number}", (f"class {number}",)),
            "class",
            {phi.info.key: F.normalize(torch.randn(1, phi.info.dim), dim=1)},
            F.normalize(torch.randn(1, saliency.info.dim), dim=1),
            torch.zeros(0, saliency.info.dim),
        )
        for number in range(classes)
    )
    encoders = EncoderInfos(saliency.info, saliency.info, (phi.info,))
    settings = default_settings(saliency.info, phi.info, PAPER_RECIPE)
    return ConceptBank(concepts, encoders, settings)


def plain(
    path: Path, bank: ConceptBank, phi: DenseImageEncoder, saliency: DenseTextEncoder
) -> np.ndarray:
    """Segment one photo by the plain loop."""
    image = decode_image(path)
    settings = bank.settings.segment
    pixels = to_tensor(resize_short_side(image, settings.short_side))[None]
    h, w = pixels.shape[-2:]
    maps = []
    for encoder, rows in (
        (phi, [concept.references[phi.info.key][0] for concept in bank.classes]),
        (saliency, [concept.text_positive[0] for concept in bank.classes]),
    ):
        features = F.normalize(encoder.features(pixels), dim=1)
        maps.append(torch.einsum("ncyx,kc->nkyx", features, torch.stack(rows)))
    visual, text = maps
    fusion = settings.fusion
    if fusion.form == "product":
        visual = torch.sigmoid(fusion.visual_scale * visual)
        text = torch.sigmoid(fusion.text_scale * text)
    visual, text = (grow(scores, encoder.info.stride, (h, w), image.size[::-1])
                    for scores, encoder in ((visual, phi), (text, saliency)))  # fmt: skip
    fused = visual * text if fusion.form == "product" else visual + fusion.text_weight * text
    return fused[0].argmax(0).numpy()


def grow(scores: Tensor, stride: int, input_hw: tuple[int, int], photo_hw: tuple[int, int]):
    """Up-sample scores to the padded input, remove the padding, and resize to the photo's size."""
    whole = (scores.shape[2] * stride, scores.shape[3] * stride)
    scores = F.interpolate(scores, size=whole, mode="bilinear")[:, :, : input_hw[0], : input_hw[1]]
    return F.interpolate(scores, size=photo_hw, mode="bilinear")


def print_peak(name: str, compute: Compute) -> None:
    """Segment one large photo and measure the peak memory of this process, MB."""
    phi, saliency = build(name, compute)
    bank = random_bank(phi, saliency, MANY)
    pixels = np.random.default_rng(0).integers(0, 256, (1024, 2048, 3), np.uint8)
    bank_segmenter(bank, phi=phi, saliency=saliency)(Image.fromarray(pixels))
    print(peak_bytes() / 1e6)


def main() -> None:
    """Print one row for each preset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, nargs="?", help="folder of photos")
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--presets", nargs="+", default=["lite", "paper-light=random"])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    compute = resolve_compute("cpu", options.precision)
    if options.peak:
        print_peak(options.peak, compute)
        return
    paths = sorted(path for path in options.photos.rglob("*.jpg"))[: options.count]
    print(f"{machine(options.threads)}, {compute.precision}\n")
    print(f"{len(paths)} photos at short side 320, {CLASSES} classes\n")
    print_head(
        ("preset", "photos/s", "plain loop", "ratio", "labels alike", "peak MB, 171 classes")
    )
    for name in options.presets:
        phi, saliency = build(name, compute)
        bank = random_bank(phi, saliency, CLASSES)
        segmenter = bank_segmenter(bank, phi=phi, saliency=saliency)
        results: dict[str, list[np.ndarray]] = {}

        def ours(segmenter=segmenter, results=results):
            results["ours"] = [found.labels for found in segmenter(paths)]

        def theirs(bank=bank, phi=phi, saliency=saliency, results=results):
            results["plain"] = [plain(path, bank, phi, saliency) for path in paths]

        rates = [len(paths) / s for s in alternately((ours, theirs), options.repeats)]
        pairs = zip(results["ours"], results["plain"], strict=True)
        alike = np.mean([(mine == other).mean() for mine, other in pairs])
        peak = in_a_process(__file__, "--peak", name, "--threads", options.threads)
        figures = (f"{rates[0]:.1f}", f"{rates[1]:.1f}", f"{rates[0] / rates[1]:.2f}")
        print_row((name, *figures, f"{alike:.2%}", f"{peak:.0f}"))


if __name__ == "__main__":
    main()
