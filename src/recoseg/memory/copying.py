"""A copy of a region memory, without the paths of its photos where these are not to be shared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from recoseg.encoders.protocols import EncoderInfo
from recoseg.memory.layout import RegionRows, write_shard
from recoseg.memory.region_memory import RegionMemory
from recoseg.photos.refs import Photo
from recoseg.progress import track


def copy_memory(
    memory: RegionMemory, out: Path, *, keep_paths: bool = True, progress: bool | None = False
) -> Mapping[str, tuple[str, ...]]:
    """Write a memory into an empty folder, shard by shard; regions and their order are the same.

    Args:
        memory: The memory.
        out: The folder; it is created.
        keep_paths: Whether the copy has the paths of photos and of weights files, and the stamps
            of stored regions, which hold names of files. Without them photos keep the hash of
            their content.
        progress: See `StageProgress`.

    Returns:
        The paths that the memory records, each once, by what they are paths of.
    """
    summary = memory.summary()
    photos: dict[str, None] = {}
    shards = track(
        memory.shard_rows(), "Copying", total=summary.shards, unit="shards", enabled=progress
    )
    for number, rows in enumerate(shards):
        photos |= dict.fromkeys(photo.path for photo in rows.photos if photo.path)
        write_shard(out, number, rows if keep_paths else _without_paths(rows), None)
    manifest = replace(
        memory.manifest, photos=summary.photos, regions=summary.regions, shards=summary.shards
    )
    if not keep_paths:
        manifest = replace(manifest, phi=_unnamed(manifest.phi), texts=_unnamed(manifest.texts))
    manifest.save(out)
    weights = dict.fromkeys(info.file for info in (*summary.phi, *summary.texts) if info.file)
    found = {"photos": tuple(photos), "weights files": tuple(weights)}
    return {what: paths for what, paths in found.items() if paths}


def _without_paths(rows: RegionRows) -> RegionRows:
    photos = tuple(
        Photo("", size=photo.size, width=photo.width, height=photo.height) for photo in rows.photos
    )
    return replace(rows, photos=photos, stamps=())


def _unnamed(infos: tuple[EncoderInfo, ...]) -> tuple[EncoderInfo, ...]:
    return tuple(replace(info, file="") for info in infos)
