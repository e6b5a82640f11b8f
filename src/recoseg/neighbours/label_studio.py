"""Predictions for Label Studio: what its interface asks for, and where the photos of tasks are."""

from __future__ import annotations

import base64
import binascii
import logging
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPMessage
from typing import IO, Any
from urllib.parse import urljoin, urlsplit
from xml.etree import ElementTree as Xml

from recoseg.errors import BadImageError, FileError, OptionError
from recoseg.formats.label_studio import results_of
from recoseg.neighbours.detections import labelled
from recoseg.photos.files import MAX_BYTES
from recoseg.segmentation.result import Result

_log = logging.getLogger(__name__)

TOKEN = "LABEL_STUDIO_API_KEY"
"""The variable of the environment that holds a token of Label Studio, to read photos with."""

_KINDS = {"BrushLabels": "brushlabels", "PolygonLabels": "polygonlabels"}
_MAX_CONFIG = 1 << 20  # characters of a labelling interface
_SECONDS = 30.0


@dataclass(frozen=True)
class Control:
    """The part of a labelling interface that takes masks.

    Attributes:
        name: Its name, `from_name` in results.
        to_name: The name of the image that it belongs to.
        value: The field of a task's data that holds the image.
        kind: `brushlabels` or `polygonlabels`.
        labels: The labels that it offers.
    """

    name: str
    to_name: str
    value: str
    kind: str
    labels: tuple[str, ...]


def control_of(config: str) -> Control:
    """Find what takes masks in a labelling interface: its first brushes or polygons with labels.

    Raises:
        FileError: It is no XML, too long, or has neither.

    Example:
        >>> control_of('<View><Image name="i" value="$photo"/><BrushLabels name="b" toName="i">'
        ...            '<Label value="dog"/></BrushLabels></View>')
        Control(name='b', to_name='i', value='photo', kind='brushlabels', labels=('dog',))
    """
    if len(config) > _MAX_CONFIG:
        raise FileError(f"The labelling interface has more than {_MAX_CONFIG:,} characters.")
    try:
        view = Xml.fromstring(config)
    except Xml.ParseError as error:
        raise FileError(f"The labelling interface cannot be read: {error}.") from error
    images = {image.get("name"): image.get("value", "") for image in view.iter("Image")}
    for element in view.iter():
        if element.tag in _KINDS and element.get("toName") in images:
            to_name = element.get("toName", "")
            return Control(
                element.get("name", ""),
                to_name,
                images[to_name].removeprefix("$"),
                _KINDS[element.tag],
                tuple(label.get("value", "") for label in element.iter("Label")),
            )
    raise FileError(
        "The labelling interface takes no masks. Expected <BrushLabels> or <PolygonLabels> with "
        "the names of the classes, for an <Image>."
    )


def predictions(
    tasks: Sequence[Mapping[str, Any]],
    control: Control,
    segment: Callable[[bytes], Result],
    photos: TaskPhotos,
    version: str,
) -> list[dict[str, Any]]:
    """A prediction for each task; one whose photo cannot be used has no masks, and is logged.

    Other errors of `segment` are raised, so that Label Studio asks again.

    Args:
        tasks: Label Studio's tasks.
        control: What takes the masks; classes that are none of its labels are left out.
        segment: Segments the photo in some bytes.
        photos: Reads the photos of tasks.
        version: The version of the model, which Label Studio shows.
    """
    return [_prediction(task, control, segment, photos, version) for task in tasks]


def _prediction(
    task: Mapping[str, Any],
    control: Control,
    segment: Callable[[bytes], Result],
    photos: TaskPhotos,
    version: str,
) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    scores: dict[str, float] = {}
    try:
        result = segment(photos.read(task, control.value))
        if result.segmentation is None:
            raise BadImageError(result.failure)
        item = labelled(result.segmentation, polygons=control.kind == "polygonlabels")
        scores = result.confidence()
        for one in results_of(item, control.name, control.to_name):
            [name] = one["value"][control.kind]
            if name in control.labels:
                found.append({**one, "score": scores.get(name, 1.0)})
    except BadImageError as error:
        _log.warning("No prediction for task %s: %s", task.get("id", "?"), error)
    named = [one["score"] for one in found]
    return {
        "model_version": version,
        "score": sum(named) / len(named) if named else 0.0,
        "result": found,
    }


