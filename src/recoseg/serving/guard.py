"""What every request passes before its route: who may ask, how much, and how long it may take."""

from __future__ import annotations

import hmac
import ipaddress
import logging
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from recoseg.serving.exchange import Exchange, too_large
from recoseg.serving.limits import Limits
from recoseg.serving.metrics import Metrics
from recoseg.serving.refusals import FAULT, RefusedError

_log = logging.getLogger("recoseg.serving.access")
_faults = logging.getLogger(__name__)

_READING = ("GET", "HEAD", "OPTIONS")
_KNOWN = (*_READING, "POST", "DELETE", "PUT", "PATCH")


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
        exchange = Exchange(scope, receive, send, self._limits)
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

    def _check(self, scope: Scope, exchange: Exchange) -> None:
        """Refuse a request by its head.

        Raises:
            RefusedError: It is refused.
        """
        host = exchange.header("host")
        if not is_allowed_host(host, self._hosts):
            raise RefusedError(
                400,
                "The server does not know itself by this name. Call it localhost or by its IP "
                "address, or start it with --allow-host NAME.",
            )
        if self._token is not None and not is_open(scope["path"]):
            kind, _, given = exchange.header("authorization").partition(" ")
            equal = hmac.compare_digest(given.strip().encode(), self._token.encode())
            if kind.lower() != "bearer" or not equal:
                raise RefusedError(
                    401,
                    "This server needs its token. Send the header 'Authorization: Bearer "
                    "TOKEN', or open the address that was printed when it was started.",
                )
        if scope["method"] in _READING:
            return
        origin = exchange.header("origin")
        foreign = exchange.header("sec-fetch-site") in ("cross-site", "same-site")
        if foreign or (origin and not is_own_origin(origin, host)):
            raise RefusedError(403, "Requests from pages of other sites are refused.")
        length = exchange.header("content-length")
        if length.isdecimal() and int(length) > self._limits.bytes:
            raise too_large(self._limits)
        if self._bodies > self._limits.waiting:
            raise RefusedError(
                429,
                f"{self._limits.waiting} requests are being answered or wait, which is the limit "
                "of this server. Ask again in a moment.",
            )
