"""What a client may say about its mesh."""

import secrets
from dataclasses import dataclass
from typing import Annotated

from fastapi import File, Form, UploadFile

MAX_SEED = 2**32 - 1
MIN_RESOLUTION = 64


@dataclass(frozen=True)
class Parameters:
    """The form of POST /generate-3d; the defaults are upstream's."""

    image: Annotated[
        UploadFile,
        File(
            description="PNG, JPEG or WebP of one object; with transparency, the opaque part is "
            "the object, and without, its background is removed."
        ),
    ]
    seed: Annotated[
        int | None,
        Form(
            ge=0,
            le=MAX_SEED,
            description="The same seed and inputs give the same mesh on one device; without one, "
            "a random seed. The answer names it.",
            examples=[42],
        ),
    ] = None
    # Upstream leaves the first step without effect, so one step would be noise.
    steps: Annotated[int, Form(ge=2, le=100, description="Denoising steps.")] = 50
    guidance: Annotated[
        float, Form(ge=1, le=20, description="How closely the mesh follows the image.")
    ] = 7.5
    # Upstream halves the grid down to 63 cells, up to three times, and needs each half whole.
    octree_resolution: Annotated[
        int,
        Form(
            ge=MIN_RESOLUTION,
            le=512,
            multiple_of=8,
            description="Cells along a side of the volume; memory and time grow with its cube.",
        ),
    ] = 384
    max_faces: Annotated[
        int,
        Form(
            ge=100,
            le=2_000_000,
            description="The mesh is reduced to about this many triangles; one whose topology "
            "forbids it keeps more.",
        ),
    ] = 200_000

    def seed_or_random(self) -> int:
        """The seed asked for, or a random one."""
        return secrets.randbelow(MAX_SEED + 1) if self.seed is None else self.seed
