"""HTTP service around Step1X-3D, which turns an image into a 3D mesh."""

import logging
import os
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from fastapi import FastAPI
from pydantic import BaseModel

STARTED = time.monotonic()
SOURCES = Path(__file__).with_name("Step1X-3D")
OUTPUT = Path("/output")
WEIGHTS = Path(os.environ.get("MODEL_PATH") or "/models/Step1X-3D")
DOWNLOADED_WEIGHTS = (
    Path(os.environ.get("HF_HOME", "/models/huggingface"))
    / "hub/models--stepfun-ai--Step1X-3D/snapshots"
)

app = FastAPI(title="Step1X-3D")


class Health(BaseModel):
    """State of the service, found without importing torch."""

    model: Literal["no sources", "no weights", "not loaded"]
    torch: str | None
    """Version of the installed distribution; None when there is none."""
    device: Literal["gpu", "cpu"]
    """What the container can see, which does not prove that CUDA works."""
    uptime_s: float
    """Seconds since this module was imported."""
    output_writable: bool
    advice: list[str]
    """What to do about each fault found, one sentence each."""


@app.get("/health")
def health() -> Health:
    """Say how the service is; 200 as long as it answers at all."""
    output_writable = os.access(OUTPUT, os.W_OK | os.X_OK)
    return Health(
        model=model_state(),
        torch=torch_version(),
        device=visible_device(),
        uptime_s=round(time.monotonic() - STARTED, 1),
        output_writable=output_writable,
        advice=[] if output_writable else [output_advice()],
    )


def model_state() -> Literal["no sources", "no weights", "not loaded"]:
    """Say what the model lacks; "not loaded" when it lacks nothing."""
    # An empty directory is what a submodule that was not checked out leaves.
    if not any(SOURCES.glob("*")):
        return "no sources"
    for directory in (WEIGHTS, DOWNLOADED_WEIGHTS):
        if any(directory.rglob("*.safetensors")):
            return "not loaded"
    return "no weights"


def torch_version() -> str | None:
    """Version of torch without its local part, or None when it is not installed."""
    try:
        return version("torch").partition("+")[0]
    except PackageNotFoundError:
        return None


def visible_device() -> Literal["gpu", "cpu"]:
    """Say "gpu" when a device node of NVIDIA's driver, or of WSL2's, is there."""
    nodes = any(Path("/dev").glob("nvidia*")) or Path("/dev/dxg").exists()
    return "gpu" if nodes else "cpu"


def output_advice() -> str:
    """One sentence on how to make the output directory writable."""
    if not OUTPUT.is_dir():
        return f"Mount a directory at {OUTPUT}."
    user = f"{os.getuid()}:{os.getgid()}"
    advice = f"User {user} cannot write to {OUTPUT}: run `sudo chown {user} output`"
    owner = OUTPUT.stat()
    # Docker creates a missing directory as root, which is no reason to run as root.
    if owner.st_uid == 0:
        return f"{advice}."
    return (
        f"{advice}, or set BACKEND_UID={owner.st_uid} and "
        f"BACKEND_GID={owner.st_gid} in .env."
    )


class WithoutHealth(logging.Filter):
    """Keep the health check, every few seconds, out of the access log."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether `record` is to be logged."""
        return "GET /health " not in record.getMessage()


logging.getLogger("uvicorn.access").addFilter(WithoutHealth())
