"""The web application: routes around a `Service`, behind a `Guard`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from recoseg import __version__
from recoseg.archive.index import ArchiveIndex
from recoseg.encoders.bundle import Encoders
from recoseg.errors import MissingExtraError, RecosegError
from recoseg.neighbours.label_studio import TaskPhotos
from recoseg.pipeline.segment import Segmentable
from recoseg.serving.limits import Limits
from recoseg.serving.refusals import sentence_of, status_of
from recoseg.serving.service import Service

try:
    import python_multipart  # noqa: F401  # FastAPI reads forms with it
    from fastapi import FastAPI, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from starlette.exceptions import HTTPException

    from recoseg.neighbours.label_studio_routes import label_studio_routes
    from recoseg.serving import learn_routes, page_routes, segment_routes
    from recoseg.serving.answers import Refusal
    from recoseg.serving.guard import Guard
except ImportError as error:
    raise MissingExtraError(error.name or "fastapi", "serve", "The server") from error


def make_app(
    bank: Segmentable,
    index: ArchiveIndex | str | Path | None = None,
    *,
    writable: bool = False,
    label_studio: str | None = None,
    token: str | None = None,
    hosts: Iterable[str] = (),
    limits: Limits | None = None,
    encoders: Encoders | None = None,
    device: str = "auto",
    precision: str = "auto",
    **options: Any,
) -> FastAPI:
    """Load a bank and make the web application that serves it.

    `recoseg.serve` runs it. Other ASGI servers can do so, too, with one process; they have to limit
    how long clients may take for the head of a request.

    Args:
        bank: Concept bank or trained model, its file, or its address on the Hub.
        index: Index to search and to learn classes from, or its path or URL; None for neither.
        writable: Whether classes may be learnt into the bank's file and removed from it.
        label_studio: Address of Label Studio, whose machine learning backend the application is
            then, too, at `/label-studio`; None for none.
        token: Requests have to bear it; None asks for none.
        hosts: Names of the server besides `localhost` and addresses in digits.
        limits: How much the server takes on.
        encoders: Encoders that are loaded already.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        **options: Options of `open_segmenter`.

    Returns:
        The application; its `state.service` is the `Service`.

    Raises:
        MissingExtraError: A package of the extra `serve` is not installed.
        ConceptError: There is no such bank.
        ArchiveError: There is no such index.
        RecosegError: Options do not fit together.
    """
    limits = limits or Limits()
    service = Service(
        bank,
        index,
        writable=writable,
        limits=limits,
        encoders=encoders,
        device=device,
        precision=precision,
        **options,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="recoseg",
        version=__version__,
        description="Segments photos into classes that are given by name only.",
        docs_url=None,  # pages of FastAPI that load scripts from other servers
        redoc_url=None,
        lifespan=lifespan,
        responses={"4XX": {"model": Refusal}, "5XX": {"model": Refusal}},
    )
    app.state.service = service
    app.state.page = page_routes.page_files()
    for routes in (page_routes, segment_routes, learn_routes):
        app.include_router(routes.router)
    if label_studio is not None:
        app.include_router(
            label_studio_routes(
                lambda photo: service.segment(photo).result(),
                TaskPhotos(label_studio, limit=limits.bytes),
                lambda: service.current.segmenter.fingerprint,
            )
        )
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)
    app.add_middleware(
        Guard, limits=limits, metrics=service.metrics, token=token, hosts=tuple(hosts)
    )
    return app


def _answer(status: int, text: str, headers: Any = None) -> JSONResponse:
    own = {"retry-after": "1"} if status in (429, 503) else {}
    return JSONResponse({"error": text}, status, {**own, **(headers or {})})


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RecosegError)
    return _answer(status_of(error), sentence_of(error))


async def _of_http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    text = str(error.detail)
    known = {
        404: "The server has nothing at this address.",
        405: "The address takes other methods.",
    }
    return _answer(error.status_code, known.get(error.status_code, text), error.headers)


async def _wrong_form(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = [_what_is_wrong(problem) for problem in error.errors()[:5]]
    return _answer(422, f"The request has another form than expected: {'; '.join(found)}.")


def _what_is_wrong(problem: dict[str, Any]) -> str:
    if problem["type"] == "json_invalid":
        return "its body is no JSON"
    where = ".".join(str(part) for part in problem["loc"][1:])
    if problem["type"] == "missing":
        return f"the field {where!r} is missing" if where else "its body is missing"
    told = str(problem["msg"])
    return f"{f'the field {where!r}' if where else 'its body'}: {told[:1].lower()}{told[1:]}"


_HANDLERS: dict[type[Exception], Callable[..., Any]] = {
    RecosegError: _refused,
    HTTPException: _of_http,
    RequestValidationError: _wrong_form,
}
