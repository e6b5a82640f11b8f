"""Options that say where work runs, and the executor that they mean."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recoseg.errors import UnknownNameError
from recoseg.executors import Executor, LocalExecutor

if TYPE_CHECKING:
    from recoseg.retrieval.distributed import PartWorker
    from recoseg.retrieval.retriever import Search

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
    from recoseg.executors.ray import RayExecutor

    return RayExecutor(workers, cpus=cpus, gpus=gpus, address=address)


def search_in(place: Executor, index: str, length: int) -> Search:
    """Search by the workers of an executor, each of which opens the index.

    Args:
        place: Where they run.
        index: Folder of the index, or its URL.
        length: Its photos, as this process sees them.
    """
    from recoseg.retrieval.distributed import search_parts

    name = index if "://" in index else str(Path(index).resolve())
    return partial(search_parts, place, partial(_part_worker, name), length)


def _part_worker(index: str) -> PartWorker:
    """Opens the index where it is to be searched."""
    from recoseg.archive.index import ArchiveIndex
    from recoseg.retrieval.distributed import PartWorker

    return PartWorker(ArchiveIndex.open(index))
