"""One request and its answer, within limits of bytes and time."""

from __future__ import annotations

import asyncio
import json
import time

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from recoseg.serving.limits import Limits
from recoseg.serving.refusals import RefusedError

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


def too_large(limits: Limits) -> RefusedError:
    """Why a request with too many bytes is refused."""
    return RefusedError(
        413,
        f"The request has more than {limits.bytes:,} bytes, which is the limit of this server. "
        "Send a smaller photo.",
    )


class Exchange:
    """A request and its answer; refuses what is too large and gives up what is too slow.

    Args:
        scope: What is known of the request.
        receive: Gives its parts.
        send: Takes the parts of the answer.
        limits: Of bytes and time.

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
            refused = too_large(self._limits)
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
