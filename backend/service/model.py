"""The model as the service sees it: its state, and a mesh for a job."""

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from . import messages
from .errors import (
    BadImage,
    ClientGone,
    NoBackgroundModel,
    NoSurface,
    NotReady,
    OutOfMemory,
    Problem,
)
from .logs import log, unexpected
from .messages import Cancel, Job, Mesh, Message, NoMesh, Ready, Unusable
from .parameters import MIN_RESOLUTION
from .settings import Settings

CHATTER = 8192
"""How much of the engine's last words is kept for the log, in bytes."""
REMEDIES = {
    "loading": "ask /health until it says `ready`",
    "no sources": ("run `git submodule update --init backend/Step1X-3D`, then `cargo xtask up`"),
    "no weights": (
        "let the service reach the Hugging Face hub once or put the weights where MODEL_PATH in "
        ".env says, then run `cargo xtask restart`"
    ),
    "failed": "run `cargo xtask doctor`, and `cargo xtask restart` to load again",
}


class Model:
    """The engine's process, started in the background and again after a crash."""

    state: Literal["loading", "ready", "failed", "no sources", "no weights"] = "loading"
    reason = ""
    """Why it failed or there are no weights."""

    def __init__(self, settings: Settings) -> None:
        self._sources = settings.sources_path
        self._engine: asyncio.subprocess.Process | None = None
        self._answer: asyncio.Future[Mesh | NoMesh] | None = None
        self._number = 0
        self._keeper: asyncio.Task[None] | None = None

    @property
    def summary(self) -> str:
        """The state as /health says it."""
        return f"failed: {self.reason}" if self.state == "failed" else self.state

    @property
    def advice(self) -> str | None:
        """What to do about the state; None when the model is ready."""
        if self.state == "ready":
            return None
        reason = f" ({self.reason})" if self.reason else ""
        return f"{self.state}{reason}: {REMEDIES[self.state]}"

    def require_ready(self) -> None:
        """Raise NotReady with the advice unless the model is ready."""
        if self.advice:
            loading = {"Retry-After": "10"} if self.state == "loading" else None
            raise NotReady(self.advice, loading)

    def start(self) -> None:
        """Begin to load; returns at once."""
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """End the engine, whatever it does."""
        if self._keeper:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})

    async def generate(self, job: Job) -> bytes:
        """Make a mesh, as binary glTF. One call at a time.

        Returns, when cancelled too, only once the device is free again. Raises a Problem.
        """
        self.require_ready()
        self._number += 1
        pending = self._answer = asyncio.get_running_loop().create_future()
        self._tell(replace(job, number=self._number))
        try:
            answer = await asyncio.shield(pending)
        except asyncio.CancelledError:
            self._tell(Cancel())
            await asyncio.wait({pending})
            raise
        if isinstance(answer, Mesh):
            return answer.glb
        raise problem(answer, job)

    def _tell(self, message: Message) -> None:
        """Send without waiting: a request cancelled meanwhile would leave a job behind."""
        if self._engine and self._engine.stdin:
            # If the engine died, this is lost, and `_serve` is about to see that.
            self._engine.stdin.write(messages.encode(message))

    async def _keep(self) -> None:
        """Run engines as long as they come to serve: one that does not load is not tried twice."""
        if not (self._sources / "step1x3d_geometry").is_dir():
            self.state = "no sources"
            return
        try:
            with TemporaryDirectory(prefix="engine-") as scratch:
                while True:
                    await self._serve(scratch)
                    if self.state != "ready":
                        return
                    self.state = "loading"
        except Exception as error:
            log.exception("no engine can be run")
            self.state, self.reason = "failed", f"{type(error).__name__}: {error}"

    async def _serve(self, scratch: str) -> None:
        """Run one engine to its end, with its temporary files in `scratch`."""
        engine = self._engine = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "service.engine",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[1],
            env={**os.environ, "TMPDIR": scratch},
        )
        assert engine.stdout
        assert engine.stderr
        try:
            async with asyncio.TaskGroup() as group:
                chatter = group.create_task(last_words(engine.stderr))
                group.create_task(self._listen(engine.stdout))
        except BaseException:
            engine.kill()
            await engine.wait()
            self._resolve("unexpected", "the service lost touch with the engine")
            raise
        await engine.wait()
        end = f"the engine ended with {engine.returncode}"
        if self.state != "no weights":
            log.error("%s: %s", end, chatter.result())
        if self.state == "loading":
            self.state, self.reason = "failed", end
        # The kernel kills what takes too much of the machine's memory; nothing else does.
        killed = engine.returncode == -signal.SIGKILL
        self._resolve("out of memory" if killed else "unexpected", end)

    def _resolve(self, cause: Literal["out of memory", "unexpected"], end: str) -> None:
        """End the wait for an answer that will not come."""
        if self._answer and not self._answer.done():
            self._answer.set_result(NoMesh(cause, end))

    async def _listen(self, pipe: asyncio.StreamReader) -> None:
        """Take the engine's messages until it ends."""
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                (length,) = messages.LENGTH.unpack(await pipe.readexactly(messages.LENGTH.size))
                message = messages.decode(await pipe.readexactly(length))
                if isinstance(message, Ready):
                    self.state = "ready"
                    log.info("model: ready")
                elif isinstance(message, Unusable):
                    self.state, self.reason = message.state, message.reason
                    log.warning("model: %s", self.advice)
                elif (
                    isinstance(message, (Mesh, NoMesh))
                    # Not to a job that was given up.
                    and message.number == self._number
                    and self._answer
                    and not self._answer.done()
                ):
                    self._answer.set_result(message)


async def last_words(pipe: asyncio.StreamReader) -> str:
    """Read what the engine and upstream print, lest they block; the end of it."""
    words = b""
    while chunk := await pipe.read(CHATTER):
        words = (words + chunk)[-CHATTER:]
    return words.decode(errors="replace")


def problem(answer: NoMesh, job: Job) -> Problem:
    """The client's view of why there is no mesh; the rest goes to the log."""
    match answer.cause:
        case "cancelled":
            return ClientGone()
        case "bad image":
            return BadImage(answer.detail)
        case "no background model":
            return NoBackgroundModel(answer.detail)
        case "no surface":
            return NoSurface()
        case "out of memory":
            if job.octree_resolution == MIN_RESOLUTION:
                return OutOfMemory(
                    "the device ran out of memory at the lowest octree_resolution: it is too "
                    "small, or others use it, which `nvidia-smi`, or `docker stats` without a "
                    "GPU, shows"
                )
            return OutOfMemory(
                "the device ran out of memory: lower octree_resolution, which was "
                f"{job.octree_resolution}"
            )
        case "unexpected":
            return unexpected(answer.detail)
