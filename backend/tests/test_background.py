"""An image without transparency, through rembg itself and a network of one node."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from network import install
from pictures import SIZE, ball, encoded
from serving import QUICK, stand_in, within


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a service whose foreground is what is red."""
    with within(install(stand_in(tmp_path_factory.mktemp("background")))) as client:
        yield client


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_the_foreground_becomes_a_mesh(client: TestClient, form: str) -> None:
    image = encoded(ball("RGB"), form)
    answer = client.post("/generate-3d", files={"image": image}, data=QUICK)
    assert answer.status_code == 200, answer.text


def test_nothing_but_background(client: TestClient) -> None:
    blue = Image.new("RGB", SIZE, "blue")
    blue.putpixel((50, 30), (255, 0, 255))
    answer = client.post("/generate-3d", files={"image": encoded(blue)}, data=QUICK)
    assert answer.status_code == 422
    assert "no foreground was found" in answer.json()["detail"]
