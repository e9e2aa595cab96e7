"""Fixtures: a service with the stand-in, shared by all tests that do it no lasting harm."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from serving import stand_in, within


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of the real app over the stand-in, whose output directory is $OUTPUT_PATH."""
    with within(stand_in(tmp_path_factory.mktemp("stand_in"))) as client:
        yield client
