"""The service under test: within this process, or as a process of its own."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import httpx
from fastapi.testclient import TestClient

from app import create_app
from service.settings import Settings
from service.weights import SUBFOLDER

STAND_IN = Path(__file__).with_name("stand_in")
CODE = Path(sys.modules["app"].__file__ or "").parent
PATIENCE_S = 60
"""How long a test waits for a state or an answer before it fails, in seconds."""
QUICK = {"steps": "2", "octree_resolution": "64"}
"""A form that costs the stand-in, and the real pipeline, as little as it may."""


def stand_in(directory: Path) -> dict[str, str]:
    """The environment of a service with the stand-in, with its files in `directory`."""
    index = directory / "weights" / SUBFOLDER / "model_index.json"
    index.parent.mkdir(parents=True)
    index.write_text("{}")
    index.with_name("stand_in").touch()
    return environment(directory) | {
        "SOURCES_PATH": str(STAND_IN),
        "MODEL_PATH": str(directory / "weights"),
        "STAND_IN_STARTED": str(directory / "started"),
    }


def environment(directory: Path) -> dict[str, str]:
    """The environment of a service that reaches no network, with its files in `directory`."""
    output = directory / "output"
    output.mkdir()
    return {
        "OUTPUT_PATH": str(output),
        "HF_HOME": str(directory / "huggingface"),
        "U2NET_HOME": str(directory / "u2net"),
        "HF_HUB_OFFLINE": "1",
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
    }


@contextmanager
def within(env: dict[str, str]) -> Iterator[TestClient]:
    """A client of the app in this process, whose model has loaded or failed to."""
    with mock.patch.dict(os.environ, env), TestClient(create_app(Settings())) as client:
        wait_for_model(client)
        yield client


class Server:
    """A uvicorn process, with the options that the image starts it with."""

    def __init__(self, env: dict[str, str], grace_s: int = 25) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        options = ["--port", str(self.port), "--http", "h11", "--no-access-log"]
        options += ["--timeout-graceful-shutdown", str(grace_s)]
        self._log = Path(env["OUTPUT_PATH"]).with_name("log")
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", "app:app", *options],
                cwd=CODE,
                env=os.environ | env,
                stderr=log,
            )
        self.url = f"http://127.0.0.1:{self.port}"

    def client(self) -> httpx.Client:
        """A client that waits long for an answer, but not for ever."""
        return httpx.Client(base_url=self.url, timeout=PATIENCE_S, trust_env=False)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for a state, which a server that has ended does not come to."""
        wait_until(lambda: self.process.poll() is not None or condition())
        assert self.process.poll() is None, self.log

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self._log.read_text()

    def terminate(self) -> None:
        """Send SIGTERM and wait for the end."""
        self.process.terminate()
        self.process.wait(PATIENCE_S)


@contextmanager
def alone(env: dict[str, str], grace_s: int = 25) -> Iterator[Server]:
    """A server whose model has loaded; killed in the end if it still runs."""
    with started(env, grace_s) as server:
        with server.client() as client:
            wait_for_model(client)
        yield server


@contextmanager
def started(env: dict[str, str], grace_s: int = 25) -> Iterator[Server]:
    """A server, from its first moment on; killed in the end if it still runs."""
    server = Server(env, grace_s)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()


def wait_until(condition: Callable[[], bool]) -> None:
    """Ask until it is so; fails after PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s in vain"
        time.sleep(0.01)


def wait_for_model(client: httpx.Client) -> str:
    """Ask /health until the model is not loading any more; its state."""
    state = "loading"

    def known() -> bool:
        nonlocal state
        with contextlib.suppress(httpx.ConnectError):
            state = client.get("/health").json()["model"]
        return state != "loading"

    wait_until(known)
    return state
