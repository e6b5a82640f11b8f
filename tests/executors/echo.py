"""Workers without a model, which are fast to import."""

import os
import signal
import time

from recoseg.errors import RecosegError


class Echo:
    """Returns the task; one raises an error, and one kills the process."""

    identity = "echo"

    def __call__(self, task, advance):
        if task == "poison":
            raise RecosegError("the task is poison")
        if task == "death":
            os.kill(os.getpid(), signal.SIGKILL)
        advance(2, failed=1)
        return task


class Slow:
    """Returns the node that it runs on, after a while; one task kills its process there once."""

    identity = "slow"

    def __call__(self, task, advance):
        import ray

        time.sleep(0.3)
        node = ray.get_runtime_context().get_node_id()
        mark, deadly = task
        if deadly == node and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        advance()
        return node


class Chameleon:
    """No two have the same identity."""

    def __init__(self):
        self.identity = os.getpid()

    def __call__(self, task, advance):
        time.sleep(0.05)
        return task
