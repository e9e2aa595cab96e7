"""Every answer that is not a mesh: its status, and how its reader fixes what went wrong.

A problem is raised wherever it is found, also while the body is read: FastAPI hands an
HTTPException through to the client as `{"detail": …}`.
"""

from typing import Any, ClassVar

from fastapi import HTTPException
from pydantic import BaseModel, Field


class Problem(HTTPException):
    """A status and a sentence; `example` is what /docs shows."""

    status: ClassVar[int]
    example: ClassVar[str]

    def __init__(self, detail: str | None = None, headers: dict[str, str] | None = None) -> None:
        super().__init__(self.status, detail or self.example, headers)


class BadForm(Problem):
    """The body is no multipart form."""

    status = 400
    example = "the multipart body is damaged or ends early: send it again"


class BodyTooLarge(Problem):
    """Refused while it is read."""

    status = 413
    example = "the body is larger than 20 MB (MAX_UPLOAD_MB): send a smaller file"


class NotAForm(Problem):
    """Refused before it is read: another type of body than a multipart form."""

    status = 415
    example = (
        "the body is no multipart form: send one with the file in `image`, "
        "as `curl -F image=@picture.png` does"
    )


class NotAnImage(Problem):
    """Of another format, or damaged beyond recognition."""

    status = 415
    example = "this is not a PNG, JPEG or WebP image: convert it to one of them"


class BadImage(Problem):
    """An image that no mesh can be made of."""

    status = 422
    example = "the image is 90000 × 90000 pixels; a side may have 16 to 4096: scale it"


class BadParameter(Problem):
    """Out of bounds, or unknown."""

    status = 422
    example = "steps: Input should be less than or equal to 100"


class NoSurface(Problem):
    """The model found no surface between inside and outside."""

    status = 422
    example = "the model made no surface of this image: try another seed or more steps"


class QueueFull(Problem):
    """As many wait as may; comes with Retry-After, in seconds."""

    status = 429
    example = "4 requests are waiting (MAX_QUEUE): try again in 60 s"


class ClientGone(Problem):
    """The client is gone; the status is nginx's, for the log."""

    status = 499
    example = "the client went away"


class Unexpected(Problem):
    """A fault of the service; the log has the details under the request's id."""

    status = 500
    example = "unexpected error: look for 3f2a9c in `docker compose logs backend`"


class NotReady(Problem):
    """Loading, or what the model lacks and the command that fixes it."""

    status = 503
    example = (
        "no sources: run `git submodule update --init backend/Step1X-3D`, then `cargo xtask up`"
    )


class NoBackgroundModel(Problem):
    """The image is opaque, and what would cut out its foreground is not there."""

    status = 503
    example = (
        "the image has no transparent background, and the model that removes backgrounds is "
        "neither in /models/u2net nor can it be downloaded: send a PNG or WebP with "
        "transparency, or give the service a network once"
    )


class OutputFailed(Problem):
    """The mesh cannot be kept."""

    status = 503
    example = "the mesh cannot be written to /output: No space left on device"


class ShuttingDown(Problem):
    """The grace period ended before the generation did."""

    status = 503
    example = "the service stopped before the mesh was ready: send the request again"


class OutOfMemory(Problem):
    """The device's memory did not suffice; the next request starts from scratch."""

    status = 507
    example = "the device ran out of memory: lower octree_resolution, which was 384"


ALL: tuple[type[Problem], ...] = (
    BadForm,
    BodyTooLarge,
    NotAForm,
    NotAnImage,
    BadImage,
    BadParameter,
    NoSurface,
    QueueFull,
    Unexpected,
    NotReady,
    NoBackgroundModel,
    OutputFailed,
    ShuttingDown,
    OutOfMemory,
)


HEADERS: dict[str, Any] = {
    "X-Request-ID": {
        "description": "Id of the request in the log; every answer has one.",
        "schema": {"type": "string"},
        "example": "3f2a9c4e1b7d",
    },
}
"""Of every answer, also of a mesh."""


class Detail(BaseModel):
    """The body of every answer that is not a mesh."""

    detail: str = Field(description="What is wrong and how to fix it.")


def responses() -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of every problem: an example for each, grouped by status."""
    described: dict[int | str, dict[str, Any]] = {}
    for problem in ALL:
        answer = described.setdefault(
            problem.status,
            {
                "model": Detail,
                "description": problem.__doc__,
                "content": {"application/json": {"examples": {}}},
                "headers": dict(HEADERS),
            },
        )
        answer["content"]["application/json"]["examples"][problem.__name__] = {
            "summary": problem.__doc__,
            "value": {"detail": problem.example},
        }
    for status in (QueueFull.status, NotReady.status):
        described[status]["headers"]["Retry-After"] = {
            "description": "Seconds until it is worth trying again, where that is known.",
            "schema": {"type": "integer"},
            "example": 60,
        }
    return described
