"""The routes of a machine learning backend of Label Studio, for a FastAPI application.

In the settings of a project, under *Model*, the backend's address is that of the application with
the prefix at its end, such as `http://localhost:8000/label-studio`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from recoseg.errors import MissingExtraError, RecosegError
from recoseg.neighbours.label_studio import TaskPhotos, control_of, predictions
from recoseg.segmentation.result import Result

try:
    from fastapi import APIRouter, Body, HTTPException
except ImportError as error:
    raise MissingExtraError("fastapi", "serve", "A backend of Label Studio") from error

PREFIX = "/label-studio"

Request = Annotated[dict[str, Any], Body()]
"""The fields of a request, as JSON."""


def label_studio_routes(
    segment: Callable[[bytes], Result],
    photos: TaskPhotos,
    version: Callable[[], str],
    prefix: str = PREFIX,
) -> APIRouter:
    """The routes that Label Studio asks: `health`, `setup`, `predict` and `webhook`.

    Args:
        segment: Segments the photo in some bytes; called in threads.
        photos: Reads the photos of tasks.
        version: Gives the version of what segments, which Label Studio keeps with predictions.
        prefix: What comes before the names of the routes.
    """
    router = APIRouter(prefix=prefix)

    @router.get("/health")
    def health() -> dict[str, str]:
        """That the backend answers."""
        return {"status": "UP", "model_class": "recoseg"}

    @router.post("/setup")
    def setup(request: Request) -> dict[str, str]:
        """Tell the version; an interface that takes no masks is refused."""
        schema = request.get("schema")
        if isinstance(schema, str) and schema.strip():
            _control(schema)
        return {"model_version": version()}

    @router.post("/predict")
    def predict(request: Request) -> dict[str, Any]:
        """Segment the photos of tasks."""
        tasks = request.get("tasks")
        if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
            raise HTTPException(422, "Expected the field 'tasks' as a list of tasks.")
        control = _control(request.get("label_config"))
        current = version()
        found = predictions(tasks, control, segment, photos, current)
        return {"results": found, "model_version": current}

    @router.post("/webhook")
    def webhook(request: Request) -> dict[str, str]:
        """Label Studio tells what has happened; nothing is learnt from it."""
        return {}

    return router


def _control(config: object) -> Any:
    try:
        return control_of(config if isinstance(config, str) else "")
    except RecosegError as error:
        raise HTTPException(422, str(error)) from error
