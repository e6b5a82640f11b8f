"""`recoseg retrieve`: find the photos of an archive that match class names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recoseg.cli.executor_options import (
    ExecutorName,
    RayAddress,
    RayCpus,
    RayWorkers,
    executor_of,
)
from recoseg.cli.options import (
    ClassList,
    Device,
    Precision,
    Prompts,
    Retrieval,
    SelectionFile,
    SkipDuplicates,
)
from recoseg.cli.output import say, say_json
from recoseg.cli.selected import selected
from recoseg.errors import OptionError, RecosegError


def retrieve(
    index: Annotated[str, typer.Argument(help="Folder of the index, or its URL.")],
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CLASSES",
            help="Classes, such as zebra or 'sofa; couch; -bed' (a leading - marks words to "
            "avoid).",
        ),
    ] = None,
    classes: ClassList = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Photos per class.")] = 50,
    out: Annotated[Path | None, typer.Option(help="HTML contact sheet to write.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    selection: SelectionFile = None,
    skip_duplicates: SkipDuplicates = None,
    retrieval: Retrieval = None,
    prompts: Prompts = None,
    device: Device = "auto",
    precision: Precision = "auto",
    approximate: Annotated[
        str | None,
        typer.Option(
            help="Approximate search: ivf or hnsw (needs the extra `faiss`). By default the search "
            "is exact."
        ),
    ] = None,
    effort: Annotated[
        int,
        typer.Option(
            min=1,
            help="With --approximate: the number of lists (ivf) or candidates (hnsw) to visit. "
            "More of them find more photos and take longer.",
        ),
    ] = 64,
    recall: Annotated[
        bool,
        typer.Option(help="With --approximate, also search exactly and print the recall."),
    ] = True,
    executor: ExecutorName = "local",
    ray_address: RayAddress = "local",
    ray_workers: RayWorkers = None,
    ray_cpus: RayCpus = 1,
) -> None:
    """Find the photos that match each class best.

    Photos are ranked by the cosine of their embedding with that of the class.
    """
    from recoseg.pipeline.retrieve import retrieve as run

    found = run(
        selected(index, selection),
        _chosen(names or [], classes),
        k=k,
        retrieval=retrieval,
        prompts=prompts,
        skip_duplicates=skip_duplicates,
        sheet=out,
        approximate=approximate,
        effort=effort,
        recall=recall,
        executor=executor_of(executor, ray_address, ray_workers, ray_cpus),
        device=device,
        precision=precision,
    )
    if found.recall is not None:
        say(f"Recall of the exact top {k}: {found.recall:.3f}.", err=True)
    if out is not None:
        say(f"Contact sheet: {out}")
    paths = found.index.path
    if as_json:
        rows = {
            name: [{"path": paths(hit.position), "score": hit.score} for hit in hits]
            for name, hits in found.hits.items()
        }
        say_json(rows)
    elif out is None:
        for name, hits in found.hits.items():
            say(name)
            for hit in hits:
                say(f"  {hit.score:.4f}  {paths(hit.position)}")
    if not any(found.hits.values()):
        raise RecosegError(f"{index} has no photo to retrieve. Index photos with `recoseg index`.")


def _chosen(names: list[str], classes: str | None) -> str | list[str]:
    """The classes that are given one by one, or by `--classes`."""
    if bool(names) == (classes is not None):
        raise OptionError(
            "Expected classes, such as zebra, or a file of classes by --classes; got "
            f"{'both' if names else 'neither'}."
        )
    files = [name for name in names if Path(name).is_file()]
    if files:
        raise OptionError(f"{files[0]} is a file. Give a file of classes by --classes {files[0]}.")
    return names if classes is None else classes
