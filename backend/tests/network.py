"""A network of one node in place of the one that removes backgrounds."""

from pathlib import Path


def install(env: dict[str, str]) -> dict[str, str]:
    """The environment of a service that takes for foreground what is red."""
    network = Path(env["U2NET_HOME"]) / "u2net.onnx"
    network.parent.mkdir()
    network.write_bytes(identity())
    return env | {"MODEL_CHECKSUM_DISABLED": "1"}


def identity() -> bytes:
    """An ONNX file whose output is its input, so that the mask is the first colour.

    Each field is its number and wire type, then its content; onnx/onnx.proto names them.
    """
    image = message(1, number(1, 1) + message(2, b"".join(dimension(n) for n in (1, 3, 320, 320))))
    node = message(1, b"in") + message(2, b"out") + message(4, b"Identity")
    graph = message(1, node) + message(2, b"red")
    graph += message(11, message(1, b"in") + message(2, image))
    graph += message(12, message(1, b"out") + message(2, image))
    return number(1, 8) + message(7, graph) + message(8, number(2, 13))


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def number(field: int, value: int) -> bytes:
    """A field that is a number."""
    return varint(field << 3) + varint(value)


def message(field: int, content: bytes) -> bytes:
    """A field that is a message or a text."""
    return varint(field << 3 | 2) + varint(len(content)) + content


def dimension(size: int) -> bytes:
    """One side of a tensor's shape."""
    return message(1, number(1, size))
