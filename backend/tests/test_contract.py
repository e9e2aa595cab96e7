"""POST /generate-3d and /health, as a client sees them, over the stand-in."""

import io
import logging
import os
from pathlib import Path

import httpx
import pytest
import trimesh
from fastapi.testclient import TestClient

from pictures import BALL, ball, encoded
from service.logs import OneLine
from service.middleware import ID
from serving import QUICK, wait_for_model
from stand_in.step1x3d_geometry.models.pipelines import pipeline as faults


def generate(client: httpx.Client, image: bytes = BALL, **form: object) -> httpx.Response:
    answer = client.post("/generate-3d", files={"image": image}, data=QUICK | form)
    assert ID.fullmatch(answer.headers["X-Request-ID"])
    assert "Traceback" not in answer.text
    return answer


def test_an_image_becomes_a_mesh_and_a_file(client: TestClient) -> None:
    answer = generate(client, seed=7)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "model/gltf-binary"
    assert answer.headers["X-Seed"] == "7"
    mesh = trimesh.load(io.BytesIO(answer.content), "glb", force="mesh")
    assert len(mesh.faces) > 100
    output = Path(os.environ["OUTPUT_PATH"])
    assert (output / answer.headers["X-Output-File"]).read_bytes() == answer.content
    assert not list(output.glob(".*")), "a partial file was left"


def test_the_same_seed_gives_the_same_mesh_in_another_file(client: TestClient) -> None:
    one, same, other = (generate(client, seed=seed) for seed in (1, 1, 2))
    assert one.content == same.content != other.content
    assert one.headers["X-Output-File"] != same.headers["X-Output-File"]


def test_a_random_seed_is_named_and_makes_the_mesh_again(client: TestClient) -> None:
    first = generate(client)
    assert generate(client, seed=first.headers["X-Seed"]).content == first.content
    assert generate(client).headers["X-Seed"] != first.headers["X-Seed"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", 3), ("guidance", 2.5), ("octree_resolution", 128), ("max_faces", 200)],
)
def test_each_parameter_is_taken(client: TestClient, name: str, value: float) -> None:
    usual, other = generate(client, seed=1), generate(client, seed=1, **{name: value})
    assert other.status_code == 200
    # The stand-in, unlike the model, makes the same of more steps.
    assert (usual.content == other.content) == (name == "steps")


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"steps": 1}, "steps: Input should be greater than or equal to 2"),
        ({"steps": 101}, "steps: "),
        ({"steps": "many"}, "steps: "),
        ({"guidance": 0.5}, "guidance: "),
        ({"guidance": "nan"}, "guidance: "),
        ({"guidance": "inf"}, "guidance: "),
        ({"octree_resolution": 56}, "octree_resolution: "),
        ({"octree_resolution": 100}, "octree_resolution: Input should be a multiple of 8"),
        ({"octree_resolution": 520}, "octree_resolution: "),
        ({"max_faces": 99}, "max_faces: "),
        ({"max_faces": 2_000_001}, "max_faces: "),
        ({"seed": -1}, "seed: "),
        ({"seed": 2**32}, "seed: "),
        ({"seed": "1" * 5000}, "seed: "),
        ({"step": 5}, "unknown field 'step': there are guidance, image, max_faces"),
        ({"\ud800".encode("utf-8", "surrogatepass").decode("latin-1"): 5}, "unknown field"),
        ({"steps": 0, "seed": -1}, "; "),
    ],
)
def test_parameters_out_of_bounds(client: TestClient, form: dict[str, object], words: str) -> None:
    answer = generate(client, **form)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


def test_the_bounds_themselves_are_fine(client: TestClient) -> None:
    least = {"seed": 0, "guidance": 1, "max_faces": 100}
    most = {"seed": 2**32 - 1, "guidance": 20, "max_faces": 2_000_000, "octree_resolution": 512}
    for form in (least, most | {"steps": 100}):
        assert generate(client, **form).status_code == 200


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        ({}, 415, "curl -F image=@"),
        ({"json": {"image": "x"}}, 415, "curl -F image=@"),
        ({"data": {"image": "x"}}, 415, "curl -F image=@"),
        ({"files": {"picture": BALL}, "data": QUICK}, 422, "image: send a file"),
        ({"files": [("image", BALL)] * 5}, 400, "Too many files"),
        ({"files": {"image": BALL}, "data": {str(n): "" for n in range(21)}}, 400, "Too many f"),
        ({"files": {"image": BALL}, "data": {"x" * 99: ""}}, 422, f"field '{'x' * 40}': there"),
        ({"files": {"picture": BALL}}, 422, "image: send a file"),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400, "oundary"),
        (
            {"content": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=y"}},
            400,
            "damaged or ends early",
        ),
        ({"files": {"image": b""}}, 415, "empty"),
        ({"files": {"image": b"hello"}}, 415, "not a PNG"),
        ({"files": {"image": BALL[:200]}}, 422, "truncated"),
        ({"files": {"image": encoded(ball(size=(5000, 20)))}}, 422, "5000 × 20"),
    ],
)
def test_what_is_no_image(
    client: TestClient, request_: dict[str, object], status: int, words: str
) -> None:
    answer = client.post("/generate-3d", **request_)
    assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text


