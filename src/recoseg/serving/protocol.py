"""uvicorn's protocol of HTTP with a limit on how long a client may take for a request's head."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol


class TimedProtocol(H11Protocol):
    """Closes connections whose client does not complete the head of a request in time.

    Otherwise, connections that send nothing, or a byte now and then, would stay open for ever, and
    with `limits.connections` of them nobody else would be answered.
    """

    head_seconds: ClassVar[float] = 10.0
    """Seconds from the connection, or from the first byte after an answer, to the whole head."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Read a part of a request."""
        if self._head_timer is None and self._is_between:
            self._await_head()
        super().data_received(data)
        if not self._is_between:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    @property
    def _is_between(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
