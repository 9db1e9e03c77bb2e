"""What the codes of Meta's Graph API mean: WhatsApp's Cloud API, Instagram, and what they share.

Sources: developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes,
developers.facebook.com/docs/messenger-platform/error-codes (Instagram), and the classes of pywa's `errors.py`.
"""

from collections.abc import Mapping

from recado.channels.codes import Meaning, meaning_of
from recado.errors import (
    AccountRefused,
    MarketingStopped,
    OptedOut,
    Permanent,
    Retryable,
    TemplateRefused,
    WindowClosed,
)

_RENEW = "make a new access token of a system user, with the permissions for messaging, and apply it"
_PERMISSION = "give the app and its system user the permissions for messaging, in Meta's Business settings"
FIRST_SUBCODE = 1_000_000
"""Smaller subcodes are numbers of codes too, with another meaning."""
_QUALITY = "look at the number's quality and restrictions in WhatsApp Manager"
_TEMPLATE = "compare the template in WhatsApp Manager with this merchant's: `recado templates`"
_TEXT = "shorten or change the template's text and create it again with `recado templates create`"
_REGISTER = "register the number again in WhatsApp Manager"

_AUTHORISATION: dict[int, Meaning] = {
    0: Meaning(AccountRefused, "the app could not be authenticated", _RENEW),
    3: Meaning(AccountRefused, "the app lacks a capability or permission", _PERMISSION),
    10: Meaning(AccountRefused, "a permission was not granted or was removed", _PERMISSION),
    33: Meaning(AccountRefused, "the number or page no longer exists", "name the present id of it in the YAML"),
    102: Meaning(AccountRefused, "the access token's session has ended", _RENEW),
    190: Meaning(AccountRefused, "the access token has expired or was withdrawn", _RENEW),
    **dict.fromkeys(
        range(200, 300), Meaning(AccountRefused, "a permission was not granted or was removed", _PERMISSION)
    ),
    131005: Meaning(AccountRefused, "access was denied: a permission is missing", _PERMISSION),
}

_LIMITS: dict[int, Meaning] = {
    1: Meaning(Retryable, "Meta has an error of its own"),
    2: Meaning(Retryable, "Meta's service is away for a moment"),
    4: Meaning(Retryable, "the app makes too many calls"),
    17: Meaning(Retryable, "too many calls of this user"),
    32: Meaning(Retryable, "too many calls for this page"),
    341: Meaning(Retryable, "the app has reached a limit of its calls"),
    613: Meaning(Retryable, "too many calls of this kind"),
    80002: Meaning(Retryable, "the Instagram account has reached its limit of calls"),
    80006: Meaning(Retryable, "the page has reached its limit of messages"),
    80007: Meaning(Retryable, "the WhatsApp Business Account has reached its limit of calls"),
    130429: Meaning(Retryable, "the number sends more messages a second than it may"),
    131000: Meaning(Retryable, "Meta has an error of its own"),
    131016: Meaning(Retryable, "a service of Meta's is away for a moment"),
    131056: Meaning(Retryable, "too many messages to this person in a short time"),
    131057: Meaning(Retryable, "the account is in maintenance, as while its throughput is raised"),
    132069: Meaning(Retryable, "the flow is throttled", "look at the flow in WhatsApp Manager"),
    133004: Meaning(Retryable, "Meta's server for registrations is away for a moment"),
}

_ACCOUNT: dict[int, Meaning] = {
    368: Meaning(AccountRefused, "the account is restricted for violating a policy", "appeal in Business Support Home"),
    131031: Meaning(AccountRefused, "the account is locked or disabled", "appeal in Business Support Home"),
    131037: Meaning(AccountRefused, "the number has no approved display name", "have it approved in WhatsApp Manager"),
    131042: Meaning(AccountRefused, "there is a problem with the payment", "mend the payment method in Meta's billing"),
    131044: Meaning(AccountRefused, "there is a problem with the payment", "mend the payment method in Meta's billing"),
    131045: Meaning(AccountRefused, "the number is not registered properly", _REGISTER),
    131048: Meaning(AccountRefused, "too many messages of this number were blocked or reported as spam", _QUALITY),
    131064: Meaning(
        AccountRefused,
        "the account's limit is used up: its templates are in the wrong category",
        "correct the categories in WhatsApp Manager",
    ),
    133000: Meaning(AccountRefused, "an earlier deregistration of the number is incomplete", _REGISTER),
    133005: Meaning(AccountRefused, "the PIN of the number is wrong", "set the PIN in WhatsApp Manager"),
    133006: Meaning(AccountRefused, "the number must be verified", _REGISTER),
    133008: Meaning(AccountRefused, "the PIN was wrong too often", "wait, then set it in WhatsApp Manager"),
    133009: Meaning(AccountRefused, "the PIN was entered too fast", "wait, then set it in WhatsApp Manager"),
    133010: Meaning(AccountRefused, "the number is not registered for the Cloud API", _REGISTER),
    133015: Meaning(AccountRefused, "the number was deleted a moment ago", "wait five minutes, then register it again"),
    133016: Meaning(AccountRefused, "the number was registered too often", "wait 72 hours, then register it again"),
}

