"""The story of a question on Twilio's wire, from the customer's post to the last status, over HTTP and on the command
line of another process."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import StartWorld
from tests.e2e.kept import PLATFORM_KEY
from tests.e2e.world import ALL_SHOPS, Shop, World, answer, ask, query, until, when
from tests.processes import INHERITED, Done, run_forked

SHOP = ALL_SHOPS[0]
QUESTION, ANSWER = "¿Tienen panetón sin gluten?", "Sí, llega el viernes."
TRACES = "https://traces.example/{trace_id}"


@pytest.fixture(scope="module")
def world(start_world: StartWorld) -> World:
    return start_world({"API_KEY": PLATFORM_KEY, "TRACE_URL": TRACES})


@pytest.fixture(scope="module")
def question(world: World) -> str:
    """The SID of a question that went to the staff and back."""
    ana = SHOP.customer(1)
    world.openai.apply_script(
        [
            when(QUESTION, ask(QUESTION), tool="request_notification"),
            {"when": {"tool": "answer_notification"}, "reply": answer("NOTIF_1", ANSWER)},
            {"when": {"contains": ANSWER}, "reply": {"content": "Sí: llega este viernes."}},
        ]
    )
    sid = world.inbound(SHOP, ana, QUESTION)
    world.gets(SHOP.luis)
    world.gets(SHOP.rosa)
    world.quiet()
    request_sid = str(world.deliveries(SHOP.rosa)[0]["provider_message_id"])
    world.inbound(SHOP, SHOP.rosa, ANSWER, profile_name="Rosa", reply_to_sid=request_sid)
    world.gets(ana, 2)
    world.quiet()
    last = world.deliveries(ana)[-1]
    world.status(SHOP, world.forms(ana)[-1], str(last["provider_message_id"]), "read")
    until(lambda: world.deliveries(ana)[-1]["state"] == "read", world.log_tail)
    world.quiet()
    return sid


def number_of(world: World, sid: str) -> int:
    return int(query(world.server, "SELECT id FROM messages WHERE provider_message_id = ?", sid)[0]["id"])


def over_http(world: World, message_id: int, shop: Shop = SHOP, **params: str) -> Any:
    answered = world.client.get(
        f"{world.server.url}/api/v1/conversation/messages/{message_id}/trace",
        params={"sub_domain": f"bodega-{shop.number}", **params},
        headers={"Authorization": f"Bearer {PLATFORM_KEY}"},
    )
    return answered.raise_for_status().json() if answered.status_code != 404 else None


def on_the_command_line(world: World, folder: Path, *words: str) -> Done:
    environment = INHERITED | {"DATABASE_URL": world.server.database_url, "TRACE_URL": TRACES}
    return run_forked("trace", *words, folder=folder, environment=environment, timeout=30)


def test_every_station_is_told(world: World, question: str) -> None:
    story = over_http(world, number_of(world, question))
    moments = story["moments"]

    def of(kind: str) -> list[dict[str, Any]]:
        return [one for one in moments if one["kind"] == kind]

    chapters = list(dict.fromkeys(one["chapter"] for one in moments))
    expected = ["from the customer", "turn 1", "NOTIF_1: the staff is asked", "from Rosa of the staff", "turn 2"]
    expected += ["NOTIF_1: the answer is taken back"]
    places = [next(place for place, chapter in enumerate(chapters) if part in chapter) for part in expected]
    assert places == sorted(places)
    assert {"request_notification", "answer_notification"} == {one["what"] for one in of("tool")}
    models = of("model")
    assert [one["facts"]["task"] for one in models] == ["customer", "staff", "reply"]
    assert all(one["facts"]["tokens_in"] > 0 and one["ms"] > 0 for one in models)
    assert {one["facts"]["state"] for one in of("status")} >= {"read"}
    assert {"text", "template"} == {one["facts"]["sent_as"] for one in of("delivery")}
    assert all(one["facts"]["provider_message_id"] in world.twilio.messages for one in of("delivery"))
    assert {"send_campaign", "update_document", "write_reply", "notify_others"} <= {one["what"] for one in of("step")}
    assert all(one["seconds"] >= 0 for one in moments)
    assert story["links"]["trace"] == TRACES.format(trace_id=story["trace_ids"][0])
    assert story["outcome"].endswith("NOTIF_1: the answer of Rosa is taken to the customer")
    assert not of("alert")


def test_the_command_says_the_same_by_the_sid(world: World, question: str, tmp_path: Path) -> None:
    number = number_of(world, question)

    def same() -> dict[str, Any] | None:
        printed = on_the_command_line(world, tmp_path, question, "--json")
        assert printed.returncode == 0, printed.stderr
        story = over_http(world, number)
        return dict(story) if story == json.loads(printed.stdout) else None

    story = until(same, "the same story: Twilio goes on reporting for a while") or {}
    read = on_the_command_line(world, tmp_path, question)
    for moment in story["moments"]:
        assert " ".join(moment["what"].split())[:30] in " ".join(read.stdout.split())
    assert f"trace: {story['links']['trace']}" in read.stdout


def test_nobody_is_named_and_nobody_quoted_unless_it_is_wanted(world: World, question: str, tmp_path: Path) -> None:
    secrets = (SHOP.customer(1), SHOP.rosa, SHOP.luis, QUESTION, ANSWER, "viernes")
    number = number_of(world, question)
    masked = (
        json.dumps(over_http(world, number), ensure_ascii=False) + on_the_command_line(world, tmp_path, question).stdout
    )
    assert not [one for one in secrets if one in masked]
    whole = json.dumps(over_http(world, number, texts="true"), ensure_ascii=False)
    assert [one for one in secrets if one in whole] == list(secrets)
    assert QUESTION in on_the_command_line(world, tmp_path, question, "--texts").stdout


def test_it_is_the_story_of_each_of_its_deliveries(world: World, question: str, tmp_path: Path) -> None:
    for number in (SHOP.customer(1), SHOP.rosa, SHOP.luis):
        for delivery in world.deliveries(number):
            told = on_the_command_line(world, tmp_path, str(delivery["provider_message_id"]))
            assert told.stdout.startswith(f"message {delivery['message_id']} of bodega-{SHOP.number}: ")
            assert "  <- this one" in told.stdout


def test_another_merchant_has_no_such_message(world: World, question: str, tmp_path: Path) -> None:
    assert over_http(world, number_of(world, question), ALL_SHOPS[1]) is None
    missing = on_the_command_line(world, tmp_path, question, "--merchant", "bodega-1")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "a message of bodega-1" in missing.stderr
