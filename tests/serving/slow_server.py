"""A server in a process of its own, whose encoders take their time: `slow_server.py BANK`."""

import sys
import time

import recoseg
from recoseg.serving.limits import Limits
from recoseg.serving.server import log_requests
from tests.serving.conftest import make_encoders

LIMITS = Limits(bytes=20_000, waiting=3, batch=1, body_seconds=1, head_seconds=1, connections=20)
SECONDS = 0.6
"""Seconds that a photo takes."""


def main(bank: str) -> None:
    encoders = make_encoders()
    features = encoders.phi[0].features

    def slowly(images):
        time.sleep(SECONDS)
        return features(images)

    encoders.phi[0].features = slowly
    log_requests()
    started = lambda address: print(address, flush=True)  # noqa: E731
    recoseg.serve(bank, port=0, encoders=encoders, limits=LIMITS, started=started)
    print("ended", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
