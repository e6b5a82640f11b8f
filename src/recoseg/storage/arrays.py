"""Arrays in NumPy's format that others may have written: checked, then memory-mapped."""

from __future__ import annotations

import errno
import os
import threading
import warnings
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from recoseg.errors import FileError, MissingFileError
from recoseg.storage.reading import NotRegularError, open_regular

_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}

_PARSING = threading.Lock()


@dataclass(frozen=True)
class ArrayHeader:
    """What an array file says about itself; its size on the disk agrees with it.

    Attributes:
        dtype: Type of the numbers.
        shape: Shape of the array.
        offset: Position of the first number, bytes.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int


def parse_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Parse the header of an array, at which the file stands; nothing is unpickled.

    One thread parses at a time. Python's own parser, which NumPy calls, fails now and then in some
    releases if several threads use it at once, and a sound file would be taken for a damaged one;
    nor is it safe in several threads to hide the warnings that a damaged header causes.

    Returns:
        Shape, whether the array is stored column by column, and type.

    Raises:
        Exception: Of many types, if it is no such header.
    """
    with _PARSING, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _READERS[np.lib.format.read_magic(file)](file)


def array_header(path: Path, trailing: int = 0) -> ArrayHeader:
    """Read the header of an array of floating-point numbers; nothing is unpickled.

    Args:
        path: The file.
        trailing: Number of bytes that follow the array.

    Raises:
        MissingFileError: There is no such file.
        FileError: It is no regular file or cannot be read; it is not a single array of float16 or
            float32 in this machine's byte order, row by row; or its size is not that of its shape.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            shape, is_fortran, dtype = parse_header(file)
            offset = file.tell()
    except FileNotFoundError as error:
        raise MissingFileError(f"No file was found at {path}.") from error
    except NotRegularError as error:
        raise FileError(f"{path} is not a regular file.") from error
    except Exception as error:  # the header is parsed as Python, which fails in many ways
        reason = " ".join((getattr(error, "strerror", None) or str(error)).split())[:200]
        raise FileError(
            f"{path} is not a readable array ({reason or type(error).__name__})."
        ) from error
    if dtype not in (np.float16, np.float32) or not dtype.isnative:
        raise FileError(f"{path} holds {dtype} {shape}. Expected float16 or float32.")
    if any(type(side) is not int or side < 0 for side in shape):
        raise FileError(f"{path} is not a readable array (its shape is {shape}).")
    if is_fortran and len(shape) > 1:
        raise FileError(
            f"{path} is stored column by column. Expected row by row: save "
            "numpy.ascontiguousarray(array)."
        )
    expected = offset + prod(shape) * dtype.itemsize + trailing
    if size != expected:
        raise FileError(
            f"{path} is not a readable array (it has {size:,} bytes; expected "
            f"{expected:,} for {dtype} {shape})."
        )
    return ArrayHeader(dtype, shape, offset)


def map_array(
    path: Path, mode: Literal["r", "c"] = "r", trailing: int = 0
) -> tuple[np.ndarray, ArrayHeader]:
    """Memory-map an array; see `array_header` for what is checked and raised.

    Args:
        path: The file.
        mode: `r` for a read-only array, `c` for one whose changes stay in memory. It is read-only
            all the same where the system does not promise memory for all of it, as for a file that
            is larger than the machine's memory.
        trailing: Number of bytes that follow the array.

    Returns:
        The array, which is not mapped if it is empty, and its header.
    """
    header = array_header(path, trailing)
    if not prod(header.shape):
        return np.empty(header.shape, header.dtype), header
    try:
        try:
            mapped = np.memmap(path, header.dtype, mode, header.offset, header.shape)
        except OSError as error:
            if mode == "r" or error.errno != errno.ENOMEM:
                raise
            mapped = np.memmap(path, header.dtype, "r", header.offset, header.shape)
    except (OSError, ValueError) as error:
        raise FileError(f"{path} cannot be read: {error}.") from error
    return mapped, header
