"""Segmenting photos, and what is kept of the last ones."""

import asyncio
from dataclasses import replace
from pathlib import PureWindowsPath
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, File, Form, Query, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from recoseg.errors import BadImageError
from recoseg.segmentation.certainty import keep_certain
from recoseg.serving.answers import FileFormat, Segmented
from recoseg.serving.kept import KeptResult, KeptResults
from recoseg.serving.page_routes import Served
from recoseg.serving.rendering import (
    TITLES,
    Shapes,
    certainty_layer,
    describe,
    download,
    label_layer,
)
from recoseg.serving.service import Service
from recoseg.writers.formats import encode_label_map
from recoseg.writers.names import safe_name

AnswerForm = Literal["palette", "rle", "polygons", "layers"]
_SHAPES: dict[str, Shapes] = {"rle": "rle", "polygons": "polygons", "layers": "none"}
_FOREVER = {"cache-control": "private, max-age=3600, immutable"}
"""Headers of what never changes under its address."""

Threshold = Annotated[
    float | None,
    Query(ge=0, le=1, description="Pixels with a lower certainty become background."),
]

router = APIRouter()


@router.post(
    "/segment",
    response_model=Segmented,
    responses={200: {"content": {"image/png": {}}, "description": "As `format` says."}},
)
async def segment(
    service: Served,
    photo: Annotated[UploadFile, File(description="A photo of any format that recoseg reads.")],
    format: Annotated[  # the name of the field
        AnswerForm,
        Form(
            description="`palette`: a PNG whose values are labels. `rle` and `polygons`: JSON with "
            "the mask of each class. `layers`: JSON with the addresses of two PNGs."
        ),
    ] = "rle",
    threshold: Annotated[
        float | None,
        Form(ge=0, le=1, description="Pixels with a lower certainty become background."),
    ] = None,
    job: Annotated[
        str | None,
        Form(max_length=64, description="Id of a job, whose class is then among the others."),
    ] = None,
) -> Response:
    """Segment one photo."""
    data = await photo.read()
    waiting = await run_in_threadpool(service.segment, data, job)
    result = await asyncio.wrap_future(waiting)
    if result.segmentation is None or result.image is None:
        raise BadImageError(result.failure)
    kept = KeptResult(_stem(photo.filename), data, result.image, result.segmentation)
    return await run_in_threadpool(_answer, service, kept, format, threshold)


def _stem(filename: str | None) -> str:
    """The name of an upload in downloads; browsers of any system may have sent it."""
    return safe_name(PureWindowsPath(filename).stem) if filename else "photo"


def _answer(
    service: Service, result: KeptResult, form: AnswerForm, threshold: float | None
) -> Response:
    with service.drawing:
        return _encoded(service.results, result, form, threshold)


def _encoded(
    results: KeptResults, result: KeptResult, form: AnswerForm, threshold: float | None
) -> Response:
    found = keep_certain(result.segmentation, threshold or 0.0)
    if form == "palette":
        return Response(encode_label_map(found), media_type="image/png")
    answer = Segmented(**describe(found, _SHAPES[form]))
    if form == "layers":
        name = results.add(replace(result, segmentation=found))
        answer.labels = f"/results/{name}/labels.png"
        answer.confidence = f"/results/{name}/confidence.png"
    return JSONResponse(answer.model_dump(exclude_none=True))


@router.get("/formats")
async def formats() -> list[FileFormat]:
    """The formats that results can be downloaded in."""
    return [FileFormat(name=name, title=title) for name, title in TITLES.items()]


@router.get("/results/{name}/labels.png", response_class=Response)
def labels(service: Served, name: str) -> Response:
    """The label of each pixel as grey: 8 bits with 255, or 16 with 65535, for background."""
    with service.drawing:
        content = label_layer(service.results.get(name).segmentation)
    return Response(content, media_type="image/png", headers=_FOREVER)


@router.get("/results/{name}/confidence.png", response_class=Response)
def confidence(service: Served, name: str) -> Response:
    """The certainty of each pixel as grey of 8 bits: the highest probability times 255."""
    with service.drawing:
        content = certainty_layer(service.results.get(name).segmentation)
    return Response(content, media_type="image/png", headers=_FOREVER)


@router.get("/results/{name}/download", response_class=Response)
def downloaded(
    service: Served,
    name: str,
    format: Annotated[str, Query(max_length=40)],  # the name of the field
    threshold: Threshold = None,
) -> Response:
    """A result as a file for another tool; several files come as a zip file."""
    result = service.results.get(name)
    with service.drawing:
        file = download(result, keep_certain(result.segmentation, threshold or 0.0), format)
    headers = {"content-disposition": f"attachment; filename*=UTF-8''{quote(file.name, safe='')}"}
    return Response(file.content, media_type=file.media_type, headers=headers)
