"""Tensors and their metadata in one safetensors file with a checksum."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from recoseg.errors import FileError
from recoseg.storage.atomic import write_atomically
from recoseg.storage.reading import parse_json, read_bytes, read_start

MAX_TENSORS = 4 << 30
"""Maximum size of a file of tensors, bytes (4 GiB)."""

NORM_TOLERANCE = 0.01
"""How far the norm of a row may be from 1; it may have been computed in half precision."""

_LENGTH = 8  # bytes of a header's length, before the header
_ALIGNED = 8  # bytes: tensors begin at a multiple of this
_LONGEST_HEADER = 100_000_000  # bytes, as in the library
_CHECKSUM = "checksum"
_HEX = re.compile("[0-9a-f]{32}")  # nothing else in the metadata looks like a checksum


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file in one step; its metadata gets a checksum of all it holds.

    Equal tensors and metadata give equal files: the library writes metadata in any order.

    Args:
        path: The file.
        tensors: The tensors by name.
        metadata: All else, as texts by name.
    """
    stored = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    data = memoryview(save(stored, {**metadata, _CHECKSUM: _digest(stored, metadata)}))
    end = _LENGTH + int.from_bytes(data[:_LENGTH], "little")
    header = json.loads(bytes(data[_LENGTH:end]))
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNED)

    def write(file: IO[bytes]) -> None:
        file.write(len(text).to_bytes(_LENGTH, "little") + text)
        file.write(data[end:])

    write_atomically(path, write)


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file, without its checksum; the tensors are not read.

    Raises:
        MissingFileError: There is no such file.
        FileError: It is damaged or not a safetensors file.
    """
    metadata = _metadata(path, _read_header(path))
    metadata.pop(_CHECKSUM, None)
    return metadata


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file, and check its checksum if it has one.

    The file is read in one go, so that it may be replaced by another one at any time.

    Returns:
        The tensors and the metadata, each by name.

    Raises:
        MissingFileError: There is no such file.
        FileError: It is damaged or not a safetensors file.
    """
    data = read_bytes(path, MAX_TENSORS)
    metadata = _metadata(path, data)
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, TypeError, LookupError, RuntimeError) as error:
        raise _damaged(path, error) from error
    expected = metadata.pop(_CHECKSUM, None)
    if expected is None and any(map(_HEX.fullmatch, metadata.values())):
        raise FileError(f"{path} is damaged: its checksum has another name.")
    if expected is not None and _digest(tensors, metadata) != expected:
        raise FileError(f"{path} is damaged: its content does not have the checksum {expected}.")
    return tensors, metadata


def has_checksum(path: Path) -> bool:
    """Whether a safetensors file records a checksum; files of early versions do not.

    Raises:
        FileError: It is missing, damaged or not a safetensors file.
    """
    return _CHECKSUM in _metadata(path, _read_header(path))


def check_unit_rows(rows: Tensor, dim: int, least: int, what: str) -> None:
    """Refuse a tensor from a file unless it holds L2-normalised rows.

    Args:
        rows: The tensor, of any shape and type.
        dim: Expected length of a row.
        least: Minimum number of rows.
        what: What it is, for messages.

    Raises:
        FileError: It is not fp32 of shape (n, dim) with n >= least, or the norm of a row is not 1.
    """
    shape = tuple(rows.shape)
    if rows.dtype != torch.float32 or shape[1:] != (dim,) or shape[0] < least:
        raise FileError(
            f"expected {what} as fp32 of shape ({least} or more, {dim}), got {rows.dtype} of "
            f"shape {shape}"
        )
    norms = torch.linalg.vector_norm(rows, dim=1)
    if not ((norms - 1).abs() <= NORM_TOLERANCE).all():  # false for NaN too
        raise FileError(f"expected {what} with rows of norm 1, got other norms")


def _read_header(path: Path) -> bytes:
    """The beginning of a file with its whole header, if it has one."""
    length = 1 << 16
    while True:  # in each round the file may be another one
        data = read_start(path, length)
        needed = _LENGTH + min(int.from_bytes(data[:_LENGTH], "little"), _LONGEST_HEADER)
        if needed <= length or len(data) < length:
            return data
        length = needed


def _metadata(path: Path, data: bytes) -> dict[str, str]:
    """The metadata in the header: the length of a JSON object in 8 bytes, and the object."""
    length = int.from_bytes(data[:_LENGTH], "little")
    if len(data) < _LENGTH or not 0 < length <= min(len(data) - _LENGTH, _LONGEST_HEADER):
        raise _damaged(path, "its header is longer than the file")
    try:
        header = parse_json(data[_LENGTH : _LENGTH + length].decode(), "its header")
    except (UnicodeDecodeError, FileError) as error:
        raise _damaged(path, error) from error
    metadata = header.get("__metadata__") or {}
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _damaged(path, "its metadata are no texts")
    return metadata


def _damaged(path: Path, reason: object) -> FileError:
    text = str(reason)[:500].removesuffix(".")
    return FileError(f"{path} is damaged or not a safetensors file ({text}).")


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """BLAKE2b of 128 bits of names, shapes, types and bytes, 32 hex digits."""
    digest = hashlib.blake2b(digest_size=16)

    def add(*parts: bytes) -> None:
        for part in parts:  # with lengths, so that no two contents give the same bytes
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)

    for name in sorted(metadata):
        add(name.encode(), metadata[name].encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        add(name.encode(), repr((tuple(tensor.shape), tensor.dtype)).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
