"""What /docs and /openapi.json say beyond what each route says of itself."""

from typing import Any

from fastapi import FastAPI

from recado.http.errors import MEDIA_TYPE, Problem

TAGS = [
    {"name": "notifications", "description": "Questions and support requests that are put to the staff."},
    {"name": "campaigns", "description": "The template messages of a merchant, and who was sent them."},
    {"name": "documents", "description": "What the agent knows: FAQ, answered questions, support classifications."},
    {"name": "conversations", "description": "The threads with customers and staff, and their messages."},
    {"name": "merchants", "description": "The merchant, its staff and its API keys."},
    {"name": "webhooks", "description": "Where providers post. Each verifies the provider's signature."},
    {"name": "simulator", "description": "The local WhatsApp, while a merchant has a simulator channel."},
    {"name": "health", "description": "Liveness and readiness."},
]

DESCRIPTION = """A WhatsApp agent that asks a merchant's staff when it does not know.

**Keys.** `/api/v1` takes a key as `Authorization: Bearer KEY` or `X-API-Key: KEY`. A merchant's key
(`recado key create SUB_DOMAIN --name NAME`) sees that merchant only. The platform key (`API_KEY`) sees all, and names
the merchant with `merchant_id` or `sub_domain`.

**Errors** are RFC 9457 problem details. **Lists** come in pages of 50, at most 200, with their `total`.
**Times** are ISO 8601, in UTC.
"""


def install(app: FastAPI) -> None:
    """Have the app describe its problems as what they are."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema:
            return app.openapi_schema
        document = describe()
        schemas = document["components"]["schemas"]
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(problem.pop("$defs"))
        schemas["Problem"] = problem
        for path in document["paths"].values():
            for operation in path.values():
                _mend(operation["responses"])
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _mend(responses: dict[str, Any]) -> None:
    """FastAPI documents its own kind of validation error, which nobody gets here."""
    if "application/json" in responses.get("422", {}).get("content", {}):
        responses["422"]["content"] = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
