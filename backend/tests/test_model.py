"""The service and the engine keep apart whose mesh is whose, and neither waits in vain."""

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from unittest import mock

import pytest
from PIL import Image

from pictures import BALL, encoded
from service.errors import Unexpected
from service.messages import Job
from service.model import Model
from service.settings import Settings
from serving import CODE, stand_in

ROUNDS = 3
PATIENCE_S = 60


@asynccontextmanager
async def loaded(directory: Path) -> AsyncIterator[Model]:
    """A model over the stand-in, ready for jobs."""
    with mock.patch.dict(os.environ, stand_in(directory)):
        model = Model(Settings())
        model.start()
        try:
            async with asyncio.timeout(PATIENCE_S):
                while model.state == "loading":
                    await asyncio.sleep(0.01)
            yield model
        finally:
            await model.stop()


def job(seed: int, image: bytes = BALL) -> Job:
    return Job(image, seed, steps=2, guidance=7.5, octree_resolution=64, max_faces=1000)


def test_the_mesh_of_who_left_is_not_the_next_one_s(tmp_path: Path) -> None:
    """Noise does not compress: the job is larger than what the pipe holds at once."""
    side = 1000
    noise = encoded(
        Image.frombytes("RGBA", (side, side), random.Random(0).randbytes(side * side * 4)),
        compress_level=1,
    )

    async def leave_and_come() -> None:
        async with loaded(tmp_path) as model, asyncio.timeout(PATIENCE_S * 2):
            own = [await model.generate(job(seed)) for seed in range(ROUNDS)]
            assert len(set(own)) == ROUNDS
            for seed in range(ROUNDS):
                leaving = asyncio.create_task(model.generate(job(seed + ROUNDS, noise)))
                await asyncio.sleep(0.002)
                leaving.cancel()
                await asyncio.wait({leaving})
                assert await model.generate(job(seed)) == own[seed]
            assert model.state == "ready"

    asyncio.run(leave_and_come())


def test_an_answer_to_a_job_given_up_is_ignored(tmp_path: Path) -> None:
    """Who is cancelled twice does not wait for the device."""

    async def leave_twice() -> None:
        async with loaded(tmp_path) as model, asyncio.timeout(PATIENCE_S):
            own = await model.generate(job(1))
            leaving = asyncio.create_task(model.generate(job(2)))
            for _ in range(2):
                await asyncio.sleep(0)
                leaving.cancel()
            await asyncio.wait({leaving})
            assert await model.generate(job(1)) == own
            assert model.state == "ready"

    asyncio.run(leave_twice())


def test_an_answer_that_cannot_be_read_ends_the_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(_: bytes) -> None:
        raise EOFError("half a pickle")

    async def ask() -> None:
        async with loaded(tmp_path) as model, asyncio.timeout(PATIENCE_S):
            monkeypatch.setattr("service.messages.decode", unreadable)
            with pytest.raises(Unexpected):
                await model.generate(job(1))
            assert model.summary.startswith("failed: ")

    asyncio.run(ask())


def test_the_engine_ends_where_it_cannot_read_a_job() -> None:
    listening = (
        "import queue, sys, threading\n"
        "from service.engine import listen\n"
        "arguments = (sys.stdin.buffer, queue.SimpleQueue(), threading.Event())\n"
        "threading.Thread(target=listen, args=arguments, daemon=True).start()\n"
        "threading.Event().wait()\n"
    )
    no_pickle = (3).to_bytes(8) + b"abc"
    ended = subprocess.run(
        [sys.executable, "-c", listening],
        input=no_pickle,
        cwd=CODE,
        capture_output=True,
        timeout=PATIENCE_S,
    )
    assert ended.returncode == 1
    assert b"UnpicklingError" in ended.stderr
