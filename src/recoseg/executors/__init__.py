"""Executors: run tasks in this process or on a Ray cluster, with the same results."""

from recoseg.executors.local import LocalExecutor, ahead
from recoseg.executors.protocol import Advance, Executor, TaskFailed, Team, Worker

__all__ = ["Advance", "Executor", "LocalExecutor", "TaskFailed", "Team", "Worker", "ahead"]
