"""The real pipeline of upstream, tiny and with random weights, behind HTTP."""

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trimesh
from fastapi.testclient import TestClient

from pictures import BALL, ball, encoded
from service.settings import Settings
from serving import CODE, QUICK, environment, within

SOURCES = Settings().sources_path

pytestmark = pytest.mark.skipif(
    not (SOURCES / "step1x3d_geometry").is_dir(),
    reason=f"no Step1X-3D in {SOURCES}: git submodule update --init backend/Step1X-3D",
)


SWALLOWED = """
import sys, torch
sys.path.append(sys.argv[1])
from step1x3d_geometry.models.autoencoders.surface_extractors import MCSurfaceExtractor
from service.errors import NoSurface
from service.pipeline import with_surface

def exhausted(self, *_, **__):
    raise torch.OutOfMemoryError

def outcome(value):
    logits = torch.full((1, 9, 9, 9), value)
    logits[:, 3:6, 3:6, 3:6] = 1
    try:
        extract(logits, mc_level=0.0, bounds=1.0, octree_resolution=8)
    except (NoSurface, torch.OutOfMemoryError) as error:
        return type(error).__name__
    return "mesh"

extract = with_surface(lambda logits, **options: MCSurfaceExtractor()(logits, **options))
print(outcome(-1.0), outcome(1.0))
MCSurfaceExtractor.run = exhausted
extract = with_surface(lambda logits, **options: MCSurfaceExtractor()(logits, **options))
print(outcome(-1.0))
"""


def test_what_the_extractor_swallows_keeps_its_name() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SWALLOWED, SOURCES], cwd=CODE, capture_output=True, text=True
    )
    assert ended.stdout.split() == ["mesh", "NoSurface", "OutOfMemoryError"], ended.stderr


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a service with upstream's code."""
    directory = tmp_path_factory.mktemp("upstream")
    script = Path(__file__).with_name("tiny_pipeline.py")
    weights = directory / "weights"
    env = environment(directory) | {"SOURCES_PATH": str(SOURCES), "MODEL_PATH": str(weights)}
    subprocess.run([sys.executable, script, SOURCES, weights], check=True, env=os.environ | env)
    with within(env) as client:
        assert client.get("/health").json()["model"] == "ready"
        yield client


def test_an_image_becomes_a_mesh(real: TestClient) -> None:
    answers = [
        real.post("/generate-3d", files={"image": BALL}, data=QUICK | {"seed": seed})
        for seed in ("1", "1", "2")
    ]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        mesh = trimesh.load(io.BytesIO(answer.content), "glb", force="mesh")
        assert len(mesh.faces) > 100
        assert mesh.bounds.max() <= 1.06
    one, same, other = (answer.content for answer in answers)
    assert one == same != other


def test_the_mesh_is_reduced(real: TestClient) -> None:
    form = QUICK | {"max_faces": "1000", "seed": "1"}
    answer = real.post("/generate-3d", files={"image": BALL}, data=form)
    mesh = trimesh.load(io.BytesIO(answer.content), "glb", force="mesh")
    assert len(mesh.faces) <= 1000


def test_resolutions_that_upstream_halves(real: TestClient) -> None:
    form = QUICK | {"octree_resolution": "136"}
    assert real.post("/generate-3d", files={"image": BALL}, data=form).status_code == 200


def test_pictures_of_every_shape(real: TestClient) -> None:
    for size in ((32, 32), (32, 400), (400, 32)):
        answer = real.post("/generate-3d", files={"image": encoded(ball(size=size))}, data=QUICK)
        assert answer.status_code == 200, (size, answer.text)
