"""The fsspec file system of a path or URL."""

from __future__ import annotations

import re
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from recoseg.errors import ArchiveError, MissingExtraError, RecosegError
from recoseg.storage.reading import why

SCHEMES = {"file", "http", "https", "s3", "gs", "az", "hf"}
"""The schemes of URLs that are opened.

Lists and indexes come from strangers, and fsspec has schemes that run commands or follow further
URLs. Add a scheme to allow it: `SCHEMES.add("ssh")`.
"""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_EXTRAS = {"s3": ("s3fs", "s3")}
_REASONS = {
    "NoCredentialsError": (
        "there are no credentials for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
        "AWS_PROFILE to the name of a profile"
    ),
    "NonHttpUrlRedirectClientError": (
        "the server leads on to an address that is not one of the web, which is not followed"
    ),
    "ClientConnectorError": "the server refuses the connection or does not answer",
    "RecursionError": "its folders or links lead deeper and deeper",
}
"""Reasons in plain words for errors by type, whose own texts say little or are no sentences."""

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
    url = scheme + url[len(scheme) :]  # fsspec knows schemes in lower case only
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
        raise ArchiveError(
            f"Cannot read {url}: {reason_of(error)}. Check the spelling of the URL and the "
            "access to it."
        ) from error
    return fs, path


def reason_of(error: BaseException) -> str:
    """Why a file cannot be read, whatever its file system has raised, in one line."""
    plain = _REASONS.get(type(error).__name__)
    if plain is not None:
        return plain
    cause = connection_error(error)
    if cause is not None and cause is not error:
        return reason_of(cause)
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return " ".join(str(error).split()) if isinstance(error, RecosegError) else why(error)


def connection_error(error: BaseException) -> BaseException | None:
    """The failed connection for which fsspec has raised that there is no such file, if it is one.

    Args:
        error: What a file system has raised.
    """
    cause = error.__cause__
    if not isinstance(error, FileNotFoundError) or isinstance(cause, FileNotFoundError):
        return None
    is_known = isinstance(cause, OSError) or type(cause).__name__ in _REASONS
    return cause if is_known else None
