"""What the conversation API tells, read leniently."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recado.sync.documents import ConversationDocument, TenantInfo

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
WIRE = ["sessionId", "subDomain", "botId", "localId", "userPhone", "currentIntent", "currentStep", "context"]
MORE = ["metadata", "isActive", "lastActivity", "expiresAt", "_id", "__v", "session_id", "model_config", "keys", "get"]
FIELDS = st.sampled_from([*WIRE, *MORE, "messages"])
WHOLE: dict[str, Any] = {
    "_id": "65",
    "sessionId": "s1",
    "subDomain": "bodega-sol",
    "botId": "b1",
    "localId": "branch01",
    "userPhone": "+51999999999",
    "currentIntent": "payment",
    "currentStep": "processing_payment",
    "context": {"orderTotal": 50.0, "unknown": {"a": [1]}},
    "metadata": {"agentVersion": "1"},
    "isActive": False,
    "lastActivity": "2025-12-29T10:06:00.000Z",
    "expiresAt": "2025-12-30T10:06:00.000Z",
}


def test_a_document_is_read_in_both_spellings() -> None:
    document = ConversationDocument.model_validate(WHOLE)

    assert (document.session_id, document.sub_domain, document.bot_id) == ("s1", "bodega-sol", "b1")
    assert (document.local_id, document.user_phone) == ("branch01", "+51999999999")
    assert (document.current_intent, document.current_step) == ("payment", "processing_payment")
    assert document.is_active is False
    assert document.expires_at == datetime(2025, 12, 30, 10, 6, tzinfo=UTC)
    assert dict(document) == WHOLE
    assert document["_id"] == "65"
    assert document.get("nothing", 7) == 7
    with pytest.raises(KeyError):
        document["nothing"]


def test_an_empty_document_has_nothing() -> None:
    document = ConversationDocument.model_validate({})
    assert (document.session_id, document.context, document.metadata, document.messages) == (None, {}, {}, [])
    assert document.is_active is True
    assert "sessionId" not in document
    assert list(document.keys()) == []


def test_a_field_of_the_wrong_type_counts_as_missing() -> None:
    strange = {"sessionId": 5, "subDomain": ["x"], "context": "no", "metadata": None, "isActive": "perhaps"}
    document = ConversationDocument.model_validate({**strange, "expiresAt": 12, "lastActivity": "yesterday"})
    assert (document.session_id, document.sub_domain, document.context, document.metadata) == (None, None, {}, {})
    assert (document.expires_at, document.last_activity) == (None, None)
    assert document.is_active is True
    assert "sessionId" not in document


@pytest.mark.parametrize("text", ["2025-12-29T10:06:00Z", "2025-12-29T10:06:00", "2025-12-29T05:06:00-05:00"])
def test_moments_are_aware(text: str) -> None:
    document = ConversationDocument.model_validate({"expiresAt": text})
    assert document.expires_at == datetime(2025, 12, 29, 10, 6, tzinfo=UTC)


def test_only_valid_messages_are_read() -> None:
    rows = [
        {"role": "user", "content": "hola", "timestamp": "2025-12-29T10:06:00.000Z", "more": 1},
        {"role": "tool", "content": "x"},
        {"role": "bot", "content": 5},
        "bot",
        {"role": "bot", "content": "¿qué tal?", "timestamp": 5},
    ]
    document = ConversationDocument.model_validate({"context": {"previousMessages": rows}})
    assert document.messages == [
        {"role": "user", "content": "hola", "timestamp": "2025-12-29T10:06:00.000Z"},
        {"role": "bot", "content": "¿qué tal?", "timestamp": None},
    ]


def test_a_tenant_is_read_as_the_guide_does() -> None:
    info = TenantInfo.model_validate({"subDomain": "restaurant-abc", "sessionId": "s1", "isActive": True, "plan": "x"})
    assert info["subDomain"] == info.sub_domain == "restaurant-abc"
    assert "sessionId" in info
    assert "botId" not in info
    assert info.get("plan") == "x"


@given(st.dictionaries(FIELDS, JSON, max_size=8))
def test_no_document_is_too_strange(data: dict[str, Any]) -> None:
    for kind in (ConversationDocument, TenantInfo):
        document = kind.model_validate(data)
        assert isinstance(document.is_active, bool)
        assert set(document.keys()) <= set(data)
        for name in document.keys():  # noqa: SIM118 - a model iterates over its fields
            assert document[name] is not None or data[name] is None


@given(st.dictionaries(st.text(min_size=1, max_size=8).filter(lambda name: name.startswith("x")), JSON, max_size=4))
def test_unknown_fields_are_kept(unknown: dict[str, Any]) -> None:
    document = ConversationDocument.model_validate({**WHOLE, **unknown})
    assert {name: repr(document[name]) for name in unknown} == {name: repr(value) for name, value in unknown.items()}
