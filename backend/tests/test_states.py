"""What the service says where something is missing, and that it serves all the same."""

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from pictures import BALL
from service.engine import sweep
from service.pipeline import usable_device
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


@pytest.mark.parametrize(
    ("offline", "cause"), [("0", "ConnectionError"), ("1", "OfflineModeIsEnabled")]
)
def test_no_weights_and_no_network(tmp_path: Path, offline: str, cause: str) -> None:
    env = stand_in(tmp_path) | {"MODEL_PATH": "", "HF_HUB_OFFLINE": offline}
    with within(env) as client:
        health = client.get("/health").json()
        answer = client.post("/generate-3d", files={"image": BALL})
    assert health["model"] == "no weights"
    assert f"the hub cannot be asked: {cause}" in health["advice"][0]
    assert answer.status_code == 503
    assert "MODEL_PATH" in answer.json()["detail"]


def test_a_directory_without_weights(tmp_path: Path) -> None:
    with within(stand_in(tmp_path) | {"MODEL_PATH": str(tmp_path)}) as client:
        health = client.get("/health").json()
    assert health["model"] == "no weights"
    assert f"{tmp_path} (MODEL_PATH) has no Step1X-3D-Geometry-1300m/" in health["advice"][0]


@pytest.mark.parametrize(
    ("present", "lacking"),
    [
        ([], "vae/*.json"),
        (["vae/config.json"], "vae/*.safetensors"),
        (["vae/config.json", "vae/model.safetensors"], "scheduler/*.json"),
    ],
)
def test_weights_that_came_in_part(tmp_path: Path, present: list[str], lacking: str) -> None:
    env = stand_in(tmp_path)
    index = next(tmp_path.rglob("model_index.json"))
    index.write_text(
        '{"_class_name": "X", "vae": ["a", "B"], "scheduler": ["c", "D"], "label": [null, null]}'
    )
    for name in present:
        (index.parent / name).parent.mkdir(exist_ok=True)
        (index.parent / name).touch()
    with within(env) as client:
        health = client.get("/health").json()
    assert health["model"] == "no weights"
    assert lacking in health["advice"][0]


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


class RefusingHub(BaseHTTPRequestHandler):
    """A hub without any account; it notes each token it is sent."""

    asked: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        """Refuse."""
        self.asked.append(self.headers["Authorization"])
        self.send_response(401)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize(("token", "sent"), [("hf_secret", "Bearer hf_secret"), ("", None)])
def test_a_hub_that_refuses(tmp_path: Path, token: str, sent: str | None) -> None:
    RefusingHub.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), RefusingHub) as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        env = stand_in(tmp_path) | {
            "MODEL_PATH": "",
            "HF_HUB_OFFLINE": "0",
            "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
            "HF_TOKEN": token,
        }
        # A token that was left on the disk does not count.
        Path(env["HF_HOME"]).mkdir()
        Path(env["HF_HOME"], "token").write_text("hf_forgotten")
        with within(env) as client:
            health = client.get("/health").text
        hub.shutdown()
    assert '"model":"failed: RepositoryNotFoundError: 401' in health
    assert "hf_" not in health
    assert set(RefusingHub.asked) == {sent}


def test_a_gpu_that_torch_cannot_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.pipeline.visible_device", lambda: "gpu")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(RuntimeError, match="cargo xtask doctor"):
        usable_device()


def test_a_gpu_that_computes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def launch(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: no kernel image is available for execution")

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.ones", launch)
    with pytest.raises(RuntimeError, match="no kernel image"):
        usable_device()


def test_a_gpu_that_is_lost_ends_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost() -> None:
        raise RuntimeError("CUDA error: device lost")

    monkeypatch.setattr("torch.cuda.is_initialized", lambda: True)
    monkeypatch.setattr("torch.cuda.synchronize", lost)
    with pytest.raises(RuntimeError, match="device lost"):
        sweep()


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
