"""What Twilio's codes mean to us: https://www.twilio.com/docs/api/errors/{code}, and what helped those who met them.

A code may come at once, or as that of a message which Twilio took and could not deliver.
"""

from collections.abc import Mapping

from recado.channels.codes import Meaning
from recado.errors import (
    AccountRefused,
    MarketingStopped,
    OptedOut,
    Permanent,
    Retryable,
    TemplateRefused,
    WindowClosed,
)

_CONSOLE = "correct account_sid and auth_token of this channel, then `recado apply`"
_SENDER = "check in Twilio's console, under WhatsApp senders, that the number is this account's and online"
_SERVICE = "correct messaging_service_sid of this channel, or put its WhatsApp sender into the service"
_NAME_IT = "name the template's Content SID (HX…) for this language under `templates`, then `recado apply`"
_VALUES = "compare the template's placeholders and length with what Recado fills in, and have it approved anew"
_REACH = "ask the person for the number that they use WhatsApp with"
_FILE = "check that PUBLIC_BASE_URL can be reached from outside, and that WhatsApp takes files of this kind and size"
_WAIT = "nothing, unless it goes on: then lower `per_second` of this channel"
_STATUS = "nothing, unless it goes on: then see https://status.twilio.com"
_FAULT = "report it with this code: Recado should not have sent this"

_PASSING: Mapping[int, Meaning] = {
    20429: Meaning(Retryable, "too many requests at once", _WAIT),
    20500: Meaning(Retryable, "an error of Twilio's own", _STATUS),
    20503: Meaning(Retryable, "Twilio is not available at the moment", _STATUS),
    21702: Meaning(Retryable, "the Messaging Service is not available at the moment", _STATUS),
    30001: Meaning(Retryable, "the sender's queue is full", _WAIT),
    30008: Meaning(Retryable, "it was not delivered, and nobody says why", _STATUS),
    63010: Meaning(Retryable, "an error of Twilio's own", _STATUS),
    63012: Meaning(Retryable, "an error of WhatsApp's own", _STATUS),
    63017: Meaning(Retryable, "more messages a second than Twilio takes", _WAIT),
    63018: Meaning(
        Retryable,
        "more messages than this sender may send, in a second or to new people in a day",
        "lower `per_second` of this channel, and see the sender's messaging limit in Twilio's console",
    ),
    63037: Meaning(Retryable, "the file could not be handed to WhatsApp", _STATUS),
}

_ACCOUNT: Mapping[int, Meaning] = {
    10001: Meaning(AccountRefused, "the account is not active", "see the account's balance and notices at Twilio"),
    20003: Meaning(AccountRefused, "the account's SID and token do not go together, or may not do this", _CONSOLE),
    20005: Meaning(AccountRefused, "the account is not active", "see the account's balance and notices at Twilio"),
    20006: Meaning(AccountRefused, "the credentials may not do this", _CONSOLE),
    20008: Meaning(AccountRefused, "these are test credentials", _CONSOLE),
    20403: Meaning(AccountRefused, "the account was suspended or closed", "ask Twilio's support"),
    21212: Meaning(AccountRefused, "our number is no sender", _SENDER),
    21606: Meaning(AccountRefused, "our number cannot send from this account", _SENDER),
    21660: Meaning(AccountRefused, "our number is another account's", _SENDER),
    21701: Meaning(AccountRefused, "there is no such Messaging Service", _SERVICE),
    21703: Meaning(AccountRefused, "no sender of the Messaging Service can send this", _SERVICE),
    21704: Meaning(AccountRefused, "the Messaging Service has no sender", _SERVICE),
    21705: Meaning(AccountRefused, "the Messaging Service's SID is none", _SERVICE),
    30002: Meaning(AccountRefused, "the account was suspended", "see the account's balance and notices at Twilio"),
    63001: Meaning(AccountRefused, "WhatsApp does not accept the sender's credentials", _SENDER),
    63002: Meaning(AccountRefused, "WhatsApp does not know our number", _SENDER),
    63007: Meaning(AccountRefused, "our number is no WhatsApp sender of this account", _SENDER),
    63008: Meaning(AccountRefused, "the sender is not set up completely", _SENDER),
    63020: Meaning(
        AccountRefused,
        "Meta's Business Manager does not let Twilio send",
        "accept Twilio's invitation in Meta's Business Manager, and check the payment there",
    ),
    63038: Meaning(
        AccountRefused,
        "the account has sent all that it may send in a day",
        "wait for tomorrow, or ask Twilio's support for a higher limit",
    ),
    63051: Meaning(
        AccountRefused, "WhatsApp has locked the business account", "appeal in Meta's Business Manager, or with Twilio"
    ),
}

