"""Searching the index, learning classes, and removing them."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from recoseg.serving.answers import (
    JobState,
    Learnt,
    LearntPhoto,
    Retrieved,
    RetrievedPhoto,
    Started,
    ToLearn,
    Wanted,
)
from recoseg.serving.jobs import Job
from recoseg.serving.page_routes import Served
from recoseg.serving.teaching import Taught
from recoseg.serving.verdicts import verdict_of
from recoseg.storage.shown import shown

router = APIRouter()


@router.post("/retrieve")
def retrieve(service: Served, wanted: Wanted) -> Retrieved:
    """The photos of the index that show a class best, and whether they show it."""
    found = service.retrieve(wanted.name, wanted.k)
    index = service.index
    assert index is not None
    photos = [
        RetrievedPhoto(row=hit.position, path=shown(index.path(hit.position)), score=hit.score)
        for hit in found.hits
    ]
    return Retrieved(photos=photos, verdict=verdict_of(found.verdict), advice=found.verdict.advice)


@router.get("/photos/{row}", response_class=Response)
def photo(service: Served, row: int, size: Annotated[int, Query(ge=16, le=2048)] = 256) -> Response:
    """A photo of the index as a JPEG whose longer side has at most `size` pixels."""
    service.check_row(row)
    headers = {"cache-control": "private, max-age=3600"}
    return Response(service.thumbnail(row, size), media_type="image/jpeg", headers=headers)


@router.post("/learn", status_code=202)
def learn(service: Served, wanted: ToLearn) -> Started:
    """Let a class be learnt; `GET /jobs/ID` tells how far it is."""
    return Started(job=service.learn(wanted.name, wanted.rejected, wanted.keep).id)


@router.get("/jobs/{name}")
def job(service: Served, name: str) -> JobState:
    """How far a job is, and what has come of it."""
    return _state(service.job(name))


@router.delete("/jobs/{name}")
def cancel(service: Served, name: str) -> JobState:
    """Cancel a job, which ends at its next step."""
    found = service.job(name)
    found.cancel()
    return _state(found)


@router.delete("/classes/{name:path}", status_code=204)  # names may hold slashes
def forget(service: Served, name: str) -> None:
    """Remove a class from the bank."""
    service.forget(name)


def _state(job: Job) -> JobState:
    state = job.state  # first: what is read after it is at least as far
    taught: Taught | None = job.result if state == "done" else None
    return JobState(
        id=job.id,
        state=state,
        progress=job.progress,
        message=job.message,
        error=job.error,
        result=None if taught is None else _learnt(taught),
    )


def _learnt(taught: Taught) -> Learnt:
    verdict = taught.concept.verdict
    photos = [
        LearntPhoto(
            row=one.row,
            path=shown(one.path),
            score=one.score,
            seed=None if one.seed is None else list(one.seed),
        )
        for one in taught.photos
    ]
    return Learnt(
        name=taught.name,
        verdict=verdict_of(verdict),
        advice=verdict.advice,
        photos=photos,
        kept=taught.kept,
        label=taught.label,
    )
