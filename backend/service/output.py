"""Where meshes are kept."""

import time
import uuid
from pathlib import Path

from .errors import OutputFailed


def keep(glb: bytes, directory: Path) -> str:
    """Write a mesh under a name of its own, whole or not at all; returns the name.

    Raises OutputFailed.
    """
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:12]}.glb"
    partial = directory / f".{name}.part"
    try:
        try:
            partial.write_bytes(glb)
            partial.rename(directory / name)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise OutputFailed(
            f"the mesh cannot be written to {directory}: {error.strerror}"
        ) from error
    return name