_TEMPLATE: Mapping[int, Meaning] = {
    21654: Meaning(TemplateRefused, "values without a Content SID", _NAME_IT),
    21655: Meaning(TemplateRefused, "there is no such Content SID", _NAME_IT),
    21656: Meaning(TemplateRefused, "the template's values cannot be read", _VALUES),
    63013: Meaning(TemplateRefused, "a value or the text is against WhatsApp's rules", _VALUES),
    63021: Meaning(
        TemplateRefused, "WhatsApp does not take this content, or it is longer than 1,024 characters", _VALUES
    ),
    63027: Meaning(TemplateRefused, "the template does not exist in this language", _NAME_IT),
    63028: Meaning(TemplateRefused, "the template has another number of values", _VALUES),
    63029: Meaning(
        TemplateRefused, "the person's phone could not load the template", "nothing: it goes when they write"
    ),
    63030: Meaning(TemplateRefused, "the template does not take this", _VALUES),
    63032: Meaning(
        TemplateRefused, "Meta withholds such messages from this person", "nothing: it goes when they write"
    ),
    63040: Meaning(TemplateRefused, "WhatsApp has rejected the template", "write it anew by WhatsApp's guidelines"),
    63041: Meaning(TemplateRefused, "WhatsApp has paused the template for complaints", "word it anew, or wait"),
    63042: Meaning(TemplateRefused, "WhatsApp has disabled the template for complaints", "make another template"),
    63049: Meaning(
        TemplateRefused,
        "Meta withholds this marketing from this person",
        "wait a day; have the template approved as UTILITY if it is no marketing",
    ),
    63052: Meaning(TemplateRefused, "the template is of Twilio's former kind", "make it anew as a Content template"),
    92005: Meaning(TemplateRefused, "values without a Content SID", _NAME_IT),
    92006: Meaning(TemplateRefused, "there is no such Content SID", _NAME_IT),
}

_PERSON: Mapping[int, Meaning] = {
    21211: Meaning(Permanent, "the number is no phone number", _REACH),
    21408: Meaning(
        Permanent, "the account may not send to this country", "allow it in Twilio's console under Geo permissions"
    ),
    21610: Meaning(OptedOut, "the person has written STOP", "nothing: they hear from us again once they write START"),
    21614: Meaning(Permanent, "the number is no mobile phone's", _REACH),
    21910: Meaning(Permanent, "our number and theirs are not of the same channel", _FAULT),
    30003: Meaning(Permanent, "the phone cannot be reached", _REACH),
    30005: Meaning(Permanent, "nobody has this number", _REACH),
    30007: Meaning(Permanent, "Twilio or WhatsApp takes the text for spam", "word it otherwise"),
    63003: Meaning(Permanent, "nobody has this number on WhatsApp", _REACH),
    63014: Meaning(Permanent, "the person has blocked our number", "nothing: it is theirs to undo"),
    63015: Meaning(
        Permanent,
        "the person has not joined the sandbox, or joined it more than three days ago",
        "have them send its join words, or use a number of your own",
    ),
    63016: Meaning(
        WindowClosed, "the person has not written for 24 hours", "have a template approved that can stand for this"
    ),
    63024: Meaning(Permanent, "the person cannot be reached on WhatsApp", _REACH),
    63031: Meaning(Permanent, "our number would write to itself", _FAULT),
    63033: Meaning(
        MarketingStopped,
        "the person has stopped our marketing",
        "nothing; have the template approved as UTILITY if it is no marketing",
    ),
}

_CONTENT: Mapping[int, Meaning] = {
    20404: Meaning(Permanent, "Twilio has nothing at this address", "check TWILIO_API_BASE_URL and account_sid"),
    21602: Meaning(Permanent, "there was nothing to send", _FAULT),
    21603: Meaning(Permanent, "there was no sender", _FAULT),
    21604: Meaning(Permanent, "there was nobody to send it to", _FAULT),
    21617: Meaning(Permanent, "the text is longer than 1,600 characters", _FAULT),
    21619: Meaning(Permanent, "there was nothing to send", _FAULT),
    21620: Meaning(Permanent, "the file's address is none", _FILE),
    21623: Meaning(Permanent, "there were more than ten files", _FAULT),
    63005: Meaning(Permanent, "WhatsApp did not take it: no user of WhatsApp, or a file that it refuses", _FILE),
    63006: Meaning(Permanent, "Twilio could not give it WhatsApp's form", _FAULT),
    63009: Meaning(Permanent, "WhatsApp had an error with this message", _STATUS),
    63019: Meaning(Permanent, "Twilio could not fetch the file", _FILE),
    63026: Meaning(Permanent, "WhatsApp takes the text for spam", "word it otherwise"),
    63034: Meaning(Permanent, "the file is too large", _FILE),
    92001: Meaning(Permanent, "a content without a type", _FAULT),
    92004: Meaning(Permanent, "a language that Twilio does not know", "correct `language` of the merchant"),
}

CODES: Mapping[int, Meaning] = {**_PASSING, **_ACCOUNT, **_TEMPLATE, **_PERSON, **_CONTENT}
"""By code. One that is not here is judged by its HTTP status."""
