"""The fsspec file system of a path or URL."""

from __future__ import annotations

import re
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from recoseg.errors import ArchiveError, MissingExtraError

SCHEMES = {"file", "http", "https", "s3", "gs", "az", "hf"}
"""The schemes of URLs that are opened.

Lists and indexes come from strangers, and fsspec has schemes that run commands or follow further
URLs. Add a scheme to allow it: `SCHEMES.add("ssh")`.
"""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_EXTRAS = {"s3": ("s3fs", "s3")}
_PACKAGES = {"gs": "gcsfs", "az": "adlfs", "http": "aiohttp", "https": "aiohttp"}


def is_url(path: str) -> bool:
    """Whether a text is a URL rather than a local path, whose name may hold `::` or a colon."""
    return "://" in path


def file_system(url: str) -> tuple[Any, str]:
    """Find the fsspec file system of a local path or a URL.

    A text without `://` is a local path, whatever else it holds. URLs have one of the `SCHEMES`;
    `::` in them has no meaning, so that no URL leads to another one.

    Returns:
        The file system, and the path within it.

    Raises:
        MissingExtraError: The URL is on S3, and s3fs is not installed.
        ArchiveError: The scheme is not allowed, the package that it needs is not installed, or the
            service refuses the URL.
    """
    if not is_url(url):
        return LocalFileSystem(), LocalFileSystem._strip_protocol(url)
    found = _SCHEME.match(url)
    scheme = found[1].lower() if found else ""
    url = scheme + url[len(scheme) :]
    if scheme not in SCHEMES:
        raise ArchiveError(
            f"Cannot read {url}: expected a URL that begins with "
            f"{', '.join(f'{name}://' for name in sorted(SCHEMES))}, or a local path."
        )
    try:  # not by `fsspec.url_to_fs`, which follows chains
        kind = fsspec.get_filesystem_class(scheme)
        fs = kind(**kind._get_kwargs_from_urls(url))
        path: str = kind._strip_protocol(url)
    except ImportError as error:
        if scheme in _EXTRAS:
            package, extra = _EXTRAS[scheme]
            raise MissingExtraError(package, extra, f"Reading {url}") from error
        hint = f" Install it with: pip install {_PACKAGES[scheme]}" if scheme in _PACKAGES else ""
        raise ArchiveError(f"Cannot read {url}: {error}.{hint}") from error
    except Exception as error:  # each file system raises its own types of errors
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ArchiveError(
            f"Cannot read {url}: {reason}. Check the spelling of the URL and the access to it."
        ) from error
    return fs, path
