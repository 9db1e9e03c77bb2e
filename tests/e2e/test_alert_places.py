"""Each place where something can go wrong, made to go wrong: Discord hears of it exactly once, with links that work."""

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from recado.alerts.conditions import CONDITIONS
from tests.e2e.test_whatsapp_round_trip import CHANNEL
from tests.e2e.world import ALL_SHOPS, World, answer, ask, query, until, when
from tests.fakes.discord_api import DiscordFake
from tests.fakes.linear_api import PERSONAL_KEY, TEAM, LinearFake
from tests.fakes.meta_inbound import body_of, sign, template_post
from tests.fakes.openai_api import OpenAIFake
from tests.fakes.server import running
from tests.fakes.twilio_api import TwilioFake
from tests.fakes.twilio_inbound import inbound_form, new_sid
from tests.support import WEB, RecadoServer, free_port

SHOP, NEIGHBOUR = ALL_SHOPS[0], ALL_SHOPS[1]
PLATFORM_KEY = "platform-key-of-the-tests-0123456789"
HOUR_AND_MORE = 61
QUIET_MINUTES = "300"
"""Longer than the clock is moved, so that no sum comes in between."""


class Place:
    """A running product, and the team's Discord."""

    def __init__(self, world: World, discord: DiscordFake, linear: LinearFake) -> None:
        self.world, self.discord, self.linear = world, discord, linear

    def posts(self, condition: str) -> list[dict[str, Any]]:
        """The embeds about this condition."""
        title = CONDITIONS[condition].title
        embeds = [embed for message in list(self.discord.messages) for embed in message["embeds"]]
        return [embed for embed in embeds if title in embed["title"]]

    def hears(self, condition: str) -> dict[str, Any]:
        found = until(lambda: self.posts(condition), lambda: f"{condition}\n{self.world.log_tail()}", 40)
        return found[0]

    @contextmanager
    def without(self, table: str) -> Iterator[None]:
        """A database that lacks a table for a while."""
        self._rename(table, f"{table}_away")
        try:
            yield
        finally:
            self._rename(f"{table}_away", table)

    def _rename(self, name: str, to: str) -> None:
        with closing(sqlite3.connect(self.world.server.folder / "recado.db", timeout=10)) as connection, connection:
            connection.execute("PRAGMA legacy_alter_table = ON")
            connection.execute(f"ALTER TABLE {name} RENAME TO {to}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder: Path = tmp_path_factory.mktemp("places")
    shops = [SHOP.spec(), NEIGHBOUR.spec()]
    shops[0]["channels"].append(CHANNEL)
    (folder / "merchants.yaml").write_text(yaml.safe_dump({"merchants": shops}, allow_unicode=True))
    with ExitStack() as stack:
        accounts = {shop.account_sid: shop.auth_token for shop in (SHOP, NEIGHBOUR)}
        twilio = stack.enter_context(running(TwilioFake(accounts)))
        openai = stack.enter_context(running(OpenAIFake()))
        discord = stack.enter_context(running(DiscordFake()))
        linear = stack.enter_context(running(LinearFake()))
        environment = {
            "MODEL_PROVIDER": "openai",
            "OPENAI_API_KEY": "x",
            "OPENAI_BASE_URL": openai.base_url,
            "CHAT_MODEL": "gpt-4-gone,gpt-4.1",
            "MODEL_RETRIES": "0",
            "TWILIO_API_BASE_URL": twilio.url,
            "ENABLE_CONVERSATION_SYNC": "true",
            "CARTAAI_API_BASE_URL": f"http://127.0.0.1:{free_port()}",
            "DISCORD_WEBHOOK_URL": discord.webhook_url,
            "LINEAR_API_URL": linear.api_url,
            "LINEAR_API_KEY": PERSONAL_KEY,
            "LINEAR_TEAM_ID": TEAM,
            "WEBAPP_BASE_URL": "https://app.example.com",
            "RAILWAY_PROJECT_ID": "project-1",
            "RAILWAY_ENVIRONMENT_IDS": "production=e-prod,development=e-dev",
            "TRACE_URL": "https://traces.example.com/trace/{trace_id}",
            "ALERT_QUIET_MINUTES": QUIET_MINUTES,
            "API_KEY": PLATFORM_KEY,
        }
        server = RecadoServer(folder, environment)
        server.prepare(folder / "merchants.yaml")
        openai.withdrawn = {"gpt-4-gone"}
        server.start()
        stack.callback(server.stop)
        yield Place(World(server, twilio, openai), discord, linear)


def person(number: int) -> str:
    return SHOP.customer(number)


def a_turn_fails(place: Place) -> None:
    place.world.openai.apply_script([when("caída", {"error": "server_error"})])
    place.world.inbound(SHOP, person(1), "caída")


def a_model_says_nothing(place: Place) -> None:
    place.world.openai.apply_script([when("vacío", {"content": ""})])
    place.world.inbound(SHOP, person(2), "vacío")


def a_model_is_withdrawn(place: Place) -> None:
    place.world.inbound(SHOP, person(3), "hola")


def an_event_cannot_be_read(place: Place) -> None:
    form = {"AccountSid": SHOP.account_sid, "To": f"whatsapp:{SHOP.twilio}", "MessageSid": new_sid(), "Body": "x"}
    assert place.world.post(form, SHOP.auth_token).status_code == 200


def an_event_is_nobodys(place: Place) -> None:
    form = inbound_form(from_=person(4), to="+15559999", body="hola", account_sid=SHOP.account_sid)
    assert place.world.post(form, SHOP.auth_token).status_code == 200


def a_delivery_is_refused(place: Place) -> None:
    fault = {"when": {"to": f"whatsapp:{person(5)}"}, "fault": {"code": 21211}}
    place.world.twilio.apply_script({"faults": [fault]})
    place.world.inbound(SHOP, person(5), "hola")


def a_delivery_fails_later(place: Place) -> None:
    place.world.inbound(SHOP, person(6), "hola")
    [send] = place.world.gets(person(6))
    row = until(
        lambda: [row for row in place.world.deliveries(person(6)) if row["provider_message_id"]], place.world.log_tail
    )[0]
    place.world.status(SHOP, send, row["provider_message_id"], "undelivered", 63013)


def a_template_is_rejected(place: Place) -> None:
    body = body_of(template_post("REJECTED", reason="INVALID_FORMAT"))
    url = f"{place.world.server.url}/webhooks/meta"
    assert WEB.post(url, content=body, headers=sign(body), timeout=20).status_code == 200


def a_stranger_signs_wrongly(place: Place) -> None:
    form = inbound_form(from_=person(7), to=SHOP.twilio, body="hola", account_sid=SHOP.account_sid)
    for _ in range(CONDITIONS["security_wrong_signature"].after):
        assert place.world.post(form, SHOP.auth_token, signature="d3Jvbmc=").status_code == 403


def a_stranger_guesses_keys(place: Place) -> None:
    for number in range(CONDITIONS["security_unknown_key"].after):
        headers = {"X-API-Key": f"guess-{number}"}
        url = f"{place.world.server.url}/api/v1/campaign/campaigns"
        assert WEB.get(url, headers=headers, timeout=10).status_code == 401


def staff_answers_for_another_merchant(place: Place) -> None:
    rules = [
        when("¿Mío?", ask("¿Mío?"), tool="request_notification"),
        when("para el vecino", answer("NOTIF_1", "sí"), tool="answer_notification"),
    ]
    place.world.openai.apply_script(rules)
    place.world.inbound(SHOP, person(8), "¿Mío?")
    place.world.gets(SHOP.rosa)
    place.world.inbound(NEIGHBOUR, NEIGHBOUR.rosa, "NOTIF_1 para el vecino")


def nobody_answers(place: Place) -> None:
    place.world.openai.apply_script([when("¿Cuándo?", ask("¿Cuándo?"), tool="request_notification")])
    place.world.inbound(SHOP, person(9), "¿Cuándo?")
    until(lambda: query(place.world.server, "SELECT 1 FROM notifications WHERE announced_at"), place.world.log_tail)
    place.world.later(minutes=HOUR_AND_MORE)


def a_request_and_a_job_fail(place: Place) -> None:
    place.world.openai.apply_script([when("¿Roto?", ask("¿Roto?"), tool="request_notification")])
    with place.without("campaigns"):
        url = f"{place.world.server.url}/api/v1/campaign/campaigns"
        answered = WEB.get(url, params={"sub_domain": SHOP.spec()["sub_domain"]}, headers={"X-API-Key": PLATFORM_KEY})
        assert answered.status_code == 500, answered.text
        place.world.inbound(SHOP, person(10), "¿Roto?")
        place.hears("request_failed")
        place.hears("job_failed")


PLACES: dict[str, tuple[Callable[[Place], None], bool]] = {
    # condition: (what brings it about, whether it is about somebody's conversation)
    "model_withdrawn": (a_model_is_withdrawn, True),
    "turn_failed": (a_turn_fails, True),
    "reply_unusable": (a_model_says_nothing, True),
    "event_dead": (an_event_cannot_be_read, False),
    "event_unrouted": (an_event_is_nobodys, False),
    "delivery_given_up": (a_delivery_is_refused, True),
    "delivery_failed": (a_delivery_fails_later, True),
    "template_withdrawn": (a_template_is_rejected, False),
    "security_wrong_signature": (a_stranger_signs_wrongly, False),
    "security_unknown_key": (a_stranger_guesses_keys, False),
    "security_foreign_notification": (staff_answers_for_another_merchant, True),
    "sla_breached": (nobody_answers, True),
    "job_failed": (a_request_and_a_job_fail, True),
}
BESIDE = ("sync_circuit_open", "request_failed")
"""What comes about with these: the conversation API is away all the time, and a request fails beside a job."""


@pytest.mark.parametrize("condition", PLACES)
def test_the_team_hears_of_it_with_links(place: Place, condition: str) -> None:
    bring_about, has_conversation = PLACES[condition]
    bring_about(place)
    embed = place.hears(condition)
    check_links(place, embed, has_conversation)


def check_links(place: Place, embed: dict[str, Any], has_conversation: bool) -> None:
    said = str(embed)
    assert ("conversationId=" in said) == has_conversation, said
    if has_conversation:
        [number] = set(re.findall(r"https://app\.example\.com/whatsapp/messages\?conversationId=(\d+)", said))
        assert query(place.world.server, "SELECT 1 FROM conversations WHERE id = ?", int(number))
        [trace_id] = set(re.findall(r"https://traces\.example\.com/trace/([0-9a-f]{32})", said))
        assert query(place.world.server, "SELECT 1 FROM messages WHERE trace_id = ?", trace_id), "it is a message's"
    [logs] = set(re.findall(r"https://railway\.com/[^)\s'\"]+", said))
    asked = parse_qs(urlsplit(logs.replace("\\", "")).query)
    assert asked["environmentId"] == ["e-dev"]
    assert asked["start"][0] < asked["end"][0]


def test_each_was_told_once_and_errors_have_an_issue(place: Place) -> None:
    for condition in (*PLACES, *BESIDE):
        place.hears(condition)
    time.sleep(4)  # a sweep more: nothing may come a second time
    told = {condition: len(place.posts(condition)) for condition in (*PLACES, *BESIDE)}
    assert told == dict.fromkeys(told, 1)
    errors = [condition for condition in told if CONDITIONS[condition].severity == "error"]
    assert len(place.linear.issues) == len(errors)
    for condition in errors:
        assert "linear.app" in str(place.posts(condition)[0]), condition


def test_no_text_and_no_secret_is_told(place: Place) -> None:
    said = str(place.discord.messages)
    assert len(place.discord.messages) >= len(PLACES)
    for secret in ("caída", "¿Roto?", SHOP.auth_token, PLATFORM_KEY, PERSONAL_KEY):
        assert secret not in said


def test_a_webhook_that_cannot_store_is_told_of_and_its_message_comes_again(place: Place) -> None:
    form = inbound_form(from_=person(20), to=SHOP.twilio, body="hola", account_sid=SHOP.account_sid)
    before = len(place.posts("request_failed"))
    with place.without("inbox_events"):
        assert place.world.post(form, SHOP.auth_token).status_code == 500, "so that Twilio posts it again"
        until(lambda: len(place.posts("request_failed")) > before, place.world.log_tail)
    assert "POST /webhooks/twilio" in place.posts("request_failed")[-1]["description"].replace("\\", "")
    assert place.world.post(form, SHOP.auth_token).status_code == 200
    assert len(place.world.gets(person(20), timeout=40)) == 1


def test_alerts_that_cannot_be_stored_are_told_of_past_the_database(place: Place) -> None:
    with place.without("alert_occurrences"):
        a_stranger_guesses_keys(place)
        place.hears("alerts_not_stored")
    counted = "SELECT sum(count) AS n FROM alert_occurrences WHERE condition = 'security_unknown_key'"
    until(lambda: query(place.world.server, counted)[0]["n"] == 40, place.world.log_tail, 30)
