"""How much one server takes on."""

from __future__ import annotations

from dataclasses import dataclass, fields

from recoseg.errors import OptionError


@dataclass(frozen=True)
class Limits:
    """How much a server takes on; what is more is refused with a sentence that says so.

    Attributes:
        bytes: Size of the body of a request, bytes.
        pixels: Pixels of a photo, looked up before it is decoded.
        classes: Classes of the bank, with those that are learnt.
        waiting: Requests with a body that are read, wait or are worked on at a time.
        batch: Photos that are segmented together, if they wait at the same time.
        results: Segmented photos that are kept for downloads, the last ones.
        result_bytes: Memory of all these, bytes; the last one is kept in any case.
        jobs: Classes that wait to be learnt.
        kept_jobs: Finished jobs whose classes are kept for trial, the last ones.
        body_seconds: Time in which the body of a request has to arrive, seconds.
        head_seconds: Time in which the head of a request has to arrive, seconds.
        send_seconds: Time in which a client has to take each part of an answer, seconds.
        stop_seconds: Time that running requests get when the server is stopped, seconds.
        connections: Open connections.

    Raises:
        OptionError: A limit is not above 0.
    """

    bytes: int = 20_000_000
    pixels: int = 25_000_000
    classes: int = 255
    waiting: int = 32
    batch: int = 8
    results: int = 16
    result_bytes: int = 500_000_000
    jobs: int = 8
    kept_jobs: int = 8
    body_seconds: float = 60.0
    head_seconds: float = 10.0
    send_seconds: float = 60.0
    stop_seconds: float = 30.0
    connections: int = 256

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise OptionError(f"{field.name} is {value}; expected a limit above 0.")
