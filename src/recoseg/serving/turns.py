"""A lock that is given in the order in which it was asked for."""

from __future__ import annotations

import threading
from collections import deque


class Turns:
    """One user at a time, in the order in which they came; a context manager.

    A `threading.Lock` may be given to the thread that has just released it, again and again. Here,
    whoever gives way is served last.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._line: deque[object] = deque()

    def __enter__(self) -> None:
        ticket = object()
        with self._changed:
            self._line.append(ticket)
            self._changed.wait_for(lambda: self._line[0] is ticket)

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._line.popleft()
            self._changed.notify_all()

    def give_way(self) -> None:
        """Let those who wait go first; the caller has the turn before and after the call."""
        self.__exit__()
        self.__enter__()
