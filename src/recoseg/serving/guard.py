"""What every request passes before its route: who may ask, how much, and how long it may take."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import logging
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recoseg.serving.limits import Limits
from recoseg.serving.metrics import Metrics
from recoseg.serving.refusals import FAULT, RefusedError

_log = logging.getLogger("recoseg.serving.access")
_faults = logging.getLogger(__name__)

_READING = ("GET", "HEAD", "OPTIONS")
_KNOWN = (*_READING, "POST", "DELETE", "PUT", "PATCH")
_DRAIN_SECONDS = 5.0
"""How long the rest of a refused body is read, since many clients look for the answer only then."""

_GONE = 499
"""Stands in logs for the status of a request whose client has gone before it was answered."""

CONTENT_SECURITY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": CONTENT_SECURITY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
"""Headers of every answer that does not set them itself."""


def is_open(path: str) -> bool:
    """Whether a path needs no token: the page itself, and that the server is well."""
    return path in ("/", "/health") or path.startswith("/static/")


def is_allowed_host(host: str, names: Iterable[str]) -> bool:
    """Whether a request names the server as its users do, rather than by a foreign name.

    Pages of other sites can point a name of theirs to this machine (DNS rebinding) and would then
    count as pages of this server. They cannot do so with `localhost` or the digits of an address.

    Args:
        host: The header `Host`.
        names: Further names of the server, without port.

    Example:
        >>> [is_allowed_host(host, ["box"]) for host in ("localhost:8000", "[::1]", "box", "evil")]
        [True, True, True, False]
    """
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    if name == "localhost" or name in [one.lower() for one in names]:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_own_origin(origin: str, host: str) -> bool:
    """Whether a request that writes comes from the server's own page.

    Example:
        >>> is_own_origin("http://localhost:8000", "localhost:8000"), is_own_origin("null", "a")
        (True, False)
    """
    return origin.lower() in (f"http://{host}".lower(), f"https://{host}".lower())


class Guard:
    """An ASGI application around another one; see this module.

    Args:
        app: The other one.
        limits: How much is taken on.
        metrics: Counts requests.
        token: What requests have to bear; None if nothing is asked for.
        hosts: Further names of the server.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        metrics: Metrics,
        token: str | None,
        hosts: Iterable[str],
    ) -> None:
        self._app = app
        self._limits = limits
        self._metrics = metrics
        self._token = token
        self._hosts = tuple(hosts)
        self._bodies = 0  # requests with a body that are being answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._limits)
        started = time.perf_counter()
        writes = scope["method"] not in _READING
        self._bodies += writes
        try:
            try:
                self._check(scope, exchange)
            except RefusedError as error:
                await exchange.refuse(error)
            else:
                await self._app(scope, exchange.receive, exchange.send)
        except TimeoutError:  # the client does not take the answer; the connection is closed
            pass
        except Exception:
            _faults.exception("A request failed by a fault of recoseg")
            if not exchange.has_answered:
                await exchange.refuse(RefusedError(500, FAULT))
        finally:
            self._bodies -= writes
            seconds = time.perf_counter() - started
            method = scope["method"] if scope["method"] in _KNOWN else "other"
            # The path itself may hold names; its form does not.
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.request(method, route, exchange.status, seconds)
            _log.info("%s %s %d %.0f ms", method, route, exchange.status, 1000 * seconds)

    def _check(self, scope: Scope, exchange: _Exchange) -> None:
        """Refuse a request by its head.

        Raises:
            RefusedError: It is refused.
        """
        host = exchange.header("host")
        if not is_allowed_host(host, self._hosts):
            raise RefusedError(
                400,
                "The server is not known by this name. Ask it by localhost or by the digits of its "
                "address, or start it with --allow-host NAME.",
            )
        if self._token is not None and not is_open(scope["path"]):
            kind, _, given = exchange.header("authorization").partition(" ")
            equal = hmac.compare_digest(given.strip().encode(), self._token.encode())
            if kind.lower() != "bearer" or not equal:
                raise RefusedError(
                    401,
                    "This server asks for its token. Send the header 'Authorization: Bearer "
                    "TOKEN', or open the address that was printed when it was started.",
                )
        if scope["method"] in _READING:
            return
        origin = exchange.header("origin")
        foreign = exchange.header("sec-fetch-site") in ("cross-site", "same-site")
        if foreign or (origin and not is_own_origin(origin, host)):
            raise RefusedError(403, "Requests of pages of other sites are refused.")
        length = exchange.header("content-length")
        if length.isdecimal() and int(length) > self._limits.bytes:
            raise _too_large(self._limits)
        if self._bodies > self._limits.waiting:
            raise RefusedError(
                429,
                f"{self._limits.waiting} requests are being answered or wait, which is the limit "
                "of this server. Ask again in a moment.",
            )


