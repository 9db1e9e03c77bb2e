"""What the models say of notifications, and how their messages look on Twilio's wire."""

import json
from typing import Any

from tests.e2e.world import Shop, World, query, tool

FIELDS = {"To", "From", "StatusCallback"}


def ask_support(reason: str, language: str = "es", message: str = "Le aviso al equipo.") -> dict[str, Any]:
    """The customer's model hands a support request to the team."""
    return tool("request_support", reason=reason, language=language, message_to_customer=message)


def classified(user_type: str | None, kind: str | None) -> dict[str, Any]:
    """The model says whose business a support request is."""
    return {
        "when": {"schema": "SupportClassificationOutput"},
        "reply": {"content": {"target_user_type": user_type, "support_request_type": kind}},
    }


def answer_support(notification: str, text: str, notes: str, message: str = "Se lo llevo.") -> dict[str, Any]:
    """The staff's model takes an answer to a support request, with internal notes."""
    written = json.dumps({"agent_response_to_customer": text, "resolution_notes": notes})
    return tool("answer_notification", notification_id=notification, answer_json=written, message_to_staff=message)


def check_text(world: World, shop: Shop, number: str, form: dict[str, Any], text: str) -> None:
    assert set(form) == FIELDS | {"Body"}
    assert (form["To"], form["From"], form["Body"]) == (f"whatsapp:{number}", f"whatsapp:{shop.twilio}", text)
    assert form["StatusCallback"].startswith(f"{world.server.url}/webhooks/twilio/status?delivery=")


def check_template(
    world: World, shop: Shop, number: str, form: dict[str, Any], name: str, *values: str, language: str = "es"
) -> None:
    assert set(form) == FIELDS | {"ContentSid", "ContentVariables"}
    assert (form["To"], form["From"]) == (f"whatsapp:{number}", f"whatsapp:{shop.twilio}")
    assert form["ContentSid"] == shop.content_sid(name, language)
    assert json.loads(form["ContentVariables"]) == {str(n): value for n, value in enumerate(values, 1)}
    assert form["StatusCallback"].startswith(f"{world.server.url}/webhooks/twilio/status?delivery=")


def shown(world: World, form: dict[str, Any]) -> tuple[str, str]:
    """The notification that a request names, and the SID of the message that showed it."""
    notification = json.loads(form["ContentVariables"])["1"]
    return notification, next(m.sid for m in world.twilio.messages.values() if m.form == form)


def sent_leads(world: World, notification: str) -> list[tuple[str, str]]:
    """(campaign, recipient) of each lead of a notification, in order."""
    rows = query(
        world.server,
        "SELECT g.name, p.channel_user_id FROM campaign_leads l JOIN campaigns g ON g.id = l.campaign_id"
        " JOIN contacts p ON p.id = l.contact_id JOIN messages m ON m.id = l.message_id"
        " WHERE json_extract(m.other_data, '$.notification_id_prefixed') = ? ORDER BY l.id",
        notification,
    )
    return [(row[0], row[1]) for row in rows]
