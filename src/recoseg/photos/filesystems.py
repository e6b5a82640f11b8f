"""The fsspec file system of a path or URL."""

from __future__ import annotations

from typing import Any

import fsspec

from recoseg.errors import ArchiveError, MissingExtraError


def file_system(url: str) -> tuple[Any, str]:
    """Find the fsspec file system of a local path or a URL.

    Returns:
        The file system, and the path within it.

    Raises:
        MissingExtraError: The URL is on S3, and s3fs is not installed.
        ArchiveError: The protocol is unknown, or the package that it needs is not installed.
    """
    try:
        fs, path = fsspec.url_to_fs(url)
    except ImportError as error:
        if url.startswith(("s3://", "s3a://")):
            raise MissingExtraError("s3fs", "s3", f"Reading {url}") from error
        raise ArchiveError(f"Cannot read {url}: {error}.") from error
    except ValueError as error:
        raise ArchiveError(f"Cannot read {url}: {error}. Check the spelling of the URL.") from error
    return fs, path
