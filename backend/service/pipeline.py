"""Upstream's pipeline, and what it takes to serve it. Imports torch: for engine.py alone."""

import io
import tempfile
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from threading import Event
from typing import Any

import torch
from PIL import Image

from .errors import BadImage, NoBackgroundModel, NoSurface
from .health import visible_device
from .images import check_visible
from .messages import Job
from .weights import SUBFOLDER


class Cancelled(Exception):
    """The job under way is not wanted any more."""


class Pipeline:
    """Step1X-3D's geometry pipeline on the best device there is."""

    def __init__(self, weights: Path, cancelled: Event) -> None:
        """Load from a directory that holds SUBFOLDER; upstream's package must be importable.

        Once `cancelled` is set, the job under way ends at its next step.
        """
        from step1x3d_geometry.models.pipelines.pipeline import Step1X3DGeometryPipeline

        self._cancelled = cancelled
        self._background: Any = None
        self._upstream = Step1X3DGeometryPipeline.from_pretrained(
            str(weights), subfolder=SUBFOLDER
        ).to(usable_device())
        self._upstream.set_progress_bar_config(disable=True)
        # Upstream calls these once a denoising step and once a chunk of the volume.
        for module in (self._upstream.transformer, self._upstream.vae.decoder):
            module.register_forward_pre_hook(self._give_up_if_cancelled)
        self._upstream.vae.extract_geometry = with_surface(self._upstream.vae.extract_geometry)

    def generate(self, job: Job) -> bytes:
        """Make a mesh, as binary glTF; the same job gives the same mesh on one device.

        Raises Cancelled, BadImage, NoBackgroundModel, NoSurface, torch.OutOfMemoryError, and
        whatever upstream fails with.
        """
        picture = self._cut_out(Image.open(io.BytesIO(job.image)))
        with tempfile.NamedTemporaryFile(suffix=".png") as file:
            picture.save(file, "PNG", compress_level=1)
            file.flush()
            # Upstream takes a path alone; it refuses an image although it says otherwise.
            result = self._upstream(
                file.name,
                num_inference_steps=job.steps,
                guidance_scale=job.guidance,
                octree_resolution=job.octree_resolution,
                max_facenum=job.max_faces,
                generator=torch.Generator(self._upstream.device).manual_seed(job.seed),
            )
        mesh = result.mesh[0]
        if mesh.is_empty:
            raise NoSurface
        # Smooth shading leaves a list of every face here, which would be half of the file.
        mesh.metadata.clear()
        glb: bytes = mesh.export(file_type="glb")
        return glb

    def _give_up_if_cancelled(self, *_: Any) -> None:
        if self._cancelled.is_set():
            raise Cancelled

    def _cut_out(self, picture: Image.Image) -> Image.Image:
        """The picture without its background, as upstream would cut it out.

        Upstream loads the model for that anew each time, and fails where nothing is left.
        """
        opaque = picture.getchannel("A").histogram()[255]
        if opaque < picture.width * picture.height:
            return picture
        import rembg
        from rembg.sessions.base import BaseSession

        if self._background is None:
            try:
                # Upstream asks for `bria`; rembg knows no model of that name and takes this one.
                self._background = rembg.new_session("u2net")
            except Exception as error:
                directory = BaseSession.u2net_home()
                raise NoBackgroundModel(
                    "the image has no transparent background, and the model that removes "
                    f"backgrounds is neither in {directory} nor can it be downloaded "
                    f"({type(error).__name__}): send a PNG or WebP with transparency, or give "
                    "the service a network once"
                ) from error
        cut: Image.Image = rembg.remove(picture, session=self._background)
        try:
            check_visible(cut)
        except BadImage:
            raise BadImage(
                "no foreground was found in the image: send one of a single object, or a PNG "
                "with a transparent background"
            ) from None
        return cut


def usable_device() -> str:
    """What torch computes on: "cuda" or "cpu".

    Raises RuntimeError where there is a GPU that torch cannot use: a GPU machine must not
    end up on the CPU unnoticed.
    """
    if torch.cuda.is_available():
        # A card that is there may compute nothing all the same, and errors of kernels come late.
        if torch.ones(2, device="cuda").sum().item() != 2:
            raise RuntimeError("the GPU computes wrongly: run `cargo xtask doctor`")
        return "cuda"
    if visible_device() == "gpu":
        raise RuntimeError("torch cannot use the GPU in the container: run `cargo xtask doctor`")
    return "cpu"


def with_surface(extract: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """Raise what upstream swallows where it would go on with a mesh that is None.

    That is NoSurface only if marching cubes says so; the device may as well be out of memory.
    """
    from step1x3d_geometry.models.autoencoders import surface_extractors

    swallowed: list[Exception] = []
    for kind, name in (
        (surface_extractors.MCSurfaceExtractor, "run"),
        (surface_extractors.MeshExtractResult, "__init__"),
    ):
        setattr(kind, name, remembering(getattr(kind, name), swallowed))

    def extract_geometry(*args: Any, **kwargs: Any) -> list[Any]:
        swallowed.clear()
        meshes = extract(*args, **kwargs)
        if None not in meshes:
            return meshes
        error = swallowed.pop() if swallowed else RuntimeError("upstream made no mesh")
        # scikit-image's words where all values are on one side, and where they are not numbers.
        if str(error).startswith(("Surface level must be", "No surface found")):
            raise NoSurface from error
        raise error

    return extract_geometry


def remembering(function: Callable[..., Any], raised: list[Exception]) -> Callable[..., Any]:
    """The function, which also puts into a list what it raises."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            raised.append(error)
            raise

    return call
