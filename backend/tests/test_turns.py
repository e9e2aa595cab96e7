"""Who gets the device, and what becomes of those who leave it or are cut off."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from pictures import BALL
from serving import PATIENCE_S, QUICK, Server, alone, stand_in, started, wait_until

CLIENTS = 50
QUEUE = 4
STEP_S = 0.1
TEN_SECONDS = QUICK | {"steps": "100"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose steps take time."""
    with alone(slow(tmp_path_factory.mktemp("turns"))) as server:
        yield server


def slow(directory: Path, step_s: float = STEP_S) -> dict[str, str]:
    return stand_in(directory) | {"MAX_QUEUE": str(QUEUE), "STAND_IN_STEP_S": str(step_s)}


def post(
    server: Server, form: dict[str, str], timeout: float | httpx.Timeout = PATIENCE_S
) -> httpx.Response:
    with server.client() as client:
        return client.post("/generate-3d", files={"image": BALL}, data=form, timeout=timeout)


def leave(server: Server, form: dict[str, str]) -> None:
    """Send a request and go away before the answer."""
    answered = server.log.count("POST /generate-3d")
    with pytest.raises(httpx.ReadTimeout):
        post(server, form, timeout=httpx.Timeout(PATIENCE_S, read=0.5))
    server.wait_until(lambda: server.log.count("POST /generate-3d") > answered)


def wait_for_generation(directory: Path) -> None:
    """Wait until the stand-in with its files in `directory` is at work."""
    wait_until((directory / "started").exists)


def test_fifty_clients_get_a_mesh_or_a_429(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(lambda _: post(server, QUICK), range(CLIENTS)))
    count = Counter(answer.status_code for answer in answers)
    with capsys.disabled():
        print(f"\n{CLIENTS} clients, queue of {QUEUE}: {dict(count)}")
    assert set(count) == {200, 429}
    assert count[200] > QUEUE
    for answer in answers:
        if answer.status_code == 200:
            assert answer.content.startswith(b"glTF")
        else:
            assert int(answer.headers["Retry-After"]) >= 1
            assert f"{QUEUE} requests are waiting" in answer.json()["detail"]
    assert post(server, QUICK).status_code == 200


def test_who_leaves_frees_the_device(server: Server) -> None:
    """Each of these would take ten seconds, and more of them leave than there are places."""
    for _ in range(QUEUE + 3):
        leave(server, TEN_SECONDS)
    assert post(server, QUICK).status_code == 200


def test_who_leaves_the_queue_frees_the_place(tmp_path: Path) -> None:
    """The one that runs does not end before they have left, however slow the machine."""
    with alone(slow(tmp_path, 1000)) as server, ThreadPoolExecutor(1) as pool:
        running = pool.submit(post, server, QUICK)
        wait_for_generation(tmp_path)
        for _ in range(QUEUE + 3):
            leave(server, QUICK)
        assert not running.done()
        assert " 429 " not in server.log
        server.process.kill()
        with pytest.raises(httpx.RemoteProtocolError):
            running.result()


def test_sigterm_lets_a_generation_finish(tmp_path: Path) -> None:
    with alone(slow(tmp_path)) as server, ThreadPoolExecutor(1) as pool:
        running = pool.submit(post, server, QUICK | {"steps": "20"})
        wait_for_generation(tmp_path)
        server.terminate()
        assert running.result().status_code == 200
        assert " 200 POST /generate-3d " in server.log


def test_sigterm_says_what_it_cut(tmp_path: Path) -> None:
    env = slow(tmp_path, 1000) | {"MAX_QUEUE": "1"}
    with alone(env, grace_s=1) as server, ThreadPoolExecutor(3) as pool:
        sent = [pool.submit(post, server, QUICK) for _ in range(3)]
        wait_for_generation(tmp_path)
        # Once one is refused, the other two have their places.
        server.wait_until(lambda: " 429 POST /generate-3d " in server.log)
        server.terminate()
        answers = [answer.result() for answer in sent]
        assert sorted(answer.status_code for answer in answers) == [429, 503, 503]
        for answer in answers:
            assert answer.headers["X-Request-ID"] in server.log
            if answer.status_code == 503:
                assert "the service stopped" in answer.json()["detail"]
        assert server.log.count(" 503 POST /generate-3d ") == 2
        assert "Traceback" not in server.log


def test_the_engine_ends_with_a_service_that_is_killed(tmp_path: Path) -> None:
    with alone(slow(tmp_path, 1000)) as server, ThreadPoolExecutor(1) as pool:
        of_server = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
        engine = of_server.read_text().split()[0]
        pool.submit(post, server, QUICK)
        wait_for_generation(tmp_path)
        server.process.kill()
        wait_until(lambda: not runs(engine))


def runs(pid: str) -> bool:
    """Whether a process has not ended, if perhaps not been waited for."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_health_answers_while_the_model_loads(tmp_path: Path) -> None:
    states: list[str] = []

    def loaded() -> bool:
        with contextlib.suppress(httpx.ConnectError):
            states.append(client.get("/health").json()["model"])
        return bool(states) and states[-1] != "loading"

    with started(stand_in(tmp_path)) as server, server.client() as client:
        server.wait_until(loaded)
    assert (states[0], states[-1]) == ("loading", "ready")
    assert len(states) > 10
