"""The interface of upstream's pipeline around a relief of the image, for want of a model.

Some seeds stand for faults; STAND_IN_STEP_S is how long a step takes, in seconds, and
STAND_IN_STARTED a file that appears with the first one.
"""

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import torch
import trimesh
from PIL import Image

from ..autoencoders.surface_extractors import MCSurfaceExtractor, MeshExtractResult

OUT_OF_MEMORY = 4_000_000_001
FAILURE = 4_000_000_002
NO_SURFACE = 4_000_000_003
CRASH = 4_000_000_004
NO_TRIANGLE = 4_000_000_005
KILLED = 4_000_000_006
OUT_OF_MEMORY_AT_THE_SURFACE = 4_000_000_007
CPU_OUT_OF_MEMORY = 4_000_000_008
CUBLAS_OUT_OF_MEMORY = 4_000_000_009


class Vae:
    """The decoder is called once a chunk, as upstream does."""

    def __init__(self) -> None:
        self.decoder = torch.nn.Identity()

    def extract_geometry(self, heights: torch.Tensor) -> list[MeshExtractResult | None]:
        """A relief; None where it fails."""
        self.decoder(heights)
        return MCSurfaceExtractor()(heights)


class Step1X3DGeometryPipeline:
    """What the service uses of upstream's class of this name."""

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self.transformer = torch.nn.Identity()
        self.vae = Vae()

    @classmethod
    def from_pretrained(cls, model_path: str, subfolder: str = ".") -> Self:
        """Fails on weights that are not its own."""
        (Path(model_path) / subfolder / "stand_in").read_text()
        return cls()

    def to(self, device: str) -> Self:
        """Like torch's."""
        self.device = torch.device(device)
        return self

    def set_progress_bar_config(self, **_: Any) -> None:
        """There is none."""

    def __call__(
        self,
        image: str,
        *,
        num_inference_steps: int,
        guidance_scale: float,
        octree_resolution: int,
        max_facenum: int,
        generator: torch.Generator,
    ) -> SimpleNamespace:
        """A relief of the image with noise of the seed, of at most `max_facenum` triangles."""
        print("upstream prints what it does")
        Path(os.environ["STAND_IN_STARTED"]).touch()
        for _ in range(num_inference_steps):
            self.transformer(generator)
            time.sleep(float(os.environ.get("STAND_IN_STEP_S", "0")))
        n = min(octree_resolution // 4, int((max_facenum // 2) ** 0.5) + 1)
        picture = np.asarray(Image.open(image).convert("RGBA").resize((n, n)), np.float32) / 255
        heights = torch.from_numpy(picture[..., :3].mean(-1) * picture[..., 3])
        heights += torch.rand(n, n, generator=generator) / guidance_scale
        match generator.initial_seed():
            case seed if seed == OUT_OF_MEMORY:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            case seed if seed == CPU_OUT_OF_MEMORY:
                torch.empty(2**60, dtype=torch.uint8)
            case seed if seed == CUBLAS_OUT_OF_MEMORY:
                raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling")
            case seed if seed == FAILURE:
                raise RuntimeError("secret of the machine room")
            case seed if seed == NO_SURFACE:
                heights[:] = torch.nan
            case seed if seed == OUT_OF_MEMORY_AT_THE_SURFACE:
                heights[:] = torch.inf
            case seed if seed == CRASH:
                os._exit(3)
            case seed if seed == KILLED:
                os.kill(os.getpid(), signal.SIGKILL)
            case seed if seed == NO_TRIANGLE:
                return SimpleNamespace(mesh=[trimesh.Trimesh()])
        return SimpleNamespace(mesh=self.vae.extract_geometry(heights))