@pytest.mark.parametrize(
    ("seed", "status", "words"),
    [
        (faults.OUT_OF_MEMORY, 507, "too small, or others use it"),
        (faults.CPU_OUT_OF_MEMORY, 507, "too small, or others use it"),
        (faults.CUBLAS_OUT_OF_MEMORY, 507, "too small, or others use it"),
        (faults.OUT_OF_MEMORY_AT_THE_SURFACE, 507, "too small, or others use it"),
        (faults.NO_SURFACE, 422, "no surface"),
        (faults.NO_TRIANGLE, 422, "no surface"),
        (faults.FAILURE, 500, "docker compose logs backend"),
    ],
)
def test_after_a_failure_the_next_request_works(
    client: TestClient, seed: int, status: int, words: str
) -> None:
    answer = generate(client, seed=seed)
    assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text
    assert "secret" not in answer.text
    assert generate(client).status_code == 200


@pytest.mark.parametrize(("seed", "status"), [(faults.CRASH, 500), (faults.KILLED, 507)])
def test_an_engine_that_ends_is_reported_and_replaced(
    client: TestClient, seed: int, status: int
) -> None:
    answer = generate(client, seed=seed)
    assert answer.status_code == status
    assert wait_for_model(client) == "ready"
    assert generate(client).status_code == 200


def test_out_of_memory_names_what_to_lower(client: TestClient) -> None:
    answer = generate(client, seed=faults.OUT_OF_MEMORY, octree_resolution=72)
    assert answer.status_code == 507
    assert "lower octree_resolution, which was 72" in answer.json()["detail"]


def test_an_output_directory_that_cannot_be_written(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.routes.output_advice", lambda _: "run `sudo chown`")
    answer = generate(client)
    assert (answer.status_code, answer.json()["detail"]) == (503, "run `sudo chown`")


def test_a_disk_that_is_full(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    answer = generate(client)
    assert answer.status_code == 503
    assert "No space left on device" in answer.json()["detail"]


def test_an_image_with_a_background_but_no_model_for_it(client: TestClient) -> None:
    answer = generate(client, encoded(ball("RGB")))
    assert answer.status_code == 503
    assert "no transparent background" in answer.json()["detail"]
    assert os.environ["U2NET_HOME"] in answer.json()["detail"]


def test_health_says_all(client: TestClient) -> None:
    health = client.get("/health").json()
    assert health["model"] == "ready"
    assert health["torch"] == "2.5.1"
    assert health["cuda"] == "12.4"
    assert health["device"] in ("cpu", "gpu")
    assert health["uptime_s"] > 0
    assert health["output_writable"]
    assert health["advice"] == []


def test_a_request_is_one_line_of_the_log_with_its_id(
    client: TestClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("backend"), "handlers", [caplog.handler])
    caplog.handler.setFormatter(OneLine())
    answer = client.post(
        "/generate-3d",
        files={"image": BALL},
        data=QUICK | {"seed": 5},
        headers={"X-Request-ID": "mine-1"},
    )
    assert answer.headers["X-Request-ID"] == "mine-1"
    client.get("/health")
    client.get("/%0Aforged%1B%E2%80%A8")
    generate(client, seed=faults.FAILURE)
    first, second, fault, third = caplog.text.splitlines()
    assert " mine-1 200 POST /generate-3d " in first
    assert f"seed=5 file={answer.headers['X-Output-File']}" in first
    assert "404 GET /\\nforged\\x1b\\u2028" in second
    assert "secret of the machine room" in fault
    assert " 500 POST /generate-3d " in third


def test_an_id_that_would_break_the_log_is_replaced(client: TestClient) -> None:
    answer = client.get("/health", headers={"X-Request-ID": "a b"})
    assert ID.fullmatch(answer.headers["X-Request-ID"])


def test_other_paths_and_methods(client: TestClient) -> None:
    assert client.get("/").json() == {"detail": "Not Found"}
    assert client.get("/generate-3d").status_code == 405


def test_an_unforeseen_fault_of_the_service_itself(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.routes.output_advice", lambda _: 1 / 0)
    answer = generate(client)
    assert answer.status_code == 500
    assert answer.headers["X-Request-ID"] in answer.json()["detail"]
