"""The page for browsers, that the server is well, and its numbers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse, Response

from recoseg import __version__
from recoseg.drawing.palette import hex_colour
from recoseg.serving.answers import Class, Classes, Health, MostOf
from recoseg.serving.refusals import RefusedError
from recoseg.serving.service import Service
from recoseg.serving.verdicts import verdict_of
from recoseg.storage.reading import MAX_TEXT, read_bytes

PAGE = Path(__file__).with_name("page")
"""The folder of the page's files."""

INDEX = "index.html"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
"""The types of the page's files by their suffixes; other files are not sent."""

router = APIRouter()


def service_of(request: Request) -> Service:
    """The service of the application that a request came to."""
    service: Service = request.app.state.service
    return service


Served = Annotated[Service, Depends(service_of)]


def page_files() -> dict[str, tuple[bytes, str]]:
    """The files of the page by name, with their types; no path is ever made of a request."""
    return {
        path.name: (read_bytes(path, MAX_TEXT), _TYPES[path.suffix])
        for path in (PAGE.iterdir() if PAGE.is_dir() else ())
        if path.is_file() and path.suffix in _TYPES
    }


@router.get("/", include_in_schema=False)
async def page(request: Request) -> Response:
    """The page."""
    return _file(request.app.state.page, INDEX)


@router.get("/static/{name}", include_in_schema=False)
async def static(request: Request, name: str) -> Response:
    """A file that the page loads."""
    return _file(request.app.state.page, name)


def _file(held: Mapping[str, tuple[bytes, str]], name: str) -> Response:
    if name not in held:
        raise RefusedError(404, "The page has no such file.")
    content, media_type = held[name]
    return Response(content, media_type=media_type, headers={"cache-control": "no-cache"})


@router.get("/health")
async def health(service: Served) -> Health:
    """That the server answers, and what it serves; needs no token."""
    return Health(status="ok", version=__version__, bank=service.name, device=service.device)


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(service: Served) -> Response:
    """Counters and times in the text form of Prometheus."""
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/classes")
async def classes(service: Served) -> Classes:
    """The classes that photos are segmented into."""
    current, limits = service.current, service.limits
    segmenter, bank = current.segmenter, current.bank
    concepts = {} if bank is None else {one.name: one for one in bank.classes}
    found = []
    for label, (name, colour) in enumerate(zip(segmenter.names, segmenter.palette, strict=True)):
        concept = concepts.get(name)
        found.append(
            Class(
                label=label,
                name=name,
                colour=hex_colour(colour),
                words=None if concept is None else str(concept.words),
                verdict=None if concept is None else verdict_of(concept.verdict),
                photos=None if concept is None else len(concept.retrieved),
            )
        )
    background = segmenter.labeller.background_label
    return Classes(
        classes=found,
        background=background if background < len(found) else None,
        writable=service.writable,
        index=service.index is not None,
        photos=None if service.index is None else len(service.index),
        limits=MostOf(bytes=limits.bytes, pixels=limits.pixels, classes=limits.classes),
    )
