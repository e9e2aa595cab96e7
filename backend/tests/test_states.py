"""What the service says where something is missing, and that it serves all the same."""

import os
from pathlib import Path

import pytest

from pictures import BALL
from serving import environment, stand_in, within


def test_no_sources(tmp_path: Path) -> None:
    # A submodule that was not checked out is an empty directory.
    env = stand_in(tmp_path) | {"SOURCES_PATH": str(tmp_path)}
    with within(env) as client:
        health = client.get("/health").json()
        answer = client.post("/generate-3d", files={"image": BALL})
    assert health["model"] == "no sources"
    assert answer.status_code == 503
    for said in (health["advice"][0], answer.json()["detail"]):
        assert "git submodule update --init backend/Step1X-3D" in said
        assert "cargo xtask up" in said


@pytest.mark.parametrize("offline", ["0", "1"])
def test_no_weights_and_no_network(tmp_path: Path, offline: str) -> None:
    env = stand_in(tmp_path) | {"MODEL_PATH": "", "HF_HUB_OFFLINE": offline}
    with within(env) as client:
        health = client.get("/health").json()
        answer = client.post("/generate-3d", files={"image": BALL})
    assert health["model"] == "no weights"
    assert "the hub cannot be reached" in health["advice"][0]
    assert answer.status_code == 503
    assert "MODEL_PATH" in answer.json()["detail"]


def test_a_directory_without_weights(tmp_path: Path) -> None:
    with within(stand_in(tmp_path) | {"MODEL_PATH": str(tmp_path)}) as client:
        health = client.get("/health").json()
    assert health["model"] == "no weights"
    assert f"{tmp_path} (MODEL_PATH) has no Step1X-3D-Geometry-1300m/" in health["advice"][0]


def test_weights_that_do_not_load(tmp_path: Path) -> None:
    env = stand_in(tmp_path)
    next(tmp_path.rglob("stand_in")).unlink()
    with within(env) as client:
        health = client.get("/health").json()
        answer = client.post("/generate-3d", files={"image": BALL})
    assert health["model"].startswith("failed: FileNotFoundError: ")
    assert "cargo xtask doctor" in health["advice"][0]
    assert answer.status_code == 503
    assert "Traceback" not in answer.text


def test_an_engine_that_dies_while_it_loads(tmp_path: Path) -> None:
    package = tmp_path / "sources/step1x3d_geometry"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("import os\nos._exit(7)\n")
    with within(stand_in(tmp_path) | {"SOURCES_PATH": str(package.parent)}) as client:
        assert client.get("/health").json()["model"] == "failed: the engine ended with 7"


def test_weights_in_the_hub_s_cache_are_used_offline(tmp_path: Path) -> None:
    env = stand_in(tmp_path) | {"MODEL_PATH": ""}
    cache = Path(env["HF_HOME"]) / "hub/models--stepfun-ai--Step1X-3D"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs/main").write_text("0123")
    (cache / "snapshots").mkdir()
    (tmp_path / "weights").rename(cache / "snapshots/0123")
    with within(env) as client:
        assert client.get("/health").json()["model"] == "ready"


def test_an_output_directory_that_is_missing(tmp_path: Path) -> None:
    with within(environment(tmp_path) | {"OUTPUT_PATH": str(tmp_path / "none")}) as client:
        health = client.get("/health").json()
    assert not health["output_writable"]
    assert f"Mount a directory at {tmp_path}/none." in health["advice"]


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_an_output_directory_of_another_user(tmp_path: Path) -> None:
    with within(environment(tmp_path) | {"OUTPUT_PATH": "/usr"}) as client:
        health = client.get("/health").json()
    assert not health["output_writable"]
    assert "run `sudo chown " in health["advice"][-1]
