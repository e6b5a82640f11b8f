"""The file system of a path or URL."""

from __future__ import annotations

from typing import Any

import fsspec

from recoseg.errors import ArchiveError, MissingExtraError


def file_system(url: str) -> tuple[Any, str]:
    """What fsspec has for a local path or a URL.

    Returns:
        The file system, and the path in it.

    Raises:
        MissingExtraError: The URL is one of S3, and s3fs is not installed.
        ArchiveError: There is no such kind of URL, or the package that it needs is absent.
    """
    try:
        fs, path = fsspec.url_to_fs(url)
    except ImportError as error:
        if url.startswith(("s3://", "s3a://")):
            raise MissingExtraError("s3fs", "s3", f"Reading {url}") from error
        raise ArchiveError(f"Cannot read {url}: {error}.") from error
    except ValueError as error:
        raise ArchiveError(f"Cannot read {url}: {error}. Is the URL spelt right?") from error
    return fs, path
