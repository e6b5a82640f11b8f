"""The forms of requests and answers, from which the description at `/openapi.json` is made."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

Verdict = Literal["good", "weak", "probably absent"]


class Refusal(BaseModel):
    """Why a request was not answered."""

    error: Annotated[str, Field(description="One or more sentences.")]


class Health(BaseModel):
    """That the server answers, and what it serves."""

    status: Literal["ok"]
    version: str
    bank: Annotated[str, Field(description="Name of the bank's or model's file.")]
    device: Annotated[str, Field(description="Where the encoders run.")]


class Class(BaseModel):
    """A class that photos are segmented into."""

    label: int
    name: str
    colour: Annotated[str, Field(description="As #rrggbb.")]
    words: Annotated[
        str | None, Field(description="The class as a line of a list of classes; null if unknown.")
    ]
    verdict: Annotated[
        Verdict | None, Field(description="Whether the archive shows it; null if it is not known.")
    ]
    photos: Annotated[int | None, Field(description="Photos that it was learnt from.")]


class MostOf(BaseModel):
    """How much the server takes on."""

    bytes: int
    pixels: int
    classes: int


class Classes(BaseModel):
    """The classes, and what can be done with them."""

    classes: list[Class]
    background: Annotated[
        int | None, Field(description="The label of the class that stands for background, if any.")
    ]
    writable: Annotated[bool, Field(description="Whether classes can be kept and removed.")]
    index: Annotated[bool, Field(description="Whether classes can be learnt.")]
    photos: Annotated[int | None, Field(description="Photos of the index.")]
    limits: MostOf


class RunLength(BaseModel):
    """A mask as COCO's compressed run lengths."""

    size: Annotated[list[int], Field(description="Height and width, pixels.")]
    counts: str


class Found(BaseModel):
    """A class that is present in a photo."""

    label: int
    name: str
    colour: str
    share: Annotated[float, Field(description="Fraction of the photo that it covers.")]
    confidence: Annotated[float | None, Field(description="How sure the segmenter is, 0 to 1.")]
    rle: RunLength | None = None
    polygons: Annotated[
        list[list[float]] | None, Field(description="Outlines as x, y, x, y and so on, pixels.")
    ] = None


class Segmented(BaseModel):
    """A segmented photo."""

    width: int
    height: int
    classes: Annotated[list[Found], Field(description="Those that are present, largest first.")]
    labels: Annotated[str | None, Field(description="Address of the label map (`layers`).")] = None
    confidence: Annotated[
        str | None, Field(description="Address of the certainty of each pixel (`layers`).")
    ] = None


class FileFormat(BaseModel):
    """A format that a result can be downloaded in."""

    name: str
    title: str


class Wanted(BaseModel):
    """A class to search photos of."""

    name: Annotated[str, Field(max_length=1000, description="Such as `sofa; couch; -bed`.")]
    k: Annotated[int, Field(ge=1, le=200, description="Number of photos.")] = 24


class RetrievedPhoto(BaseModel):
    """A photo of the index."""

    row: int
    path: str
    score: float


class Retrieved(BaseModel):
    """The photos that show a class best."""

    photos: list[RetrievedPhoto]
    verdict: Verdict | None
    advice: str


class ToLearn(BaseModel):
    """A class to learn."""

    name: Annotated[str, Field(max_length=1000, description="Such as `sofa; couch; -bed`.")]
    rejected: Annotated[
        list[int], Field(max_length=10_000, description="Rows that it must not be learnt from.")
    ] = []
    keep: Annotated[bool, Field(description="Whether it is written into the bank.")] = False


class Started(BaseModel):
    """A job that has been taken on."""

    job: str


class LearntPhoto(RetrievedPhoto):
    """A photo that a class was learnt from."""

    seed: Annotated[
        list[float] | None, Field(description="Its best seed as shares x, y of the upright photo.")
    ]


class Learnt(BaseModel):
    """A class that has been learnt."""

    name: str
    verdict: Verdict | None
    advice: str
    photos: list[LearntPhoto]
    kept: bool
    label: Annotated[int, Field(description="Its label where it is among the classes.")]


class JobState(BaseModel):
    """How far a job is."""

    id: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    progress: Annotated[float, Field(ge=0, le=1)]
    message: str
    error: str | None
    result: Learnt | None
