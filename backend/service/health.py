"""State of the service, found without importing torch."""

import os
import runpy
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field


class Health(BaseModel):
    """What /health answers."""

    model: str = Field(
        description="`loading`, `ready`, `failed: <reason>`, `no sources` or `no weights`.",
        examples=["ready"],
    )
    device: Literal["gpu", "cpu"] = Field(
        description="What the container can see, which does not prove that CUDA works."
    )
    torch: str | None = Field(
        description="Version of the installed distribution, null when there is none.",
        examples=["2.5.1"],
    )
    cuda: str | None = Field(
        description="CUDA version that torch was built for, null for a CPU build.",
        examples=["12.4"],
    )
    uptime_s: float = Field(description="Seconds since the service started.", examples=[42.0])
    output_writable: bool = Field(examples=[True])
    advice: list[str] = Field(
        description="What to do about each fault found, one sentence each.", examples=[[]]
    )


@cache
def torch_version() -> str | None:
    """Version of torch without its local part, or None when it is not installed."""
    try:
        return version("torch").partition("+")[0]
    except PackageNotFoundError:
        return None


@cache
def cuda_version() -> str | None:
    """CUDA version that torch was built for, from the file where torch itself has it."""
    torch = find_spec("torch")
    if torch is None or torch.origin is None:
        return None
    found: str | None = runpy.run_path(str(Path(torch.origin).with_name("version.py")))["cuda"]
    return found


def visible_device() -> Literal["gpu", "cpu"]:
    """Say "gpu" when a device node of NVIDIA's driver, or of WSL2's, is there."""
    nodes = any(Path("/dev").glob("nvidia*")) or Path("/dev/dxg").exists()
    return "gpu" if nodes else "cpu"


def output_advice(output: Path) -> str | None:
    """One sentence on how to make the output directory writable; None when it is."""
    if os.access(output, os.W_OK | os.X_OK):
        return None
    if not output.is_dir():
        return f"Mount a directory at {output}."
    user = f"{os.getuid()}:{os.getgid()}"
    advice = f"User {user} cannot write to {output}: run `sudo chown {user} output`"
    owner = output.stat()
    # Docker creates a missing directory as root, which is no reason to run as root.
    if owner.st_uid == 0:
        return f"{advice}."
    return f"{advice}, or set BACKEND_UID={owner.st_uid} and BACKEND_GID={owner.st_gid} in .env."
