"""The REST API on a running server, with keys from the command line: asked and answered over HTTP, said on WhatsApp."""

import re
from pathlib import Path

import httpx

from tests.e2e.world import Phone
from tests.processes import INHERITED, Done, run_forked
from tests.support import WEB, RecadoServer

SHOP, ANA, ROSA = "+15550100", "+51911111111", "+51900000001"


def recado(database_url: str, folder: Path, *words: str) -> Done:
    """Run the command in a folder without an `.env`."""
    return run_forked(*words, folder=folder, environment=INHERITED | {"DATABASE_URL": database_url})


def test_keys_are_made_listed_and_revoked_on_the_command_line(demo_server: RecadoServer) -> None:
    def key(*words: str) -> Done:
        return recado(demo_server.database_url, demo_server.folder, "key", *words)

    def status(secret: str) -> int:
        headers = {"Authorization": f"Bearer {secret}"}
        return WEB.get(f"{demo_server.url}/api/v1/merchant/me", headers=headers, timeout=10).status_code

    assert "recado key create bodega-sol --name NAME" in key("list", "bodega-sol").stderr
    made = key("create", "bodega-sol", "--name", "dashboard")
    secret = made.stdout.strip()
    assert (made.returncode, re.fullmatch(r"rcd_[\w-]{43}", secret) is not None) == (0, True)
    assert "not shown again" in made.stderr
    assert status(secret) == 200

    listed = key("list", "bodega-sol")
    assert secret not in listed.stdout + listed.stderr
    assert all(part in listed.stdout for part in (secret[:10], "dashboard", "in use"))
    key_id = listed.stdout.split()[0]

    assert key("revoke", "bodega-sol", key_id).returncode == 0
    assert status(secret) == 401
    assert "revoked" in key("list", "bodega-sol").stdout

    refused = {
        ("create", "nobody", "--name", "x"): "recado apply",
        ("revoke", "bodega-sol", "999"): "recado key list bodega-sol",
        ("create", "bodega-sol", "--name", " "): "--name is blank",
    }
    for words, remedy in refused.items():
        done = key(*words)
        assert (done.returncode, done.stdout) == (1, ""), words
        assert remedy in done.stderr
        assert "Traceback" not in done.stderr
    assert key("revoke", "bodega-sol", "9" * 30).returncode == 2
    assert secret not in demo_server.log.read_text()


def test_a_database_that_is_not_there_yet_is_named(tmp_path: Path) -> None:
    done = recado(f"sqlite+aiosqlite:///{tmp_path}/new.db", tmp_path, "key", "list", "bodega-sol")
    assert (done.returncode, "recado migrate" in done.stderr) == (1, True)


def test_a_question_asked_and_answered_over_the_api_reaches_the_people(demo_server: RecadoServer) -> None:
    made = recado(demo_server.database_url, demo_server.folder, "key", "create", "bodega-sol", "--name", "x")
    headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
    ana, rosa = Phone(demo_server, ANA, SHOP, "Ana"), Phone(demo_server, ROSA, SHOP)
    with httpx.Client(base_url=f"{demo_server.url}/api/v1", headers=headers, timeout=20, trust_env=False) as api:
        ana.says("hola")
        ana.hears("")
        conversation = api.get("/conversation/conversations", params={"phone": ANA}).json()["items"][0]
        assert conversation["window_open"] is True
        body = {
            "notification_type": "user_question_request",
            "conversation_id": conversation["id"],
            "context": {"question": "¿Venden gift cards?"},
        }
        asked = api.post("/notification/notifications", json=body)
        assert asked.status_code == 201, asked.text
        number = asked.json()["id"]
        rosa.hears(f"NOTIF_{number}", "gift cards")

        one = f"/notification/notifications/NOTIF_{number}"
        answered = api.post(f"{one}/answer", json={"answer": "Sí, desde 50 soles"})
        assert answered.status_code == 200, answered.text
        ana.hears("50 soles")
        assert api.post(f"{one}/answer", json={"answer": "No"}).status_code == 409

        document_id = api.get(one).json()["context"]["document_id"]
        document = api.get(f"/document/documents/{document_id}").json()
        assert (document["title"], document["content"]) == ("¿Venden gift cards?", "Sí, desde 50 soles")
        questions = api.get(f"/document/documents/{document_id}/notifications").json()
        assert [item["id"] for item in questions["items"]] == [number]

        said = api.get(f"/conversation/conversations/{conversation['id']}/messages").json()["items"]
        answer = next(item for item in said if "50 soles" in item["text"] and item["role"] == "response")
        assert answer["other_data"]["notification_id_prefixed"] == f"NOTIF_{number}"
        assert answer["delivery_state"] in {"sent", "delivered", "read"}
