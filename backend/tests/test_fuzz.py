"""Thousands of damaged uploads: each is answered, none with a fault of the service."""

import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from network import install
from pictures import ball, encoded
from serving import QUICK, Server, alone, stand_in, wait_for_model

ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "3000"))
WARM_UP = 300
"""Rounds until caches and the allocator have what they keep."""
GROWTH_MIB = 64
SEEDS = [
    encoded(ball()),
    encoded(ball("LA")),
    encoded(ball().quantize(16)),
    encoded(ball(), "WEBP"),
    encoded(ball(), "WEBP", lossless=True),
    encoded(ball("RGB"), transparency=(0, 0, 0)),
    encoded(ball("RGB"), "JPEG")[:400],
]
TYPES = [
    "application/x-www-form-urlencoded",
    "application/json",
    "multipart/form-data",
    "multipart/form-data; boundary=",
    "multipart/form-data; boundary=x; charset=none",
    "image/png",
    "",
]
VALUES: dict[str, list[str]] = {
    "seed": ["0", "4294967295", "-1", "1e3", "", "\0", "9" * 400, "٣"],
    "steps": ["2", "3", "1", "101", "nan", "2.0", "2.5", " 2 ", "0x2"],
    "guidance": ["1", "20", "7.5", "nan", "-inf", "1e400", "1_0", ""],
    "octree_resolution": ["64", "72", "65", "-64", "1e2", "99999999999999999999"],
    "max_faces": ["100", "2000000", "99", "true", "null", "[]"],
    "label": ["x"],
    "image": ["text"],
}


def mutated(image: bytes, chance: random.Random) -> bytes:
    """A file with some bytes changed, cut out, put in or repeated."""
    data = bytearray(image)
    for _ in range(chance.choice([0, 1, 1, 2, 8, 64])):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                data[at : at + 1] = chance.randbytes(1)
            case 1:
                del data[at : at + chance.randrange(1, 64)]
            case 2:
                data[at:at] = chance.randbytes(chance.randrange(1, 64))
            case 3:
                data[at:at] = data[at : at + chance.randrange(1, 64)]
            case 4:
                data[at : at + 4] = chance.choice([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"])
    return bytes(data)


def form(chance: random.Random) -> dict[str, str]:
    """Parameters, of which some are odd."""
    odd = chance.choices(list(VALUES), k=chance.choice([0, 0, 0, 1, 2]))
    return QUICK | {name: chance.choice(VALUES[name]) for name in odd}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of its own, whose memory is measured."""
    with alone(install(stand_in(tmp_path))) as server:
        yield server


def resident_mib(server: Server) -> dict[str, float]:
    """Resident memory of the service and of its engine, in MiB."""
    pid = server.process.pid
    engine = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
    pages = {
        name: int(Path(f"/proc/{process}/statm").read_text().split()[1])
        for name, process in (("service", pid), ("engine", engine))
    }
    return {name: n * os.sysconf("SC_PAGE_SIZE") / 2**20 for name, n in pages.items()}


def test_damaged_uploads(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(20)
    answers: Counter[int] = Counter()
    before: dict[str, float] = {}
    with server.client() as client:
        # Rarely is a mutated image opaque, and the first one loads what removes backgrounds.
        opaque = {"image": encoded(ball("RGB"))}
        assert client.post("/generate-3d", files=opaque, data=QUICK).status_code == 200
        for n in range(WARM_UP + ROUNDS):
            if n == WARM_UP:
                before = resident_mib(server)
            image, fields = mutated(chance.choice(SEEDS), chance), form(chance)
            request = client.build_request(
                "POST", "/generate-3d", files={"image": image}, data=fields
            )
            if not chance.randrange(10):
                request = client.build_request(
                    "POST",
                    "/generate-3d",
                    content=mutated(request.read(), chance),
                    headers={
                        "Content-Type": chance.choice([*TYPES, request.headers["Content-Type"]])
                    },
                )
            answer = client.send(request)
            answers[answer.status_code] += 1
            assert answer.status_code < 500, (answer.text, image, fields)
        assert wait_for_model(client) == "ready"
    after = resident_mib(server)
    with capsys.disabled():
        print(f"\n{WARM_UP + ROUNDS} uploads: {dict(sorted(answers.items()))}")
        for name in before:
            print(f"{name}: {before[name]:.0f} MiB before, {after[name]:.0f} MiB after")
    for name in before:
        assert after[name] < before[name] + GROWTH_MIB
    assert answers[200] > ROUNDS / 20
