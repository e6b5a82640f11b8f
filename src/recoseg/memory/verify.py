"""Checking the files of a region memory against their recorded checksums."""

from __future__ import annotations

from pathlib import Path

from recoseg.errors import ArchiveError, FileError
from recoseg.memory.layout import part_name, read_shards
from recoseg.memory.manifest import MemoryManifest
from recoseg.progress import StageProgress
from recoseg.storage.checksums import check_file
from recoseg.storage.counts import count_of
from recoseg.storage.verification import Verification


def verify_memory(root: Path, progress: bool | None = False) -> Verification:
    """Check every file of a region memory against the checksum that its marker holds.

    Args:
        root: Local folder of the memory.
        progress: See `StageProgress`.

    Returns:
        What was found, manifest and markers included.

    Raises:
        ArchiveError: There is no memory, or its manifest is damaged.
    """
    manifest = MemoryManifest.load(root)
    try:
        shards, _ = read_shards(root)
    except ArchiveError as error:
        return Verification("region memory", 1, 0, (str(error),))
    problems = []
    files = [(part, digest, shard) for shard in shards for part, digest in shard.checksums.items()]
    with StageProgress("Verifying", len(files), unit="files", enabled=progress) as bar:
        for part, digest, shard in files:
            failed = 0
            try:
                check_file(root / part_name(part, shard.number), digest)  # type: ignore[arg-type]
            except FileError as error:
                problems.append(str(error))
                failed = 1
            bar.advance(failed=failed)
    counts = (sum(s.photos for s in shards), sum(s.regions for s in shards), len(shards))
    if counts != (manifest.photos, manifest.regions, manifest.shards):
        problems.append(
            f"{root}: the manifest counts {count_of(manifest.photos, 'photos')} and "
            f"{manifest.regions:,} "
            f"regions in {manifest.shards:,} shards, but there are {counts[0]:,}, {counts[1]:,} "
            f"and {counts[2]:,}. The last run did not end; run `recoseg remember` again."
        )
    return Verification("region memory", len(files) + len(shards) + 1, 0, tuple(problems))
