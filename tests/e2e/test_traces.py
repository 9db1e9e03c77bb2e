"""One trace for each message, from the webhook to the call of the provider, as a collector and Langfuse see it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import pytest
from sqlalchemy import make_url

from recado.bootstrap import GRACE_SECONDS
from recado.telemetry.flushing import LONGEST_FLUSH_SECONDS
from recado.telemetry.tracing import root_id_of
from tests.databases import POSTGRES_URL
from tests.e2e.conftest import StartWorld
from tests.e2e.workers import workers
from tests.e2e.world import ALL_SHOPS, Phone, World, answer, ask, query, when
from tests.fakes.langfuse_api import LangfuseFake
from tests.fakes.otlp_collector import OtlpCollector
from tests.fakes.recorder import JsonObject
from tests.fakes.server import running
from tests.processes import INHERITED
from tests.support import RecadoServer

SHOP = ALL_SHOPS[0]
GRAPHS = ("conversation", "request", "answer")
QUESTION, ANSWER = "¿Tienen panetón sin gluten?", "Sí, llega el viernes."


@dataclass(frozen=True, slots=True)
class Watched:
    """Who watched as a question went to the staff and back. `asked`, `answered`: the traces of what the customer wrote
    and of what the staff did."""

    collector: OtlpCollector
    langfuse: LangfuseFake
    asked: str
    answered: str


def trace_of(world: World, sid: str) -> str:
    """The trace that a message is in by its row."""
    return str(query(world.server, "SELECT trace_id FROM messages WHERE provider_message_id = ?", sid)[0]["trace_id"])


def environment(collector: OtlpCollector, langfuse: LangfuseFake) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "LANGFUSE_PUBLIC_KEY": langfuse.public_key,
        "LANGFUSE_SECRET_KEY": langfuse.secret_key,
        "LANGFUSE_BASE_URL": langfuse.url,
        "LANGFUSE_FLUSH_INTERVAL": "0.05",
    }


@pytest.fixture(scope="module")
def watched(start_world: StartWorld) -> Iterator[Watched]:
    with running(OtlpCollector()) as collector, running(LangfuseFake("pk-lf-e2e", "sk-lf-e2e")) as langfuse:
        world = start_world(environment(collector, langfuse))
        asked, answered = play(world)
        world.server.stop()  # hands over what is left
        yield Watched(collector, langfuse, asked, answered)


def play(world: World) -> tuple[str, str]:
    """A question to the staff and back; the traces of the question and of the answer."""
    ana = SHOP.customer(1)
    world.openai.apply_script(
        [
            when(QUESTION, ask(QUESTION), tool="request_notification"),
            {"when": {"tool": "answer_notification"}, "reply": answer("NOTIF_1", ANSWER)},
            {"when": {"contains": ANSWER}, "reply": {"content": "Sí: llega este viernes."}},
        ]
    )
    question = world.inbound(SHOP, ana, QUESTION)
    world.gets(SHOP.luis)
    world.gets(SHOP.rosa)
    world.quiet()
    request = str(world.deliveries(SHOP.rosa)[0]["provider_message_id"])
    said = world.inbound(SHOP, SHOP.rosa, ANSWER, profile_name="Rosa", reply_to_sid=request)
    world.gets(ana, 2)
    world.quiet()
    return trace_of(world, question), trace_of(world, said)


def children(spans: list[JsonObject], parent: JsonObject) -> list[str]:
    return [span["name"] for span in spans if span["parent_id"] == parent["span_id"]]


def test_a_question_is_one_trace_from_the_webhook_to_the_provider(watched: Watched) -> None:
    spans = watched.collector.spans(watched.asked)
    webhook, *rest = spans
    assert (webhook["name"], webhook["parent_id"], webhook["span_id"]) == ("webhook", None, root_id_of(watched.asked))
    ids = {span["span_id"] for span in spans}
    assert len(ids) == len(spans)
    assert {span["parent_id"] for span in rest} <= ids
    # The staff is asked within it too: by the graph, then Rosa and Luis by Twilio, which also tells the customer.
    assert sorted(children(spans, webhook)) == ["request_notification", "send", "send", "send", "turn"]
    [turn] = [span for span in spans if span["name"] == "turn"]
    steps = ["load", "customer_agent", "gpt-4.1", "customer_tools", "request_notification", "finish"]
    assert children(spans, turn) == steps
    assert all(span["attributes"]["recado.trace_id"] == watched.asked for span in spans if span["name"] == "send")
    assert {span["kind"] for span in spans if span["name"] == "send"} == {"client"}


def test_the_answer_is_another_until_the_customer_has_it(watched: Watched) -> None:
    spans = watched.collector.spans(watched.answered)
    assert sorted(children(spans, spans[0])) == ["answer_notification", "send", "send", "send", "turn"]
    [graph] = [span for span in spans if span["name"] == "answer_notification" and children(spans, span)]
    assert "gpt-4.1" in children(spans, graph)
    [call] = [span for span in spans if span["name"] == "gpt-4.1" and span["parent_id"] == graph["span_id"]]
    assert call["attributes"]["recado.task"] == "reply"
    assert call["attributes"]["recado.tokens_in"] > 0
    assert call["attributes"]["recado.cost"] > 0


def test_the_collector_hears_no_words_and_no_numbers_of_people(watched: Watched) -> None:
    told = str(watched.collector.spans())
    for said in (QUESTION, ANSWER, "panetón", "Rosa", SHOP.customer(1)[1:], SHOP.rosa[1:]):
        assert said not in told
    names = {name for span in watched.collector.spans() for name in span["attributes"]}
    assert {name.partition(".")[0] for name in names} == {"recado"}


def test_langfuse_hears_the_words_under_the_same_ids(watched: Watched) -> None:
    spans = watched.langfuse.spans()
    assert {span["trace_id"] for span in spans} == {watched.asked, watched.answered}
    roots = [span for span in spans if "session.id" in span["attributes"] and span["name"] in GRAPHS]
    assert [span["name"] for span in roots] == ["conversation", "request", "conversation", "answer"]
    first = [span["name"] for span in spans if span["parent_id"] == roots[0]["span_id"]]
    assert first == ["load", "customer_agent", "customer_tools", "finish"]
    told = str(spans)
    assert "panetón" in told
    assert SHOP.customer(1)[1:] not in told
    assert SHOP.rosa[1:] not in told


def test_no_turn_asks_langfuse_for_its_project(watched: Watched) -> None:
    assert watched.langfuse.requests.entries("projects") == []


@pytest.mark.parametrize("fault", [{"hang": True}, {"status": 401}], ids=str)
def test_the_server_ends_in_time_when_nobody_takes_them(start_world: StartWorld, fault: JsonObject) -> None:
    with running(OtlpCollector()) as collector, running(LangfuseFake(f"pk-{fault}", "sk")) as langfuse:
        collector.apply_script(fault)
        langfuse.apply_script(fault)
        world = start_world(environment(collector, langfuse))
        world.openai.apply_script([{"reply": {"content": "Hola."}}])
        for number in (1, 2):
            world.inbound(SHOP, SHOP.customer(number), "Buenas")
            world.gets(SHOP.customer(number))
        collector.requests.wait(1)
        langfuse.requests.wait(1)
        started = monotonic()
        world.server.stop()
        assert monotonic() - started < GRACE_SECONDS + LONGEST_FLUSH_SECONDS + 2


PEOPLE = 12


def test_a_trace_is_one_whichever_process_did_what(tmp_path: Path, merchants_file: Path, schema: str) -> None:
    url = make_url(POSTGRES_URL).update_query_dict({"options": f"-csearch_path={schema}"})
    with running(OtlpCollector()) as collector:
        settings = {
            "DATABASE_URL": url.render_as_string(hide_password=False),
            "QUEUE_URL": url.set(drivername="postgresql").render_as_string(hide_password=False),
            "CHECKPOINT_URL": f"sqlite:///{tmp_path}/checkpoints.db",
            "MODEL_PROVIDER": "demo",
            "TURN_QUIET_SECONDS": "0.2",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        server = RecadoServer(tmp_path, settings)
        server.prepare(merchants_file)
        with workers(server, INHERITED | settings, 2) as wait:
            server.start()
            try:
                wait()
                people = [
                    Phone(server, SHOP.customer(number), SHOP.simulator, "Ana") for number in range(1, PEOPLE + 1)
                ]
                for person in people:
                    person.says("¿Hacen envíos?")
                for person in people:
                    person.hears("Lima", timeout=40)
            finally:
                server.stop()
        turns = [span for span in collector.spans() if span["name"] == "turn"]
        assert len({turn["trace_id"] for turn in turns}) == PEOPLE
        across = 0
        for turn in turns:
            spans = collector.spans(turn["trace_id"])
            assert [span["name"] for span in spans if span["parent_id"] == spans[0]["span_id"]] == ["turn", "send"]
            across += len({span["resource"]["service.instance.id"] for span in spans}) > 1
        # Which worker takes a job is chance: that one of two does all three jobs of each of so many is none.
        assert across
