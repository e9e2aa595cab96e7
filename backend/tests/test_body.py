"""Bodies that are too large are refused while they are read, however they are announced."""

import socket
from collections.abc import Iterator

import httpx
import pytest

from pictures import BALL
from serving import Server, alone, stand_in

LIMIT = 10**6
BOUNDARY = b"x"
PART = b"--x\r\nContent-Disposition: form-data; name=image; filename=a.png\r\n\r\n"
HEAD = (
    b"POST /generate-3d HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: multipart/form-data; boundary=x\r\n"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that takes bodies of 1 MB."""
    env = stand_in(tmp_path_factory.mktemp("body")) | {"MAX_UPLOAD_MB": "1"}
    with alone(env) as server:
        yield server


def read_answer(connection: socket.socket) -> bytes:
    """All that the server sends until it closes."""
    answer = b""
    while chunk := connection.recv(65536):
        answer += chunk
    return answer


def test_an_announced_size_is_refused_before_the_body(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(HEAD + b"Content-Length: 1000001\r\n\r\n")
        answer = read_answer(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"the body is larger than 1 MB (MAX_UPLOAD_MB)" in answer


def test_the_client_that_asks_first_is_not_told_to_go_on(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 1000001\r\n\r\n")
        assert read_answer(connection).startswith(b"HTTP/1.1 413 ")


def test_an_unannounced_size_is_refused_at_the_limit(server: Server) -> None:
    """The client never ends its body, so the server cannot have waited for the end."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        for data in (PART, bytes(LIMIT // 2), bytes(LIMIT // 2)):
            connection.sendall(b"%x\r\n%b\r\n" % (len(data), data))
        assert read_answer(connection).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_streams_reads_the_answer(server: Server) -> None:
    def body() -> Iterator[bytes]:
        yield PART
        for _ in range(5):
            yield bytes(LIMIT)

    with server.client() as client:
        answer = client.post(
            "/generate-3d",
            content=body(),
            headers={"Content-Type": "multipart/form-data; boundary=x"},
        )
    assert answer.status_code == 413


def test_the_largest_body_is_read(server: Server) -> None:
    end = b"\r\n--x--\r\n"
    image = BALL + bytes(LIMIT - len(PART) - len(BALL) - len(end))
    with server.client() as client:
        answer = client.post(
            "/generate-3d",
            content=PART + image + end,
            headers={"Content-Type": "multipart/form-data; boundary=x"},
        )
    # Pillow ignores what follows the end of a PNG.
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("sent", [b"", PART, PART + BALL])
def test_a_body_that_breaks_off_harms_nobody(server: Server, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(HEAD + b"Content-Length: 100000\r\n\r\n" + sent)
    with server.client() as client:
        assert client.get("/health").json()["model"] == "ready"


@pytest.mark.parametrize(
    "line",
    [b"Content-Length: -1", b"Content-Length: 1e3", b"Content-Length: 1\r\nContent-Length: 2"],
)
def test_a_size_that_is_none_is_refused(server: Server, line: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(HEAD + line + b"\r\n\r\n")
        assert b" 400 " in read_answer(connection).splitlines()[0]


def test_a_form_that_ends_early_is_refused(server: Server) -> None:
    with server.client() as client:
        answer = client.post(
            "/generate-3d",
            content=PART + BALL,
            headers={"Content-Type": "multipart/form-data; boundary=x"},
        )
    assert answer.status_code == 400
    assert "damaged or ends early" in answer.json()["detail"]


def test_a_head_without_end_is_refused(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(HEAD + b"X-Endless: " + b"x" * 100_000)
        assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")


def test_another_type_is_refused_before_the_body(server: Server) -> None:
    kind = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(b"POST /generate-3d HTTP/1.1\r\nHost: localhost\r\n" + kind)
        assert connection.recv(4096).startswith(b"HTTP/1.1 415 ")


def test_the_server_that_refuses_goes_on(server: Server) -> None:
    assert httpx.get(f"{server.url}/health", trust_env=False).status_code == 200
