"""Memories of generated photos, by encoders that see colours and regions that are cut by hand."""

import time

import torch
import torch.nn.functional as F

from recoseg.archive.index import ArchiveIndex
from recoseg.executors import LocalExecutor
from recoseg.memory.build import write_memory
from recoseg.memory.region_memory import RegionMemory
from recoseg.memory.worker import RegionWorker
from tests.archive.conftest import make_folder
from tests.archive.fake_encoder import FakeEncoder
from tests.building import build_index
from tests.learning.fakes import SIZE, Phi, Saliency


class Cut:
    """Cuts the 6 x 6 grid into a left half, a right half and a corner, by one of its features."""

    key = "cut"
    needs_features = True

    def regions(self, photo, pixels, features=()):
        labels = torch.zeros(features[0].shape[1:], dtype=torch.int32)
        labels[:, :3], labels[:, 3:5] = 1, 3
        labels[:2, 3:] = 2  # so that two patches belong to none
        labels[5, 0] = 4  # a region that is too small
        darker = features[0][0] < features[0][0].mean()
        labels[3:, 5] = torch.where(darker[3:, 5], 3, 0)
        return labels


def second_phi():
    phi = Phi("d" * 16)
    phi.mix = phi.mix.flip(1)
    return phi


class SlowPhi(Phi):
    def features(self, images):
        time.sleep(0.02 * len(images))
        return super().features(images)


def worker(phi=None, texts=None, provider=None, **options):
    options = {"size": SIZE, "precision": "fp32", "batch_size": 3, "threads": 2} | options
    return RegionWorker(
        phi or [Phi(), second_phi()],
        texts or [Saliency(stride=8), Saliency("e" * 16, stride=8)],
        provider or Cut(),
        **options,
    )


def make_index(root, count=13, first=0):
    """An index of `count` photos below `root`; call it again to add photos."""
    make_folder(root / "photos", count, first)
    build_index([root / "photos"], root / "index", FakeEncoder(), shard_size=4)
    return ArchiveIndex.open(root / "index")


def write(index, out, build=worker, executor=None, **options):
    return write_memory(
        index, out, build, executor or LocalExecutor(), **({"shard_size": 5} | options)
    )


def make_memory(root, count=13, **options):
    write(make_index(root, count), root / "memory", **options)
    return RegionMemory.open(root / "memory")


def files(root):
    """The bytes of every file by name, without the lock."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def contents(memory):
    """Keys and values by photo id."""
    return {
        name: (rows.only(kept).keys.tobytes(), rows.only(kept).values.tobytes())
        for rows in memory.shard_rows()
        for at, name in enumerate(rows.ids)
        for kept in [torch.arange(len(rows.ids)).eq(at).numpy()]
    }


def synthetic(root, regions, phi=(6, 5), texts=(4, 3), photos=10, seed=0, shards=3):
    """A memory of random rows; the rows of keys come back as well, fp64, without the scaling."""
    import numpy as np

    from recoseg.encoders.protocols import EncoderInfo
    from recoseg.memory.layout import RegionRows, write_shard
    from recoseg.memory.manifest import MemoryManifest
    from recoseg.photos.refs import Photo

    generator = torch.Generator().manual_seed(seed)
    infos = [
        tuple(EncoderInfo(f"{role}{n}", "random", "0" * 16, dim, 16) for n, dim in enumerate(dims))
        for role, dims in (("phi", phi), ("text", texts))
    ]

    def unit(count, dims, scale):
        parts = [F.normalize(torch.randn(count, dim, generator=generator), dim=1) for dim in dims]
        return (torch.cat(parts, 1) * scale).half().numpy()

    kept = []
    for number in range(shards):
        counts = np.full(photos, regions // photos // shards)
        total = int(counts.sum())
        keys, values = unit(total, phi, len(phi) ** -0.5), unit(total, texts, 1)
        ids = tuple(f"{number * photos + at:032x}" for at in range(photos))
        rows = RegionRows(
            tuple(Photo(f"{name}.jpg") for name in ids),
            ids,
            counts,
            keys,
            values,
            np.full(total, 0.5, np.float32),
            np.zeros((total, 4), np.float32),
        )
        write_shard(root, number, rows, None)
        kept.append(keys)
    MemoryManifest(*infos, "cut", SIZE, "fp32", "0").save(root)
    return RegionMemory.open(root), torch.from_numpy(np.concatenate(kept)).double()
