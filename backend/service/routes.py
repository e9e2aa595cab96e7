"""The routes: /health and /generate-3d."""

import asyncio
import time
from dataclasses import fields
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool

from . import images, output
from .errors import HEADERS, BadParameter, ClientGone, OutputFailed, responses
from .form import FormRoute
from .health import Health, cuda_version, output_advice, torch_version, visible_device
from .messages import Job
from .model import Model
from .parameters import Parameters
from .settings import Settings
from .turns import Turns

MESH = "model/gltf-binary"
LONGEST_NAME = 40
"""How much of an unknown field's name is repeated, in characters."""
STARTED = time.monotonic()

router = APIRouter()
forms = APIRouter(route_class=FormRoute)


class Service:
    """What the routes share."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.model = Model(settings)
        self.turns = Turns(settings.max_queue)

    async def make(self, upload: bytes, parameters: Parameters, seed: int) -> bytes:
        """Take a place in the queue and, when it is its turn, make a mesh; raises a Problem."""
        with self.turns.place():
            job = Job(
                await run_in_threadpool(images.prepare, upload, self.settings.max_image_side),
                seed,
                parameters.steps,
                parameters.guidance,
                parameters.octree_resolution,
                parameters.max_faces,
            )
            async with self.turns.device():
                return await self.model.generate(job)


def shared(request: Request) -> Service:
    """The service that the app was created with."""
    service: Service = request.app.state.service
    return service


@router.get("/health", summary="How the service is")
async def health(service: Annotated[Service, Depends(shared)]) -> Health:
    """Say how the service is; 200 as long as it answers at all."""
    outputs = output_advice(service.settings.output_path)
    return Health(
        model=service.model.summary,
        device=visible_device(),
        torch=torch_version(),
        cuda=cuda_version(),
        uptime_s=round(time.monotonic() - STARTED, 1),
        output_writable=outputs is None,
        advice=[advice for advice in (service.model.advice, outputs) if advice],
    )


@forms.post(
    "/generate-3d",
    summary="An image to a mesh",
    response_class=Response,
    responses={
        200: {
            "description": "The mesh as binary glTF, which begins with `glTF`.",
            "content": {
                MESH: {"schema": {"type": "string", "format": "binary"}, "example": "glTF…"}
            },
            "headers": {
                "X-Output-File": {
                    "description": "Name of the same file in the output directory.",
                    "schema": {"type": "string"},
                    "example": "20250513-101500-0f6e2a9b7c1d.glb",
                },
                "X-Seed": {
                    "description": "Seed that makes this mesh again.",
                    "schema": {"type": "integer"},
                    "example": 42,
                },
                **HEADERS,
            },
        },
        **responses(),
    },
)
async def generate_3d(
    request: Request,
    service: Annotated[Service, Depends(shared)],
    parameters: Annotated[Parameters, Depends()],
) -> Response:
    """Make a mesh of the object in an image, and keep a copy in the output directory.

    One request at a time; others wait, and a client that goes away frees its place.
    """
    refuse_unknown(set(await request.form()))
    service.model.require_ready()
    if advice := output_advice(service.settings.output_path):
        raise OutputFailed(advice)
    seed = parameters.seed_or_random()
    work = asyncio.create_task(service.make(await parameters.image.read(), parameters, seed))
    gone = asyncio.create_task(disconnected(request))
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientGone
        glb = await work
    finally:
        # Also when this very task is cancelled. The work keeps its turn until the device is free.
        work.cancel()
        gone.cancel()
    name = await run_in_threadpool(output.keep, glb, service.settings.output_path)
    request.state.notes.update(seed=seed, file=name)
    return Response(glb, media_type=MESH, headers={"X-Output-File": name, "X-Seed": str(seed)})


def refuse_unknown(names: set[str]) -> None:
    """Raise BadParameter for a field that would have no effect, such as a misspelt one."""
    known = {field.name for field in fields(Parameters)}
    if unknown := names - known:
        name = ascii(min(unknown)[:LONGEST_NAME])
        raise BadParameter(f"unknown field {name}: there are {', '.join(sorted(known))}")


async def disconnected(request: Request) -> None:
    """Wait until the client goes away; the body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
