"""Checking an index whole: every file's checksum, every embedding, every table."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from recoseg.archive.layout import (
    FOLDERS,
    Shard,
    marker_paths,
    read_failures,
    read_marker,
    shard_files,
    shard_number,
    valid_shards,
)
from recoseg.archive.manifest import Manifest
from recoseg.archive.rows import map_rows, wrong_rows
from recoseg.archive.shards import foreign_shards
from recoseg.archive.tables import METADATA, read_table
from recoseg.errors import RecosegError
from recoseg.photos.folder_files import files_of
from recoseg.progress import StageProgress
from recoseg.storage.checksums import check_file
from recoseg.storage.counts import count_of
from recoseg.storage.sealed import read_sealed
from recoseg.storage.verification import Verification

_RECORD_BYTES = 1 << 16


@dataclass
class _Findings:
    """What was found so far."""

    checked: int = 0
    unchecked: int = 0
    problems: list[str] = field(default_factory=list)

    def count(self, has_checksum: bool) -> None:
        self.checked += has_checksum
        self.unchecked += not has_checksum

    def note(self, error: RecosegError) -> None:
        self.problems.append(" ".join(str(error).split()))


def verify_index(root: Path, progress: bool | None = False) -> Verification:
    """Read every file of an index and compare it with what was recorded when it was written.

    Checksums are compared where they were recorded; early versions recorded none, and
    clip-retrieval does not. Embeddings must be finite and L2-normalised, tables must have the
    recorded number of rows and their columns, and every file must belong to a shard. Memory holds
    one shard's tables and a block of embeddings.

    Args:
        root: Folder of the index.
        progress: See `StageProgress`.

    Returns:
        The number of files and the problems that were found; no problem ends the check early.
    """
    found = _Findings()
    try:
        manifest = Manifest.load_checked(root)
        if manifest is None:
            _check_foreign(root, found)
        else:
            found.count(manifest[1])
            _check_own(root, manifest[0], found, progress)
    except RecosegError as error:
        found.note(error)
    return Verification("index", found.checked, found.unchecked, tuple(found.problems))


def _check_own(root: Path, manifest: Manifest, found: _Findings, progress: bool | None) -> None:
    markers = []
    for path in marker_paths(root):
        try:
            marker, has_checksum = read_marker(path)
            markers.append(marker)
            found.count(has_checksum)
        except RecosegError as error:
            found.count(True)
            found.note(error)
    shards, replaced = valid_shards(markers)
    with StageProgress("Verifying", len(shards), enabled=progress) as bar:
        for shard in shards:
            before = len(found.problems)
            _check_shard(root, shard, manifest.encoder.dim, found)
            bar.advance(failed=int(len(found.problems) > before))
    known = {shard.number for shard in markers} | set(replaced)
    for folder in FOLDERS[:-1]:
        for path in sorted((root / folder).glob(f"{folder}_*")):
            number = shard_number(path.name)
            if number >= 0 and number not in known:
                found.problems.append(
                    f"{path} belongs to no finished shard. Delete it, unless a run is writing."
                )
    for record in files_of(root / "approximate", "*.json"):
        _check_recorded(record, found)


def _check_shard(root: Path, shard: Shard, dim: int, found: _Findings) -> None:
    array, metadata, _, _ = shard_files(root, shard.number)
    sums = shard.checksums
    if shard.photos:
        found.count(bool(sums.embeddings))
        try:
            if sums.embeddings:
                check_file(array, sums.embeddings)
            wrong = wrong_rows(map_rows(array, dim, shard.photos))
            if wrong:
                found.problems.append(
                    f"{array} has {count_of(len(wrong), 'rows')} of another length than 1, such "
                    f"as row {wrong[0]:,}."
                )
        except RecosegError as error:
            found.note(error)
        found.count(bool(sums.metadata))
        try:
            read_table(metadata, METADATA, shard.photos, recorded=sums.metadata)
        except RecosegError as error:
            found.note(error)
    if shard.failures:
        found.count(bool(sums.failures))
        try:
            read_failures(root, shard)
        except RecosegError as error:
            found.note(error)


def _check_foreign(root: Path, found: _Findings) -> None:
    """Check a folder of clip-retrieval, whose embeddings are all checked when it is opened."""
    for shard in foreign_shards(root, str(root)):
        found.unchecked += 2
        try:
            read_table(shard.metadata, {"image_path": METADATA["image_path"]}, len(shard.rows))
        except RecosegError as error:
            found.note(error)


def _check_recorded(record: Path, found: _Findings) -> None:
    """Check a faiss index whose checksum is in the JSON file beside it."""
    found.count(True)
    try:
        recorded = read_sealed(record, _RECORD_BYTES)[0].get("file")
        if isinstance(recorded, str):
            check_file(record.with_suffix(".faiss"), recorded)
            found.count(True)
    except RecosegError as error:
        found.note(error)
