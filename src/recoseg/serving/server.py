"""Running the web application (`recoseg serve`)."""

from __future__ import annotations

import ipaddress
import logging
import os
import secrets
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from recoseg.archive.index import ArchiveIndex
from recoseg.errors import MissingExtraError, OptionError, OutputError
from recoseg.pipeline.segment import Segmentable
from recoseg.serving.limits import Limits

HOST = "127.0.0.1"
PORT = 8000
_LEAST_TOKEN = 16  # characters


def serve(
    bank: Segmentable,
    index: ArchiveIndex | str | Path | None = None,
    *,
    host: str = HOST,
    port: int = PORT,
    writable: bool = False,
    token: str | None = None,
    hosts: Sequence[str] = (),
    limits: Limits | None = None,
    started: Callable[[str], object] | None = None,
    **options: Any,
) -> None:
    """Serve a bank over HTTP, with a page for browsers, until SIGINT (Ctrl-C) or SIGTERM.

    Then no more connections are accepted, photos that wait are refused, and requests that are being
    worked on are finished.

    Args:
        bank: Concept bank or trained model, or its file.
        index: Index to search and to learn classes from, or its path or URL; None for neither.
        host: Address to listen on. Only programs of this machine reach the default one.
        port: Port to listen on; 0 takes a free one.
        writable: Whether classes may be learnt into the bank's file and removed from it.
        token: Requests have to bear it. By default none is asked for at an address of this machine
            only, and one is made for others.
        hosts: Names of the server besides `host`, `localhost` and addresses in digits.
        limits: How much the server takes on.
        started: Called with the address when the server answers; with a token it ends in `#token=`
            and the token, as the page takes it.
        **options: Options of `make_app`, such as `device`, and of `open_segmenter`.

    Raises:
        MissingExtraError: A package of the extra `serve` is not installed.
        OptionError: The token is too short.
        OutputError: The address cannot be listened on.
        RecosegError: See `make_app`.
    """
    if token is None and not is_local(host):
        token = secrets.token_urlsafe(24)
    if token is not None and len(token) < _LEAST_TOKEN:
        raise OptionError(
            f"The token has {len(token)} characters, which can be guessed. Expected "
            f"{_LEAST_TOKEN} or more; without --token one is made."
        )
    try:
        import uvicorn

        from recoseg.serving.protocol import TimedProtocol
    except ImportError as error:
        raise MissingExtraError(error.name or "uvicorn", "serve", "The server") from error
    from recoseg.serving.app import make_app

    chosen = limits or Limits()
    listener = _listen(host, port)
    try:
        app = make_app(
            bank,
            index,
            writable=writable,
            token=token,
            hosts=(host, *hosts),
            limits=chosen,
            **options,
        )
        service = app.state.service
        address = _address(host, listener.getsockname()[1], token)

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                if started is not None:
                    started(address)

            async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
                service.stop()
                await super().shutdown(sockets)

            def handle_exit(self, sig: int, frame: FrameType | None) -> None:
                self.force_exit = self.should_exit  # the second signal does not wait
                self.should_exit = True

        class Protocol(TimedProtocol):
            head_seconds = chosen.head_seconds

        config = uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=chosen.connections,
            timeout_graceful_shutdown=int(chosen.stop_seconds),
        )
        Server(config).run([listener])
    finally:
        listener.close()


def is_local(host: str) -> bool:
    """Whether only programs of this machine reach an address.

    Example:
        >>> [is_local(host) for host in ("localhost", "127.0.0.1", "::1", "0.0.0.0", "box")]
        [True, True, True, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def log_requests() -> None:
    """Write a line for each request to standard error: method, form of the path, status, time.

    Neither names of photos nor of classes are in it.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%dT%H:%M:%S"))
    log = logging.getLogger("recoseg.serving.access")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        OutputError: The address is used or does not exist on this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number else str(error)
        raise OutputError(
            f"Cannot listen on {host}, port {port}: {reason}. Choose another port by --port (0 "
            "takes a free one), or another address by --host."
        ) from error


def _address(host: str, port: int, token: str | None) -> str:
    """The address of the page as a browser takes it."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    name = f"[{shown}]" if ":" in shown else shown
    return f"http://{name}:{port}/" + (f"#token={token}" if token else "")
