"""Counters of a server in the text form of Prometheus."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the histogram of seconds."""


class Metrics:
    r"""Counts requests, their seconds, and photos; may be used by several threads.

    Example:
        >>> metrics = Metrics()
        >>> metrics.request("GET", "/health", 200, 0.002)
        >>> print(*[line for line in metrics.text().splitlines() if "_total{" in line], sep="\n")
        recoseg_requests_total{method="GET",route="/health",status="200"} 1
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._counts: Counter[str] = Counter()
        self._within: Counter[tuple[str, float]] = Counter()
        self._photos = self._batches = 0
        self._watched: dict[str, tuple[str, Callable[[], float]]] = {}

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request.

        Args:
            method: Its HTTP method.
            route: The form of its path, without what differs from request to request.
            status: The status of the answer.
            seconds: From its head to the end of the answer.
        """
        with self._lock:
            self._requests[method, route, status] += 1
            self._counts[route] += 1
            self._seconds[route] += seconds
            for bound in _BOUNDS:
                if seconds <= bound:
                    self._within[route, bound] += 1

    def batch(self, photos: int) -> None:
        """Count photos that were segmented together."""
        with self._lock:
            self._photos += photos
            self._batches += 1

    def watch(self, name: str, what: str, value: Callable[[], float]) -> None:
        """Add a number that is looked up whenever the metrics are read."""
        self._watched[name] = what, value

    def text(self) -> str:
        """All numbers in the text form of Prometheus, version 0.0.4."""
        with self._lock:
            return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        yield from _head("recoseg_requests_total", "counter", "Answered requests.")
        for (method, route, status), count in sorted(self._requests.items()):
            labels = f'method="{method}",route="{route}",status="{status}"'
            yield f"recoseg_requests_total{{{labels}}} {count}"
        name = "recoseg_request_seconds"
        yield from _head(name, "histogram", "From the head of a request to the end of the answer.")
        for route, count in sorted(self._counts.items()):
            for bound in _BOUNDS:
                within = self._within[route, bound]
                yield f'{name}_bucket{{route="{route}",le="{bound:g}"}} {within}'
            yield f'{name}_bucket{{route="{route}",le="+Inf"}} {count}'
            yield f'{name}_sum{{route="{route}"}} {self._seconds[route]:.6f}'
            yield f'{name}_count{{route="{route}"}} {count}'
        yield from _head("recoseg_photos_total", "counter", "Photos that were segmented.")
        yield f"recoseg_photos_total {self._photos}"
        yield from _head("recoseg_batches_total", "counter", "Batches of photos.")
        yield f"recoseg_batches_total {self._batches}"
        for name, (what, value) in sorted(self._watched.items()):
            yield from _head(name, "gauge", what)
            yield f"{name} {value():g}"


def _head(name: str, kind: str, what: str) -> Iterator[str]:
    yield f"# HELP {name} {what}"
    yield f"# TYPE {name} {kind}"