class TaskPhotos:
    """Reads the photos of tasks: from Label Studio itself, and nowhere else.

    Tasks come from a server, so that an address in them may lead anywhere. Only Label Studio is
    asked, which may lead on to its storage; the token is not sent there.

    Args:
        url: The address of Label Studio, such as `http://localhost:8080`.
        token: Its access token; None takes that of the environment, `LABEL_STUDIO_API_KEY`.
        limit: Maximum size of a photo, bytes.

    Raises:
        OptionError: The address is none of the web.
    """

    def __init__(self, url: str, token: str | None = None, limit: int = MAX_BYTES) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise OptionError(
                f"Cannot use {url!r} as the address of Label Studio. Expected one such as "
                "http://localhost:8080."
            )
        self._url = url.rstrip("/") + "/"
        self._origin = (parts.scheme, parts.netloc)
        self._token = os.environ.get(TOKEN, "") if token is None else token
        self._limit = limit
        self._opener = urllib.request.build_opener(_WithoutToken)

    def read(self, task: Mapping[str, Any], field: str) -> bytes:
        """The bytes of a task's photo.

        Args:
            task: The task.
            field: The field of its data that holds the photo.

        Raises:
            BadImageError: The task has no photo, it lies elsewhere, cannot be read or is too large.
        """
        data = task.get("data")
        address = data.get(field) if isinstance(data, Mapping) else None
        if not isinstance(address, str) or not address:
            raise BadImageError(f"its data have no photo in the field {field!r}")
        if address.startswith("data:"):
            return self._inline(address)
        whole = urljoin(self._url, address)
        parts = urlsplit(whole)
        if (parts.scheme, parts.netloc) != self._origin:
            raise BadImageError(
                f"its photo lies at {address[:200]}, which is not Label Studio's. Let Label Studio "
                "serve it: upload it, or add its folder or bucket as a source storage"
            )
        headers = {"Authorization": f"Token {self._token}"} if self._token else {}
        try:
            request = urllib.request.Request(whole, headers=headers)
            with self._opener.open(request, timeout=_SECONDS) as response:
                read: bytes = response.read(self._limit + 1)
        except urllib.error.HTTPError as error:
            raise BadImageError(_refused(error.code, address)) from error
        except (OSError, ValueError) as error:
            raise BadImageError(f"its photo cannot be read from {whole[:200]}: {error}") from error
        return self._bounded(read)

    def _inline(self, address: str) -> bytes:
        head, _, text = address.partition(",")
        if not head.endswith(";base64") or len(text) > 2 * self._limit:
            raise BadImageError("its photo is no base64, or too large")
        try:
            return self._bounded(base64.b64decode(text, validate=True))
        except binascii.Error as error:
            raise BadImageError(f"its photo is no base64: {error}") from error

    def _bounded(self, data: bytes) -> bytes:
        if len(data) > self._limit:
            raise BadImageError(f"its photo has more than {self._limit:,} bytes")
        return data


class _WithoutToken(urllib.request.HTTPRedirectHandler):
    """Follows Label Studio to its storage, without the token, and over HTTP only."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """See the class of the library."""
        followed = super().redirect_request(req, fp, code, msg, headers, newurl)
        if followed is not None and urlsplit(newurl)[:2] != urlsplit(req.full_url)[:2]:
            followed.remove_header("Authorization")
        return followed


def _refused(code: int, address: str) -> str:
    if code in (401, 403):
        return (
            f"Label Studio does not let its photo {address[:200]} be read ({code}). Set {TOKEN} to "
            "a token of a user who may see the project"
        )
    return f"Label Studio answers {code} for its photo {address[:200]}"
