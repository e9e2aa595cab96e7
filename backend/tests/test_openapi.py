"""/docs describes all of it, with an example for each answer."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.errors import ALL
from service.parameters import Parameters
from service.routes import MESH

STATUSES = {"200", "400", "413", "415", "422", "429", "500", "503", "507"}


@pytest.fixture(scope="module")
def schema(client: TestClient) -> dict[str, Any]:
    """The document that /docs shows."""
    assert client.get("/docs").status_code == 200
    document: dict[str, Any] = client.get("/openapi.json").json()
    return document


def test_each_answer_has_an_example(schema: dict[str, Any]) -> None:
    answers = schema["paths"]["/generate-3d"]["post"]["responses"]
    assert set(answers) == STATUSES
    assert answers["200"]["content"][MESH]["example"]
    assert set(answers["200"]["headers"]) == {"X-Output-File", "X-Seed", "X-Request-ID"}
    shown = set()
    for status in STATUSES - {"200"}:
        retry = {"Retry-After"} if status in ("429", "503") else set()
        assert set(answers[status]["headers"]) == {"X-Request-ID"} | retry
        for name, example in answers[status]["content"]["application/json"]["examples"].items():
            assert set(example["value"]) == {"detail"}
            shown.add(name)
    assert shown == {problem.__name__ for problem in ALL}


def test_each_parameter_has_a_description_and_bounds(schema: dict[str, Any]) -> None:
    content = schema["paths"]["/generate-3d"]["post"]["requestBody"]["content"]
    name = content["multipart/form-data"]["schema"]["$ref"].rpartition("/")[2]
    properties = schema["components"]["schemas"][name]["properties"]
    assert set(properties) == set(Parameters.__dataclass_fields__)
    for name, described in properties.items():
        assert described["description"]
        number = described.get("anyOf", [described])[0]
        assert name == "image" or {"minimum", "maximum"} <= set(number)


def test_health_has_an_example_for_each_field(schema: dict[str, Any]) -> None:
    fields = schema["components"]["schemas"]["Health"]["properties"]
    for described in fields.values():
        assert "examples" in described or "enum" in described
