"""Workers without a model; importing them is cheap."""

import os
import signal
import time

from recoseg.errors import RecosegError


class Echo:
    """Returns the task; some are poison, and of some it dies."""

    identity = "echo"

    def __call__(self, task, advance):
        if task == "poison":
            raise RecosegError("the task is poison")
        if task == "death":
            os.kill(os.getpid(), signal.SIGKILL)
        advance(2, failed=1)
        return task


class Chameleon:
    """No two are alike."""

    def __init__(self):
        self.identity = os.getpid()

    def __call__(self, task, advance):
        time.sleep(0.05)
        return task
