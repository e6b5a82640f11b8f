"""Where work runs: in this process, or spread over a Ray cluster, with the same results."""

from recoseg.executors.base import Advance, Executor, Lost, Team, Worker
from recoseg.executors.local import LocalExecutor, ahead

__all__ = ["Advance", "Executor", "LocalExecutor", "Lost", "Team", "Worker", "ahead"]
