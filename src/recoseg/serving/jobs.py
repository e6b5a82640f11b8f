"""Jobs that take longer than a request: done by one thread, one after the other."""

from __future__ import annotations

import logging
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Literal

from recoseg.errors import RecosegError
from recoseg.serving.limits import Limits
from recoseg.serving.metrics import Metrics
from recoseg.serving.refusals import FAULT, STOPPING, RefusedError, sentence_of

_log = logging.getLogger(__name__)

State = Literal["queued", "running", "done", "failed", "cancelled"]

_ENDED = ("done", "failed", "cancelled")


class CancelledError(Exception):
    """Raised at a step of a job that has been cancelled."""


class Job:
    """A job and how far it is.

    Attributes:
        id: A name that nobody can guess.
        state: What has become of it.
        progress: The share that is done, 0 to 1.
        message: What is being done, or what has happened.
        error: Why it failed, in a sentence; None if it did not.
        result: What its work has returned; None until it is done.
    """

    def __init__(self, work: Callable[[Job], Any]) -> None:
        self.id = secrets.token_hex(16)
        self.state: State = "queued"
        self.progress = 0.0
        self.message = "It waits for its turn."
        self.error: str | None = None
        self.result: Any = None
        self._work = work
        self._cancelled = threading.Event()

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in _ENDED

    def step(self, progress: float, message: str) -> None:
        """Record how far the job is; its work calls this between steps.

        Raises:
            CancelledError: The job has been cancelled.
        """
        if self._cancelled.is_set():
            raise CancelledError
        self.progress, self.message = max(self.progress, progress), message

    def cancel(self) -> None:
        """Let the job end at its next step, or not begin."""
        self._cancelled.set()

    def run(self) -> None:
        """Do the work; all that it raises is recorded."""
        try:
            self.step(0.0, "It has begun.")
            self.state = "running"
            self.result = self._work(self)
        except CancelledError:
            self._end("cancelled", "It was cancelled; nothing has changed.")
        except RecosegError as error:
            self.error = sentence_of(error)
            self._end("failed", "It failed.")
        except BaseException:
            _log.exception("A job failed by a fault of recoseg")
            self.error = FAULT
            self._end("failed", "It failed.")
        else:
            self.progress = 1.0
            self._end("done", "It is done.")

    def _end(self, state: State, message: str) -> None:
        self.message = message
        self.state = state  # last: who sees it may read the rest


class Jobs:
    """The jobs of a server; may be used by several threads.

    Args:
        limits: How many may wait, and how many ended ones are kept.
        metrics: Counts the jobs that wait or run.
    """

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
        self._thread.start()
        metrics.watch("recoseg_jobs_open", "Jobs that wait or run.", lambda: len(self._open()))

    def add(self, work: Callable[[Job], Any]) -> Job:
        """Let a job wait for its turn.

        Raises:
            RefusedError: Too many jobs wait, or the server is being stopped.
        """
        with self._lock:
            if self._stopping:
                raise RefusedError(503, STOPPING)
            waiting = len(self._open())
            if waiting >= self._limits.jobs:
                raise RefusedError(
                    429,
                    f"{waiting} classes are being learnt or wait, which is the limit of this "
                    "server. Ask again when one is done, or cancel one.",
                )
            job = Job(work)
            self._jobs[job.id] = job
            ended = [name for name, one in self._jobs.items() if one.has_ended]
            for name in ended[: max(0, len(ended) - self._limits.kept_jobs)]:
                del self._jobs[name]
            self._queue.put(job)
        return job

    def get(self, name: str) -> Job:
        """A job by its id.

        Raises:
            RefusedError: There is none, or it is no longer kept.
        """
        with self._lock:
            found = self._jobs.get(name)
        if found is None:
            raise RefusedError(
                404,
                "This job is not known: the server keeps only the last ones. Learn the class "
                "again.",
            )
        return found

    def stop(self) -> None:
        """Cancel all jobs and refuse those that come."""
        with self._lock:
            self._stopping = True
            for job in self._jobs.values():
                job.cancel()
        self._queue.put(None)

    def close(self) -> None:
        """Stop, and wait until the thread has ended."""
        self.stop()
        self._thread.join()

    def _open(self) -> list[Job]:
        return [job for job in list(self._jobs.values()) if not job.has_ended]

    def _run(self) -> None:
        while job := self._queue.get():
            job.run()
