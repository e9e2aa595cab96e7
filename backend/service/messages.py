"""What the service and the process that holds the model say to each other.

Each message is a pickle behind its length, over pipes that no other process holds.
"""

import pickle
import struct
from dataclasses import dataclass
from typing import BinaryIO, Literal

LENGTH = struct.Struct(">Q")


@dataclass(frozen=True)
class Job:
    """A mesh to be made."""

    image: bytes
    """A PNG in RGBA."""
    seed: int
    steps: int
    guidance: float
    octree_resolution: int
    max_faces: int
    number: int = 0
    """Which job of the service's; the answer repeats it."""


@dataclass(frozen=True)
class Cancel:
    """Give up the job under way at the next step; without one, nothing."""


@dataclass(frozen=True)
class Ready:
    """The model is loaded."""


@dataclass(frozen=True)
class Unusable:
    """The model cannot be loaded; the process ends."""

    state: Literal["no weights", "failed"]
    reason: str


@dataclass(frozen=True)
class Mesh:
    """A job's result."""

    glb: bytes
    number: int = 0


@dataclass(frozen=True)
class NoMesh:
    """A job's end without one."""

    cause: Literal[
        "cancelled",
        "bad image",
        "no background model",
        "no surface",
        "out of memory",
        "unexpected",
    ]
    detail: str = ""
    """A sentence for the client; of an unexpected fault a traceback, for the log alone."""
    number: int = 0


Message = Job | Cancel | Ready | Unusable | Mesh | NoMesh


def encode(message: Message) -> bytes:
    """A message as it goes over a pipe."""
    payload = pickle.dumps(message)
    return LENGTH.pack(len(payload)) + payload


def decode(payload: bytes) -> Message:
    """The message in what followed a length."""
    message: Message = pickle.loads(payload)
    return message


def read(pipe: BinaryIO) -> Message | None:
    """Wait for the next message; None when the other side is gone."""
    head = pipe.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    payload = pipe.read(LENGTH.unpack(head)[0])
    return decode(payload)
