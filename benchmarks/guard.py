"""Whether a change has made something slower: a few ratios, compared with stored ones.

    python benchmarks/guard.py [--store] [--only NAME ...]

Each row times recoseg and a peer in turns, in one process, so that the ratio depends little on the
machine and on what else it does. The peer is the literal formula, a bare product or a bare forward
pass. A ratio that is more than a fifth below the stored one is named, after a second measurement,
and the exit code is 1 then. `--store` writes the ratios to `ratios.json`, with the machine. Ratios
of other machines are compared as well, but say less.

No model, photo or network is needed beyond the packages of `pip install '.[demo]'`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

STORED = Path(__file__).with_name("ratios.json")
FALL = 0.2
"""The largest part of a ratio that may be lost without a word."""

Runs = tuple[Callable[[], object], Callable[[], object]]
"""What recoseg does, and what the peer does."""


@contextmanager
def cosegmentation() -> Iterator[Runs]:
    """Against the literal formula: 24 photos of 224 pixels, with weights."""
    import torch

    from cosegmentation import CHANNELS, literal
    from recoseg.cosegmentation import cosegment

    features, weights = torch.randn(24, CHANNELS, 14, 14), torch.rand(24, 14, 14)
    yield partial(cosegment, features, weights), partial(literal, features, weights)


@contextmanager
def pamr() -> Iterator[Runs]:
    """Against one step of the formula by `unfold`: 9 classes, 320 pixels."""
    from recoseg.refinement.pamr import pamr as ours
    from refinement import literal_pamr, scene

    photos, probs = scene(1, 9, 320)
    yield partial(ours, probs, photos), partial(literal_pamr, probs, photos, 1)


@contextmanager
def encoding() -> Iterator[Runs]:
    """DeiT-S in batches, at the precision of this machine, against fp32 photo by photo."""
    from contextlib import nullcontext
    from unittest.mock import patch

    import torch

    from recoseg.device import resolve_compute
    from recoseg.encoders.encoder_table import build_phi

    photos = torch.randint(0, 256, (8, 3, 224, 224), dtype=torch.uint8)
    batched, single = (
        build_phi("deit-s16-sin=random", resolve_compute("cpu", precision))
        for precision in ("auto", "fp32")
    )

    def one_by_one() -> None:
        with patch("recoseg.device.OneDnnProducts", nullcontext):
            for photo in photos:
                single.features(photo[None])

    yield partial(batched.features, photos), one_by_one


@contextmanager
def indexing() -> Iterator[Runs]:
    """`lite`, from files to the index, against the bare forward pass."""
    import torch
    from PIL import Image

    from recoseg.device import resolve_compute
    from recoseg.encoders.encoder_table import build_retrieval
    from recoseg.pipeline.index import build_index

    compute = resolve_compute("cpu")
    encoder = build_retrieval("lite", compute)
    size = encoder.frame.size
    batch = torch.randint(0, 256, (64, 3, size, size), dtype=torch.uint8)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "photos").mkdir()
        for number in range(128):
            smooth = torch.randint(0, 256, (6, 8, 3), dtype=torch.uint8).numpy()
            image = Image.fromarray(smooth).resize((480, 360), Image.Resampling.BICUBIC)
            image.save(folder / "photos" / f"{number}.jpg")
        times = iter(range(1000))

        def ours() -> None:
            build_index(
                folder / "photos",
                folder / f"index{next(times)}",
                retrieval=encoder,
                precision=compute.precision,
                batch_size=64,
            )

        yield ours, lambda: [encoder.embed_images(batch) for _ in range(2)]


@contextmanager
def segmenting() -> Iterator[Runs]:
    """`lite`, 27 classes, 320 pixels, against a plain loop over single photos."""
    from recoseg.demo import package_photos
    from recoseg.device import resolve_compute
    from recoseg.segmentation.bank_segmenter import bank_segmenter
    from segmentation import CLASSES, build, plain, random_bank

    phi, saliency = build("lite", resolve_compute("cpu"))
    bank = random_bank(phi, saliency, CLASSES)
    segmenter = bank_segmenter(bank, phi=phi, saliency=saliency)
    paths = [path for path in package_photos() if path.suffix == ".jpg"]
    yield (
        lambda: list(segmenter(paths)),
        lambda: [plain(path, bank, phi, saliency) for path in paths],
    )


@contextmanager
def searching() -> Iterator[Runs]:
    """30 classes among 200,000 stored rows, against one read and the bare products."""
    from search import multiply, ours, read, write_vectors

    rows, dim, classes = 200_000, 512, 30
    with tempfile.TemporaryDirectory() as place:
        write_vectors(Path(place), rows, dim)
        yield (
            partial(ours, Path(place), dim, classes, 50),
            lambda: (read(Path(place)), multiply(rows, dim, classes)),
        )


@contextmanager
def regions() -> Iterator[Runs]:
    """100 regions among 100,000 remembered ones, against one product in bf16."""
    import torch

    from memory import product, search, vectors

    stored, wanted = vectors(100_000, 384, 1).half(), vectors(100, 384, 2)
    rows = stored.numpy()
    yield partial(search, rows, wanted), partial(product, rows, wanted, torch.bfloat16)


ROWS = (cosegmentation, pamr, encoding, indexing, segmenting, searching, regions)


def measure(row: Callable[[], object], repeats: int) -> float:
    """How many times as fast as its peer recoseg is; below 1 where the peer is the floor."""
    from measuring import alternately

    with row() as (ours, theirs):
        ours(), theirs()
        mine, others = alternately((ours, theirs), repeats)
    return others / mine


def fallen(found: Mapping[str, float], stored: Mapping[str, float]) -> list[str]:
    """Names of the ratios that are more than `FALL` below the stored ones."""
    return [name for name, ratio in found.items() if ratio < (1 - FALL) * stored.get(name, 0.0)]


def main() -> int:
    """Print the table; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", action="store_true")
    parser.add_argument("--only", nargs="+", choices=[row.__name__ for row in ROWS])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    from recoseg.allocator import keep_freed_memory
    from recoseg.cores import share_cores

    keep_freed_memory()
    share_cores()
    import torch
    from measuring import machine, print_head, print_row

    torch.manual_seed(0)
    here = machine(torch.get_num_threads())
    kept = json.loads(STORED.read_text()) if STORED.exists() else {"machine": "", "ratios": {}}
    print(f"{here}\nstored: {kept['machine'] or 'nothing yet'}\n")
    print_head(("what", "times as fast as its peer", "stored", "peer"))
    rows = {row.__name__: row for row in ROWS if row.__name__ in (options.only or [row.__name__])}
    found: dict[str, float] = {}
    for name, row in rows.items():
        found[name] = measure(row, options.repeats)
        if fallen({name: found[name]}, kept["ratios"]) and not options.store:
            found[name] = max(found[name], measure(row, 2 * options.repeats))
        stored = kept["ratios"].get(name)
        before = "-" if stored is None else f"{stored:.2f}"
        print_row((name, f"{found[name]:.2f}", before, (row.__doc__ or "").rstrip(".")))
    if options.store:
        ratios = kept["ratios"] | {name: round(ratio, 3) for name, ratio in found.items()}
        STORED.write_text(json.dumps({"machine": here, "ratios": ratios}, indent=2) + "\n")
        return 0
    slower = fallen(found, kept["ratios"])
    for name in slower:
        print(f"\n{name}: {found[name]:.2f}, was {kept['ratios'][name]:.2f}: slower by a fifth.")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
