"""A server that is kept in step with a stand-in of the conversation API."""

from typing import Any

from tests.e2e.world import Shop, World, query, until
from tests.fakes.conversation_api import ConversationApiFake

KEY = "key-of-the-conversation-api-9f27"
PLATFORM_KEY = "the-platforms-own-key-of-32-characters"
Said = tuple[str, str]


def settings(api: ConversationApiFake, **changes: str) -> dict[str, str]:
    """What an operator sets to have this API kept in step."""
    return {
        "ENABLE_CONVERSATION_SYNC": "true",
        "CARTAAI_API_BASE_URL": api.url,
        "CARTAAI_API_KEY": KEY,
        "CONVERSATION_API_PREFIX": api.prefix,
        "API_KEY": PLATFORM_KEY,
        **changes,
    }


class Kept:
    """A server, its providers, and the conversation API that it keeps in step."""

    def __init__(self, world: World, api: ConversationApiFake) -> None:
        self.world, self.api = world, api

    def known(self, shop: Shop, phone: str) -> None:
        """The person's conversation is there, where only the API's own webhook makes conversations."""
        if self.api.behaviour == "observed":
            self.api.inbound(phone, f"bodega-{shop.number}")

    def document(self, phone: str) -> dict[str, Any]:
        """The API's only conversation of this person; empty: it has none."""
        found = [document for document in self.api.documents() if document["userPhone"] == phone]
        assert len(found) <= 1
        return found[0] if found else {}

    def history(self, phone: str) -> list[Said]:
        """What the API shows of what was said."""
        shown = self.document(phone).get("context", {}).get("previousMessages", [])
        return [(message["role"], message["content"]) for message in shown]

    def posted(self, phone: str) -> list[Said]:
        return self.api.posted(self.document(phone)["sessionId"])

    def states(self, phone: str) -> list[tuple[str, str | None]]:
        """(intent, step) of every state that the API was told, without repetitions in a row."""
        told = [(body["intent"], body.get("step")) for body in self.api.synced(self.document(phone)["sessionId"])]
        return [state for place, state in enumerate(told) if told[place - 1 : place] != [state]]

    def waiting(self) -> int:
        return int(query(self.world.server, "SELECT count(*) FROM sync_entries WHERE state = 'pending'")[0][0])

    def in_step(self, timeout: float = 20.0) -> None:
        """Wait until nothing is under way and nothing waits to be told."""
        self.world.quiet()
        until(lambda: self.waiting() == 0, lambda: f"{self.waiting()} entries wait\n{self.world.log_tail()}", timeout)

    def conversation_of(self, phone: str) -> int:
        sql = "SELECT c.id FROM conversations c JOIN contacts p ON p.id = c.contact_id WHERE p.phone = ?"
        return int(query(self.world.server, sql, phone)[0]["id"])

    def readiness(self) -> str:
        body = self.world.client.get(f"{self.world.server.url}/readyz").raise_for_status().json()
        assert body["status"] == "ready"
        return str(body["parts"]["conversation_sync"])

    def assert_no_staff(self, shop: Shop) -> None:
        """Nobody of the staff has a conversation there, or was so much as asked about."""
        staff = {shop.rosa, shop.luis}
        assert {document["userPhone"] for document in self.api.documents()}.isdisjoint(staff)
        paths = " ".join(entry["path"] for entry in self.api.requests.entries())
        assert not [phone for phone in staff if phone in paths]
