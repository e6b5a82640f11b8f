"""Options that say where work runs, and the executor that they mean."""

from __future__ import annotations

from typing import Annotated

import typer

from recoseg.errors import UnknownNameError
from recoseg.executors import Executor, LocalExecutor

ExecutorName = Annotated[
    str, typer.Option("--executor", help="local, or ray: a worker per actor (extra `ray`).")
]
RayAddress = Annotated[
    str, typer.Option(help="local: this machine; auto: the cluster it is in; or ray://HOST:PORT.")
]
RayWorkers = Annotated[
    int | None, typer.Option(min=1, help="Ray workers; by default as many as there is room for.")
]
RayCpus = Annotated[int, typer.Option(min=1, help="Processors of each Ray worker.")]
RayGpus = Annotated[float, typer.Option(min=0, help="GPUs of each Ray worker.")]


def executor_of(name: str, address: str, workers: int | None, cpus: int, gpus: float) -> Executor:
    """The executor of that name; the other options are Ray's."""
    if name == "local":
        return LocalExecutor()
    if name != "ray":
        raise UnknownNameError("executor", name, ["local", "ray"])
    from recoseg.executors.cluster import RayExecutor

    return RayExecutor(workers, cpus=cpus, gpus=gpus, address=address)