def _too_large(limits: Limits) -> RefusedError:
    return RefusedError(
        413,
        f"The request has more than {limits.bytes:,} bytes, which is the limit of this server. "
        "Send a smaller photo.",
    )


class _Exchange:
    """One request and its answer, within the limits of bytes and time.

    Attributes:
        status: Status of the answer; `_GONE` if there was none.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: Limits) -> None:
        self.status = _GONE
        self._headers = {key.decode("latin-1"): value for key, value in scope["headers"]}
        self._receive = receive
        self._send = send
        self._limits = limits
        self._bytes = 0
        self._ends = time.monotonic() + limits.body_seconds
        self._complete = False

    @property
    def has_answered(self) -> bool:
        """Whether the answer has begun."""
        return self.status != _GONE

    def header(self, name: str) -> str:
        """A header of the request; empty if it has none."""
        return self._headers.get(name, b"").decode("latin-1")

    async def receive(self) -> Message:
        """The next part of the request.

        Raises:
            HTTPException: The body is too large or too slow.
        """
        if self._complete:  # what follows is that the client has gone, whenever that is
            return await self._receive()
        try:
            async with asyncio.timeout(self._ends - time.monotonic()):
                message = await self._receive()
        except TimeoutError as error:
            raise HTTPException(
                408,
                f"The request did not arrive within {self._limits.body_seconds:g} seconds. Send it "
                "again, or send a smaller photo.",
                {"connection": "close"},
            ) from error
        self._bytes += len(message.get("body", b""))
        if self._bytes > self._limits.bytes:
            await self._drain(message)
            refused = _too_large(self._limits)
            raise HTTPException(refused.status, str(refused), {"connection": "close"})
        self._complete = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer.

        Raises:
            TimeoutError: The client does not take it.
        """
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = {key.lower() for key, _ in message.get("headers", ())}
            own = [
                (key.encode(), value.encode())
                for key, value in _HEADERS.items()
                if key.encode() not in given
            ]
            message = {**message, "headers": [*message.get("headers", ()), *own]}
        async with asyncio.timeout(self._limits.send_seconds):
            await self._send(message)

    async def refuse(self, error: RefusedError) -> None:
        """Answer with the reason of a refusal."""
        # Who asks before it sends, or would send for long, gets the answer at once.
        length = self.header("content-length")
        is_long = length.isdecimal() and int(length) > 2 * self._limits.bytes
        if not (self._complete or is_long or self.header("expect").lower() == "100-continue"):
            await self._drain({"type": "http.request", "more_body": True})
        body = json.dumps({"error": str(error)}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        if error.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if error.status in (429, 503):
            headers.append((b"retry-after", b"1"))
        start = {"type": "http.response.start", "status": error.status, "headers": headers}
        await self.send(start)
        await self.send({"type": "http.response.body", "body": body})

    async def _drain(self, message: Message) -> None:
        """Read the rest of a body, within the limit of bytes and for a short time."""
        read = 0
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                while message["type"] == "http.request" and message.get("more_body", False):
                    if read > self._limits.bytes:
                        return
                    message = await self._receive()
                    read += len(message.get("body", b""))
        except TimeoutError:
            return
