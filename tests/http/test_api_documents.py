"""What the agent knows, over the REST API."""

from typing import Any

import pytest

from recado.db.models import Document
from recado.documents.service import DocumentService
from tests.builders import ANA, apply_specs, merchant_spec
from tests.http.counter import DOCUMENTS, Counter
from tests.notifications.staffroom import Staffroom

FAQ = {"category": "faq", "title": "¿Hacen envíos?", "content": "Sí, a todo Lima en 24 horas."}


async def add(counter: Counter, **changes: Any) -> dict[str, Any]:
    return dict(await counter.ok("POST", DOCUMENTS, 201, json={**FAQ, **changes}))


async def test_a_document_is_added_changed_and_read(counter: Counter) -> None:
    response = await counter.call("POST", DOCUMENTS, json={**FAQ, "title": " ¿Hacen envíos? "})
    assert response.status_code == 201
    made = response.json()
    assert FAQ.items() <= made.items()
    assert (made["source"], made["retired_at"], made["notification_id"]) == ("api", None, None)
    path = response.headers["Location"].removeprefix("/api/v1")
    assert await counter.ok("GET", path) == made
    changed = await counter.ok("PATCH", path, json={"content": "Sí, en 48 horas."})
    assert (changed["title"], changed["content"]) == (FAQ["title"], "Sí, en 48 horas.")
    assert await counter.ok("PATCH", path, json={}) == changed
    assert await counter.ok("GET", path) == changed
    assert "embedding" not in changed


async def test_the_list_is_searched_by_category_words_and_retirement(counter: Counter) -> None:
    shipping = (await add(counter))["id"]
    cards = (await add(counter, title="Tarjetas", content="Visa y Mastercard"))["id"]
    returns = (await add(counter, category="support_classification", title="returns", content="Devoluciones"))["id"]
    await counter.ok("POST", DOCUMENTS, 201, json=FAQ, key=await counter.make_key(counter.theirs))
    await counter.ok("POST", f"{DOCUMENTS}/{cards}/retire")

    async def listed(**params: Any) -> tuple[list[int], int]:
        page = await counter.ok("GET", DOCUMENTS, params=params)
        return [item["id"] for item in page["items"]], page["total"]

    assert await listed() == ([returns, shipping], 2)
    assert await listed(retired=True) == ([cards], 1)
    assert await listed(category="faq") == ([shipping], 1)
    assert await listed(q="ENVIOS") == ([shipping], 1)
    assert await listed(q="lima en 24") == ([shipping], 1)
    assert await listed(q="visa", retired=True) == ([cards], 1)
    assert await listed(q="100%_") == ([], 0)
    assert await listed(page_size=1, page=2) == ([shipping], 2)
    for wrong in ({"category": "secret"}, {"q": "\x00"}, {"q": ""}, {"q": "x" * 501}, {"retired": "maybe"}):
        await counter.refused(422, "GET", DOCUMENTS, params=wrong)
    async with counter.queries() as run:
        await counter.ok("GET", DOCUMENTS)
    assert len(run) == 3  # the key, the count, the page


async def test_retiring_and_restoring_change_it_once(counter: Counter) -> None:
    path = f"{DOCUMENTS}/{(await add(counter))['id']}"
    retired = await counter.ok("POST", f"{path}/retire")
    assert retired["retired_at"] is not None
    assert await counter.ok("POST", f"{path}/retire") == retired
    assert await counter.ok("GET", path) == retired
    restored = await counter.ok("POST", f"{path}/restore")
    assert restored["retired_at"] is None
    assert await counter.ok("POST", f"{path}/restore") == restored


async def test_what_a_yaml_file_says_is_changed_there(counter: Counter) -> None:
    await apply_specs(counter.services.database, merchant_spec(documents=[FAQ]))
    document = (await counter.ok("GET", DOCUMENTS))["items"][0]
    assert document["source"] == "yaml"
    path = f"{DOCUMENTS}/{document['id']}"
    await counter.refused(422, "PATCH", path, "YAML", json={"content": "No"})
    await counter.refused(422, "POST", f"{path}/retire", "YAML")
    assert await counter.ok("GET", path) == document


async def test_a_document_leads_to_the_questions_that_it_answers(counter: Counter) -> None:
    room = Staffroom(counter.mine, await counter.mine.hear("¿Venden hielo?", ANA))
    asked, other = await room.request("a"), await room.request("b")
    async with room.service() as service:
        document = await service.create_document("notification:a", "¿Venden hielo?")
        await service.complete_context(asked, document.id)
    page = await counter.ok("GET", f"{DOCUMENTS}/{document.id}/notifications")
    assert ([item["id"] for item in page["items"]], page["total"]) == ([asked], 1)
    assert other != asked
    unused = (await add(counter))["id"]
    assert (await counter.ok("GET", f"{DOCUMENTS}/{unused}/notifications"))["total"] == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"title": ""},
        {"title": "  "},
        {"title": "a\x00"},
        {"title": None},
        {"title": "x" * 20_001},
        {"content": " \n"},
        {"content": 5},
        {"category": "secret"},
        {"source": "yaml"},
        {"id": 7},
        {"merchant_id": 2},
    ],
)
async def test_what_is_no_document_is_refused(counter: Counter, wrong: dict[str, Any]) -> None:
    (field,) = wrong
    path = f"{DOCUMENTS}/{(await add(counter))['id']}"
    for method, where, body in (("POST", DOCUMENTS, {**FAQ, **wrong}), ("PATCH", path, wrong)):
        problem = await counter.refused(422, method, where, json=body)
        assert problem["errors"][0]["field"] in {field, "body"}
    assert await counter.count(Document) == 1


async def test_another_merchants_document_does_not_exist(counter: Counter) -> None:
    async with counter.services.database.transaction() as session:
        service = DocumentService(session, counter.theirs.merchant_id, counter.theirs.clock)
        theirs = (await service.create("faq", "secret", "secret")).id
    path = f"{DOCUMENTS}/{theirs}"
    await counter.refused(404, "GET", path)
    await counter.refused(404, "PATCH", path, json={"title": "mine"})
    for verb in ("retire", "restore"):
        await counter.refused(404, "POST", f"{path}/{verb}")
    await counter.refused(404, "GET", f"{path}/notifications")
    assert (await counter.ok("GET", DOCUMENTS))["total"] == 0
    async with counter.services.database.read() as session:
        row = await session.get_one(Document, theirs)
    assert (row.title, row.retired_at) == ("secret", None)
