"""Building a region memory of an index, merging memories (`recoseg remember`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from recoseg.allocator import keep_freed_memory
from recoseg.archive.index import ArchiveIndex
from recoseg.device import Compute, resolve_compute
from recoseg.encoders.bundle import Encoders, check_needs
from recoseg.encoders.encoder_table import build_phi, build_saliency, with_default_form
from recoseg.encoders.licences import tell_licences_of
from recoseg.encoders.presets import preset as preset_of
from recoseg.encoders.protocols import DenseImageEncoder, DenseTextEncoder, EncoderInfo
from recoseg.errors import OptionError
from recoseg.executors import Executor, LocalExecutor
from recoseg.memory.build import write_memory
from recoseg.memory.layout import read_shards
from recoseg.memory.region_memory import RegionMemory
from recoseg.memory.worker import RegionWorker
from recoseg.photos.refs import Photo
from recoseg.pipeline.checks import check_encoder
from recoseg.pipeline.index import open_index
from recoseg.progress import telling_what_is_kept
from recoseg.regions.protocol import RegionProvider, StoredRegions
from recoseg.regions.providers import provider_of
from recoseg.storage.counts import count_of

SMALLEST = 16
"""Smallest side of the centre crop, pixels."""

Phi = str | EncoderInfo | DenseImageEncoder
Saliency = str | EncoderInfo | DenseTextEncoder


def remember(
    index: ArchiveIndex | str | Path,
    out: str | Path,
    *,
    encoders: Encoders | None = None,
    phi: Phi | Sequence[Phi] | None = None,
    saliency: Saliency | Sequence[Saliency] | None = None,
    regions: str | RegionProvider = "clusters",
    size: int = 224,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int = 32,
    threads: int | None = None,
    shard_size: int = 512,
    prune: bool = False,
    executor: Executor | None = None,
    progress: bool | None = False,
) -> RegionMemory:
    """Describe the regions of an archive's photos; call it again to continue or to add photos.

    Each photo is divided into regions. A region has a key for each phi encoder, which says what it
    looks like, and a value for each text encoder, which says what words it fits. No class names are
    needed, so that one memory serves every concept bank.

    Args:
        index: The index, or its path or URL. Photos that its selection leaves out are not
            described.
        out: Local folder of the memory; it is created, continued or updated.
        encoders: Encoders that are loaded already, for what is not given by `phi` and `saliency`.
        phi: The dense image encoder, or several. By default that of the index's preset.
        saliency: The dense text encoder, or several. By default that of the index's preset. Those
            that need another encoder's features, such as `ViT-B/16/proxy`, get the first phi's.
        regions: What divides photos into regions, such as `clusters` or `superpixels`; see
            `provider_of`.
        size: Side of the centre crop, to which the short side is resized, pixels.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        batch_size: Photos per forward pass.
        threads: Threads that read and decode photos. By default one per processor, at most 16.
        shard_size: Maximum number of photos per shard. If a run is killed, only its unfinished
            shards are lost.
        prune: Whether to remove photos that are no longer in the index or its selection.
        executor: Executor that runs the work. By default photos are described in this process.
        progress: See `StageProgress`.

    Returns:
        The memory; its `report` describes what this run did. Regions of photos that are not in the
        index or its selection are never found.

    Raises:
        ArchiveError: The index was not found, or `out` cannot be written to.
        EncoderMismatchError: The memory was made with other encoders, regions, size or precision.
        OutputError: The folder holds something else, or another process is writing to it.
        RecosegError: The size is too small, or there is no such encoder or way to find regions.
    """
    if size < SMALLEST:
        raise OptionError(f"size is {size}; expected {SMALLEST} or more.")
    archive = index if isinstance(index, ArchiveIndex) else open_index(index)
    preset = preset_of(archive.preset or "lite")
    chosen_phi = _several(phi) or (list(encoders.phi) if encoders else list(preset.phi))
    chosen_texts = _several(saliency) or [encoders.saliency if encoders else preset.saliency]
    chosen_texts = [with_default_form(t) if isinstance(t, str) else t for t in chosen_texts]
    for spec in chosen_phi:
        check_encoder(spec, "phi")
    for spec in chosen_texts:
        check_encoder(spec, "saliency")
    given = encoders.compute.precision if encoders and encoders.compute else precision
    with telling_what_is_kept(partial(_kept, Path(out))):
        report = write_memory(
            archive,
            out,
            partial(
                region_worker,
                chosen_phi,
                chosen_texts,
                regions,
                size=size,
                device=device,
                precision=given,
                batch_size=batch_size,
                threads=threads,
            ),
            executor or LocalExecutor(),
            shard_size=shard_size,
            prune=prune,
            stamp=_stamp(regions),
            progress=progress,
        )
    memory = RegionMemory.open(os.fspath(out), index=archive)
    memory.report = report
    tell_licences_of((*memory.manifest.phi, *memory.manifest.texts))
    return memory


def _kept(folder: Path) -> str:
    regions = sum(shard.regions for shard in read_shards(folder)[0])
    return f"{folder} keeps {count_of(regions, 'regions')}; run the same command again to go on."


def region_worker(
    phi: Sequence[Phi],
    texts: Sequence[Saliency],
    regions: str | RegionProvider,
    *,
    size: int,
    device: str,
    precision: str,
    batch_size: int,
    threads: int | None,
) -> RegionWorker:
    """Build a worker that describes regions, with its encoders, in the process that calls this.

    Raises:
        RecosegError: There is no such encoder or way to find regions, or weights are missing.
    """
    compute = resolve_compute(device, precision)
    if any(isinstance(spec, str | EncoderInfo) for spec in (*phi, *texts)):
        keep_freed_memory()
    built_phi = [
        build_phi(spec, compute) if isinstance(spec, str | EncoderInfo) else spec for spec in phi
    ]
    built_texts = [
        build_saliency(spec, compute, built_phi[0].info)
        if isinstance(spec, str | EncoderInfo)
        else spec
        for spec in texts
    ]
    for text in built_texts:
        check_needs(text, [encoder.info for encoder in built_phi])
    return RegionWorker(
        built_phi,
        built_texts,
        _provider(regions, compute),
        size=size,
        precision=compute.precision,
        batch_size=batch_size,
        threads=threads,
    )


def _stamp(regions: str | RegionProvider) -> Callable[[Photo], str] | None:
    """What tells that stored regions of a photo have changed; None if regions are computed."""
    is_of_files = isinstance(regions, str) and regions.partition(":")[0] == "files"
    provider = provider_of(str(regions)) if is_of_files else regions
    return provider.stamp if isinstance(provider, StoredRegions) else None


def _provider(regions: str | RegionProvider, compute: Compute) -> RegionProvider:
    return provider_of(regions, compute) if isinstance(regions, str) else regions


def _several(given: Any) -> list[Any]:
    """The encoders as a list, which is empty if none are given."""
    if given is None:
        return []
    return list(given) if isinstance(given, list | tuple) else [given]
