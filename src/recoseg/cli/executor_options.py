"""Options that choose where work runs, and the executor that they describe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from recoseg.executors import Executor

ExecutorName = Annotated[
    str,
    typer.Option(
        "--executor",
        help="Where work runs: local for this process, or ray (needs the extra `ray`).",
    ),
]
RayAddress = Annotated[
    str,
    typer.Option(
        help="Ray cluster: local for a new one on this machine, auto for the cluster that this "
        "machine belongs to, or ray://HOST:PORT."
    ),
]
RayWorkers = Annotated[
    int | None,
    typer.Option(min=1, help="Number of Ray workers. By default as many as the cluster can run."),
]
RayCpus = Annotated[int, typer.Option(min=1, help="CPUs of each Ray worker.")]
RayGpus = Annotated[float, typer.Option(min=0, help="GPUs of each Ray worker.")]


def executor_of(
    name: str, address: str, workers: int | None, cpus: int, gpus: float = 0
) -> Executor | None:
    """The executor of this name, or None for this process; the other options are for Ray."""
    from recoseg.errors import UnknownNameError

    if name == "local":
        return None
    if name != "ray":
        raise UnknownNameError("executor", name, ["local", "ray"])
    from recoseg.executors.ray import RayExecutor

    return RayExecutor(workers, cpus=cpus, gpus=gpus, address=address)