_MESSAGE: dict[int, Meaning] = {
    100: Meaning(Permanent, "a parameter is wrong or not supported", "is META_API_VERSION one that Meta still serves?"),
    551: Meaning(Permanent, "this person cannot be reached now, or has blocked the account"),
    130472: Meaning(TemplateRefused, "Meta withholds marketing from this person, as an experiment of its own"),
    130497: Meaning(Permanent, "the account may not write to people in that country"),
    131008: Meaning(Permanent, "a required parameter is missing"),
    131009: Meaning(Permanent, "a parameter has a wrong value"),
    131021: Meaning(Permanent, "the number would write to itself"),
    131026: Meaning(
        Permanent, "it cannot be delivered: no WhatsApp at this number, an old version, or terms not accepted"
    ),
    131030: Meaning(
        Permanent, "a test number may only write to listed people", "list them at Meta, or use a number of your own"
    ),
    131047: Meaning(WindowClosed, "the person has not written within 24 hours"),
    131049: Meaning(TemplateRefused, "Meta withholds it: this person gets enough marketing", "wait 24 hours or longer"),
    131050: Meaning(MarketingStopped, "the person has stopped marketing from this account"),
    131051: Meaning(Permanent, "WhatsApp has no such type of message"),
    131052: Meaning(Permanent, "the file could not be fetched", "is PUBLIC_BASE_URL reachable from the internet?"),
    131053: Meaning(Permanent, "the file could not be taken: its type or size", "send a type that WhatsApp shows"),
    131062: Meaning(Permanent, "this kind of message cannot go to somebody who hides their number"),
    135000: Meaning(Permanent, "a parameter is wrong; Meta does not say which"),
    137000: Meaning(Permanent, "the person's identity key is another one"),
    139100: Meaning(Permanent, "some people could not be blocked"),
    139102: Meaning(Retryable, "the list of blocked people was just changed"),
    139103: Meaning(Retryable, "Meta has an error of its own"),
}

_TEMPLATES: dict[int, Meaning] = {
    131063: Meaning(
        TemplateRefused,
        "marketing templates are switched off for the Cloud API",
        "switch them on for this account in WhatsApp Manager",
    ),
    132000: Meaning(TemplateRefused, "the template has another number of variables", _TEMPLATE),
    132001: Meaning(
        TemplateRefused,
        "there is no such template in this language, or it is not approved",
        "create it with `recado templates create`",
    ),
    132005: Meaning(TemplateRefused, "the filled-in template is too long", _TEXT),
    132007: Meaning(TemplateRefused, "the template's content violates a policy", _TEXT),
    132008: Meaning(TemplateRefused, "a variable of the template has a wrong value", _TEMPLATE),
    132012: Meaning(TemplateRefused, "the template's variables are in another format", _TEMPLATE),
    132015: Meaning(TemplateRefused, "the template is paused for its low quality", _TEXT),
    132016: Meaning(TemplateRefused, "the template is disabled for its low quality", _TEXT),
    132018: Meaning(TemplateRefused, "a variable holds a newline, a tab or a run of spaces", _TEMPLATE),
    132068: Meaning(TemplateRefused, "the template's flow is blocked", "mend the flow in WhatsApp Manager"),
    # these three are subcodes of 100, for a template that is created
    2388040: Meaning(TemplateRefused, "a part of the template is too long", _TEXT),
    2388293: Meaning(TemplateRefused, "the template has too many variables for its length", _TEXT),
    2388299: Meaning(TemplateRefused, "the template begins or ends with a variable", _TEXT),
}

_INSTAGRAM: dict[int, Meaning] = {
    # subcodes of 10
    2018278: Meaning(WindowClosed, "the person has not written within 24 hours"),
    2534022: Meaning(WindowClosed, "the person has not written within 24 hours"),
    # subcodes of 100, 551 and 200
    2018001: Meaning(Permanent, "there is no such person"),
    2534014: Meaning(Permanent, "there is no such person"),
    1545041: Meaning(Permanent, "this person cannot be reached now"),
    2018108: Meaning(OptedOut, "the person does not want messages of this account"),
    2018109: Meaning(WindowClosed, "the person has not written within the time allowed"),
}

CODES: Mapping[int, Meaning] = _AUTHORISATION | _LIMITS | _ACCOUNT | _MESSAGE | _TEMPLATES | _INSTAGRAM
"""By code, or subcode where that says more."""


def meaning(code: int | None, subcode: int | None = None, status: int | None = None) -> Meaning:
    """What an error means: by its subcode where we know it, else by its code, else by the HTTP status."""
    if subcode is not None and subcode >= FIRST_SUBCODE and subcode in CODES:
        return CODES[subcode]
    return meaning_of(CODES, code, status)
