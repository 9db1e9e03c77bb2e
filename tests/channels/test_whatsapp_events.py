"""How a post of Meta's falls into parts: none is lost, none costs another, and nothing of it can do harm."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recado.channels.base import Ignored
from recado.channels.meta.events import MetaPost
from recado.channels.whatsapp.payloads import parse_payload
from recado.errors import MalformedEvent
from tests.fakes.instagram_inbound import ACCOUNT, event, message_event, post
from tests.fakes.meta_inbound import (
    ANA_ID,
    PHONE_NUMBER_ID,
    WABA_ID,
    body_of,
    change,
    contact,
    messages_post,
    post_of,
    status,
    statuses_post,
    template_post,
    text_message,
    value,
)
from tests.fakes.recorder import JsonObject


def ids(body: bytes) -> list[tuple[str, str]]:
    return [(event.address, event.provider_event_id) for event in MetaPost(body).events()]


def test_a_batch_is_as_many_events_as_things_that_happened() -> None:
    first = value(messages=[text_message("a", id="m1"), text_message("b", id="m2")], contacts=[contact()])
    second = value("222", statuses=[status("m3", "sent"), status("m3", "delivered")])
    batch = post_of(change("messages", first), change("messages", second), change("account_update", {"event": "x"}))
    batch["entry"] += template_post("APPROVED", waba="333")["entry"]
    found = ids(body_of(batch))
    assert found[:4] == [
        (PHONE_NUMBER_ID, "m1"),
        (PHONE_NUMBER_ID, "m2"),
        ("222", "m3:sent"),
        ("222", "m3:delivered"),
    ]
    assert [address for address, _ in found[4:]] == [f"waba:{WABA_ID}", "waba:333"]
    assert MetaPost(body_of(batch)).names() == {PHONE_NUMBER_ID, "222", f"waba:{WABA_ID}", "waba:333"}


def test_a_redelivery_has_the_same_ids_whatever_stands_around_it() -> None:
    preference = {"wa_id": "519", "category": "marketing_messages", "value": "stop", "timestamp": 1}
    stopped = post_of(change("user_preferences", value(user_preferences=[preference])))
    for one in (messages_post(text_message("a", id="m1")), template_post("APPROVED"), stopped):
        again = {"entry": one["entry"], "object": one["object"]}
        assert ids(body_of(one)) == ids(json.dumps(again, indent=1).encode())
    later = post_of(change("user_preferences", value(user_preferences=[{**preference, "timestamp": 2}])))
    assert ids(body_of(stopped)) != ids(body_of(later))


@pytest.mark.parametrize("odd", ["", "x" * 5_000, "a b", "\x00", "\ud800", "ñ", None, 7, ["m1"], {}])
def test_an_id_that_no_index_takes_is_a_hash(odd: Any) -> None:
    entry = {"id": "1", "messaging": [event(message={"mid": odd})]}
    for body in (
        body_of(messages_post({**text_message("a"), "id": odd})),
        body_of(statuses_post({**status("m1", "sent"), "id": odd})),
        json.dumps({"object": "instagram", "entry": [entry]}).encode(),
    ):
        ((_, found),) = ids(body)
        assert len(found) == 64
        assert int(found, 16)
        assert ids(body) == [(_, found)]


@pytest.mark.parametrize(
    "part",
    [
        None,
        7,
        "x",
        [],
        {},
        {"field": "messages"},
        {"field": "messages", "value": None},
        {"field": "messages", "value": {"messages": 5, "metadata": {"phone_number_id": PHONE_NUMBER_ID}}},
        {"field": "messages", "value": {"messages": [None], "metadata": {"phone_number_id": PHONE_NUMBER_ID}}},
        {"field": "messages", "value": {"messages": [{"id": "m9"}], "metadata": {"phone_number_id": None}}},
        {"field": "messages", "value": {"messages": [{"id": "m9"}], "metadata": {"phone_number_id": "a b"}}},
        {"field": "messages", "value": {"messages": [{"id": "m9"}]}},
        {"value": {"messages": []}},
        {"field": ["messages"], "value": {}},
    ],
)
def test_a_part_that_is_unknown_is_kept_and_costs_no_other(part: Any) -> None:
    batch = messages_post(text_message("a", id="m1"))
    batch["entry"][0]["changes"].insert(0, part)
    broken, known = MetaPost(body_of(batch)).events()
    assert (known.address, known.provider_event_id) == (PHONE_NUMBER_ID, "m1")
    assert broken.address == ""
    with pytest.raises(MalformedEvent):
        parse_payload(broken.payload)


WHOLE: list[bytes] = [
    b"",
    b"{",
    b"null",
    b"5",
    b"[]",
    b"{}",
    b"\xff\xfe\x00",
    b"[" * 100_000,
    b'{"object": "whatsapp_business_account", "entry": ' + b"[" * 100_000,
    b'{"n": ' + b"1" * 5_000 + b"}",
    b'{"object": "page", "entry": [{"id": "1"}]}',
    b'{"object": ["instagram"], "entry": [{"id": "1"}]}',
    b'{"object": "whatsapp_business_account"}',
    b'{"object": "whatsapp_business_account", "entry": []}',
    b'{"object": "instagram", "entry": {}}',
]


@pytest.mark.parametrize("body", WHOLE, ids=lambda body: body[:50].decode(errors="replace"))
def test_what_has_no_shape_that_we_know_is_kept_whole(body: bytes) -> None:
    (event,) = MetaPost(body).events()
    assert (event.address, event.payload, MetaPost(body).names()) == ("", body, set())
    with pytest.raises(MalformedEvent):
        parse_payload(event.payload)


def test_other_changes_are_kept_and_need_nothing() -> None:
    for name in ("account_update", "phone_number_quality_update", "smb_message_echoes", "standby", "messages"):
        (found,) = MetaPost(body_of(post_of(change(name, {"anything": 1})))).events()
        assert found.address == f"waba:{WABA_ID}"
        assert parse_payload(found.payload) == Ignored(name)


def test_instagrams_events_in_both_forms() -> None:
    said = message_event("hola", mid="m1")
    (found,) = MetaPost(post(said)).events()
    assert (found.channel, found.address, found.provider_event_id) == ("instagram", ACCOUNT, "m1")
    assert json.loads(found.payload) == {"kind": "messaging", "event": said}
    test_form = {
        "object": "instagram",
        "entry": [{"id": ACCOUNT, "time": 1, "changes": [{"field": "messages", "value": said}]}],
    }
    assert MetaPost(json.dumps(test_form).encode()).events() == [found]


def test_what_names_another_message_has_an_id_of_its_own() -> None:
    events = [
        message_event("hola", mid="m1"),
        event(message={"mid": "m1", "is_deleted": True}),
        event(reaction={"mid": "m1", "action": "react", "emoji": "x"}),
        event(reaction={"mid": "m1", "action": "unreact"}),
        event(read={"mid": "m1"}),
        event(postback={"mid": "m2", "title": "Sí", "payload": "yes"}),
    ]
    found = [event_id for _, event_id in ids(post(*events))]
    assert len(set(found)) == len(events)
    assert found[0] == "m1"


def test_echoes_of_our_own_messages_are_left_out() -> None:
    echo = event(message={"mid": "m1", "text": "nuestro", "is_echo": True})
    assert MetaPost(post(echo)).events() == []
    assert ids(post(echo, message_event("hola", mid="m2"))) == [(ACCOUNT, "m2")]
    with_unknown = post(echo)[:-1] + b', "x": 1}'
    assert MetaPost(with_unknown).events() == []


def test_who_is_not_told_apart_by_place_alone() -> None:
    """Two people and two contacts, the other way round."""
    luis = text_message("b", id="m2", **{"from": "51900000002", "from_user_id": "PE.2"})
    people = [contact("Luis", "51900000002", "PE.2"), contact()]
    crossed = MetaPost(body_of(messages_post(text_message("a"), luis, contacts=people))).events()
    found = [json.loads(event.payload) for event in crossed]
    assert [payload["contact"]["user_id"] for payload in found] == [ANA_ID, "PE.2"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMED = st.sampled_from(["whatsapp_business_account", "instagram"])


@settings(max_examples=40)
@given(NAMED, st.one_of(JSON, st.lists(st.fixed_dictionaries({"id": JSON, "changes": JSON, "messaging": JSON}))))
def test_any_entries_at_all(named: str, entries: Any) -> None:
    shape: JsonObject = {"object": named, "entry": entries}
    read = MetaPost(json.dumps(shape).encode())
    for found in read.events():
        assert found.provider_event_id.isascii()
        assert found.address in read.names() | {""}
        json.loads(found.payload)
