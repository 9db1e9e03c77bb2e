"""What /openapi.json says: whole, with examples that are true, and /docs that shows it."""

from collections import Counter as Tally
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from recado.db.engine import Database
from tests.http.counter import API, open_counter

VERBS = {"get", "post", "patch", "delete"}


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        assert set(item) <= VERBS, path
        for method, operation in item.items():
            yield method, path, operation


def parts(node: Any) -> Iterator[dict[str, Any]]:
    """Every object in the document."""
    if isinstance(node, dict):
        yield node
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from parts(inner)


def matches(document: dict[str, Any], schema: dict[str, Any], example: Any) -> None:
    Draft202012Validator({**schema, "components": document["components"]}).validate(example)


@pytest.fixture
async def document(database: Database) -> dict[str, Any]:
    async with open_counter(database) as counter:
        assert (await counter.client.get("/docs")).status_code == 200
        first, again = [(await counter.client.get("/openapi.json")).json() for _ in range(2)]
    assert first == again
    return dict(first)


def test_the_document_is_whole(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert document["openapi"].startswith("3.1")
    for node in parts(document):
        if "$ref" in node:
            assert node["$ref"].removeprefix("#/components/schemas/") in schemas
    assert "HTTPValidationError" not in str(document)
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    ids = Tally(operation["operationId"] for _, _, operation in operations(document))
    assert max(ids.values()) == 1
    tags = {tag["name"] for tag in document["tags"]}
    for _, path, operation in operations(document):
        assert operation["summary"], path
        assert set(operation["tags"]) <= tags


def test_schemas_have_examples_that_are_true(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        for example in schema.get("examples", []):
            matches(document, schema, example)
    api = {
        node["$ref"].rpartition("/")[2]
        for path, item in document["paths"].items()
        if path.startswith(API)
        for node in parts(item)
        if "$ref" in node
    }
    without = {name for name in api if schemas[name]["type"] == "object" and not schemas[name].get("examples")}
    assert {name for name in without if not name.startswith("Page_")} == {"MessagesPage"}  # their items have some


def test_bodies_and_problems_have_examples_that_are_true(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        for status, answer in operation["responses"].items():
            for kind, content in answer.get("content", {}).items():
                assert (kind == "application/problem+json") == (status >= "400"), (method, path, status)
                if "example" in content:
                    matches(document, content["schema"], content["example"])
        for kind in operation.get("requestBody", {}).get("content", {}).values():
            for example in kind.get("examples", {}).values():
                matches(document, kind["schema"], example["value"])


def test_every_route_says_which_keys_it_takes(document: dict[str, Any]) -> None:
    kinds = document["components"]["securitySchemes"]
    assert {(kind["type"], kind.get("scheme"), kind.get("name")) for kind in kinds.values()} == {
        ("http", "bearer", None),
        ("apiKey", None, "X-API-Key"),
    }
    for _, path, operation in operations(document):
        if not path.startswith(API):
            assert "security" not in operation, path
            continue
        assert operation["security"] == [{name: []} for name in kinds], path
        assert {"401", "422"} <= set(operation["responses"]), path
