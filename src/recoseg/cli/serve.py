"""`recoseg serve`: segment, retrieve and learn over HTTP, with a page for browsers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recoseg.cli.options import (
    Background,
    BatchSize,
    Device,
    OtherRecipe,
    Precision,
    Refine,
    Resize,
    SelectionFile,
    Threshold,
    names_in,
)
from recoseg.cli.output import say
from recoseg.cli.selected import selected
from recoseg.errors import OptionError


def serve(
    bank: Annotated[
        Path,
        typer.Argument(
            help="Concept bank, trained model, or folder of a training run; or its address on the "
            "Hub, hf:OWNER/NAME[@REVISION]."
        ),
    ],
    index: Annotated[
        str | None,
        typer.Option(
            help="Index to search and to learn classes from: its folder or URL. Without one, "
            "photos are only segmented."
        ),
    ] = None,
    selection: SelectionFile = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8000,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on. Only programs on this machine reach the default one. With "
            "another one, such as 0.0.0.0, requests have to carry a token."
        ),
    ] = "127.0.0.1",
    writable: Annotated[
        bool,
        typer.Option("--writable", help="Let classes be learnt into the bank and removed from it."),
    ] = False,
    label_studio: Annotated[
        str | None,
        typer.Option(
            help="Address of Label Studio, such as http://localhost:8080: also be its machine "
            "learning backend, at /label-studio. The token to read its photos with is taken from "
            "the environment variable LABEL_STUDIO_API_KEY."
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="RECOSEG_TOKEN",
            help="Token that requests have to carry. By default one is made and printed, unless "
            "only programs on this machine reach the server. Better set the environment variable: "
            "other users of the machine can see the options of programs.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            help="Another name of the server in requests, such as that of a proxy; repeat the "
            "option for several."
        ),
    ] = None,
    max_megabytes: Annotated[float, typer.Option(min=0.001, help="Largest request, MB.")] = 20,
    max_megapixels: Annotated[
        float, typer.Option(min=0.001, help="Largest photo, millions of pixels.")
    ] = 25,
    max_waiting: Annotated[
        int, typer.Option(min=1, help="Most requests in progress or waiting at a time.")
    ] = 32,
    log: Annotated[
        bool, typer.Option(help="Write a line for each request to standard error.")
    ] = True,
    recipe: OtherRecipe = None,
    resize: Resize = None,
    threshold: Threshold = None,
    background: Background = "",
    refine: Refine = "none",
    batch_size: BatchSize = 8,
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Serve a concept bank or a trained model, with a page for browsers.

    The server ends with Ctrl-C, when the requests that it is working on are done.
    """
    from recoseg.serving.limits import Limits
    from recoseg.serving.server import log_requests
    from recoseg.serving.server import serve as run

    if selection is not None and index is None:
        raise OptionError("--selection would have no effect without --index. Leave it out.")
    if log:
        log_requests()
    run(
        bank,
        None if index is None else selected(index, selection),
        host=host,
        port=port,
        writable=writable,
        label_studio=label_studio,
        token=token,
        hosts=allow_host or (),
        limits=Limits(
            bytes=int(max_megabytes * 1e6),
            pixels=int(max_megapixels * 1e6),
            waiting=max_waiting,
            batch=batch_size,
        ),
        started=lambda address: _say_address(address, host),
        recipe=recipe,
        resize=resize,
        threshold=threshold,
        background=names_in(background),
        refine=refine,
        batch_size=batch_size,
        device=device,
        precision=precision,
    )


def _say_address(address: str, host: str) -> None:
    say(f"The page is at {address} (stop with Ctrl-C).")
    if host in ("0.0.0.0", "::"):  # addresses that a server listens on, but no browser asks
        say(
            "From other machines, write the IP address of this one in place of the number behind "
            "http:// (a name of this machine needs --allow-host NAME)."
        )
