"""What an operator does with an account at its provider: look whether it is well, and have templates approved."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

from recado.errors import AccountRefused, Retryable, SendError
from recado.merchants.account import APPROVED, Account
from recado.text import mask_phone

PENDING, REJECTED, PAUSED, DISABLED, DELETED = "pending", "rejected", "paused", "disabled", "deleted"
"""What a provider may say of a template, beside APPROVED."""

UTILITY, MARKETING = "UTILITY", "MARKETING"
"""WhatsApp's categories. Recado's templates follow up what a person asked, which is utility."""

ANY = ""
"""Stands for the language of a provider's id that serves all."""

SOON_DAYS = 14
"""How long before its end a token is worth a warning."""

_PHONE = re.compile(r"\+\d{7,15}")
_VERSION = re.compile(r"_v[0-9]+$")
_LANGUAGES = {"pt": "pt_BR"}
_LIMITS = {"429", "20429", "4", "17", "613", "80007", "80008"}
"""HTTP's, Twilio's and Meta's ways to say that there were too many calls; Meta takes 100 new templates an hour."""


def provider_language(language: str) -> str:
    """How WhatsApp calls a language of ours: it has no Portuguese without a country.

    https://developers.facebook.com/docs/whatsapp/api/messages/message-templates (Supported Languages)
    """
    return _LANGUAGES.get(language, language)


def own_language(code: str) -> str:
    """The language that WhatsApp calls so, as we call it. What we never send in stays as it is."""
    return {theirs: ours for ours, theirs in _LANGUAGES.items()}.get(code, code)


def own_name(provider_name: str) -> str:
    """Which template of ours a provider's template with this name is: without its language and version."""
    return re.sub(r"_(es|en|pt|fr)$", "", _VERSION.sub("", provider_name))


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `remedy` says how to mend it; with `ok`, it is a warning."""

    ok: bool
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Expected:
    """What an account should look like at its provider. `templates`: {our name: {language, or ANY: provider's id}}."""

    public_base_url: str
    templates: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def url(self, path: str) -> str:
        """Where the provider should post to."""
        return f"{self.public_base_url.rstrip('/')}{path}"


@dataclass(frozen=True, slots=True)
class NewTemplate:
    """A template to be made. `text` has `{{name}}`s; `examples` gives each a value, in the order of their first use.

    `for_window`: it is only ever sent within the window, so nobody has to approve it.
    """

    name: str
    language: str
    text: str
    examples: Mapping[str, str]
    buttons: Sequence[Mapping[str, str]] = ()
    for_window: bool = False

    @property
    def numbered(self) -> str:
        """The text with its variables numbered in the order of their first use."""
        text = self.text
        for number, name in enumerate(self.examples, 1):
            text = text.replace(f"{{{{{name}}}}}", f"{{{{{number}}}}}")
        return text


@dataclass(frozen=True, slots=True)
class Approval:
    """What a provider says of one template. `id` is what a send names; `body` and its buttons' `titles`, its words."""

    status: str
    id: str
    reason: str | None = None
    category: str | None = None
    body: str = ""
    titles: tuple[str, ...] = ()
    submitted: bool = True
    """Whether it was handed in to be approved: a crash may have come between."""
    name: str = ""
    """How the provider calls it: ours, perhaps with a language and a version."""

    @property
    def usable(self) -> bool:
        """Whether it may be sent."""
        return self.status == APPROVED

    def stored(self) -> dict[str, Any]:
        """As `ChannelAccount.approvals` keeps it."""
        return {"status": self.status, "id": self.id, "reason": self.reason, "category": self.category}

    def says(self, template: NewTemplate) -> bool:
        """Whether its words are those of `template`."""
        titles = tuple(button["title"] for button in template.buttons)
        return self.body in (template.text, template.numbered) and self.titles == titles


Listing = Mapping[str, Mapping[str, Approval]]
"""{provider's name: {our language: what is there}}."""


def find(listing: Listing, template: NewTemplate) -> Approval | None:
    """The provider's template with this one's name (in whatever version), language and words."""
    for name, approval in _versions(listing, template):
        if own_name(name) == template.name and approval.says(template):
            return approval
    return None


def free_name(listing: Listing, base: str, language: str) -> str:
    """A name that no template has in this language: `base`, or `base` with the next version."""
    name, version = base, 1
    while language in listing.get(name, {}):
        version += 1
        name = f"{base}_v{version}"
    return name


def with_id(listing: Listing, provider_id: str, language: str, *, contents: bool) -> Approval | None:
    """The template that a send in `language` (or ANY) gets when it names this id. `contents`: see `Management`."""
    wanted = provider_id.removeprefix("positional:")
    for languages in listing.values():
        for code, approval in languages.items():
            if approval.id == wanted and (contents or language in (ANY, code)):
                return approval
    return None


def is_limit(error: SendError) -> bool:
    """Whether the provider wants fewer calls, or refuses the account: the next call would fail alike."""
    asked_to_wait = isinstance(error, Retryable) and error.retry_after is not None and not error.ambiguous
    return isinstance(error, AccountRefused) or asked_to_wait or error.code in _LIMITS


def remedy_of(approval: Approval) -> str:
    """What an operator can do about a template that cannot be sent, or that is dearer than it should be."""
    if not approval.submitted:
        return "nobody has asked for its approval: run `recado templates create`"
    if approval.usable:
        return "it is billed as marketing: ask the provider for a review of its category" if costly(approval) else ""
    return {
        PENDING: "the provider looks at it: minutes to 48 hours, see `recado templates status`",
        REJECTED: "give it other words in the merchant's YAML, then `recado apply` and `recado templates create`",
        PAUSED: "people reported it: wait until the provider lets it go on, or give it other words",
        DISABLED: "people reported it too often: give it other words and run `recado templates create`",
        DELETED: "it is gone at the provider: give it other words and run `recado templates create`",
    }.get(approval.status, "look at it in the provider's console")


def costly(approval: Approval) -> bool:
    """Whether the provider has made marketing of it."""
    return (approval.category or "").upper() == MARKETING


def template_checks(expected: Expected, listing: Listing, *, contents: bool) -> list[Check]:
    """Of the templates that the account names: what cannot be sent, or one line that all is well."""
    checks: list[Check] = []
    usable = 0
    for name, ids in sorted(expected.templates.items()):
        for language, provider_id in sorted(ids.items()):
            approval = with_id(listing, provider_id, language, contents=contents)
            checks += _template_checks(f"template {name} ({language})" if language else f"template {name}", approval)
            usable += bool(approval and approval.usable)
    if usable or not checks:
        checks.insert(0, Check(True, f"templates approved: {usable}"))
    return checks


def failed(what: str, error: SendError) -> Check:
    """What could not be asked, and what to do."""
    remedy = error.remedy
    if not remedy and isinstance(error, Retryable) and not isinstance(error, AccountRefused):
        remedy = "try again later; if it stays so, look at the provider's status page and at your network"
    return Check(False, f"{what}: {words_of(error)}", remedy or "look the provider's code up in its documentation")


def words_of(error: SendError) -> str:
    """What an error says, with phone numbers masked: providers repeat them."""
    return _PHONE.sub(lambda found: mask_phone(found[0]), one_line(str(error)))


def one_line(text: str, limit: int = 300) -> str:
    """What a provider said, such that it makes one line."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:limit]


def shown_url(url: object) -> str:
    """An address as the operator may see it: without a user, password, query or fragment."""
    try:
        parts = urlsplit(str(url or ""))
    except ValueError:
        return "an address that cannot be"
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return one_line(shown, 200) if parts.netloc else "nowhere"


class Management(Protocol):
    """What can be done with accounts of one kind. Nothing of it is needed to send or receive."""

    kind: ClassVar[str]
    has_templates: ClassVar[bool]
    contents: ClassVar[bool]
    """Its templates are contents, as Twilio has them: an id is one text in one language, and buttons within the window
    need one too."""

    async def examine(self, account: Account, expected: Expected) -> list[Check]:
        """Look at the account, and change nothing. What cannot be asked is a check that failed."""
        ...

    async def approvals(self, account: Account) -> Listing:
        """All templates of the account. Raises SendError."""
        ...

    async def create_template(self, account: Account, template: NewTemplate, there: Listing) -> Approval:
        """Make a template and ask for its approval, unless it is `there` and that was asked. Raises SendError."""
        ...

    async def close(self) -> None:
        """Let connections go."""
        ...


def _versions(listing: Listing, template: NewTemplate) -> Iterator[tuple[str, Approval]]:
    for name, languages in sorted(listing.items()):
        if template.language in languages:
            yield name, languages[template.language]


def _template_checks(what: str, approval: Approval | None) -> list[Check]:
    if approval is None:
        return [
            Check(False, f"{what} is not at the provider", "name the right id, or run `recado templates create`"),
        ]
    if approval.usable and not costly(approval):
        return []
    said = f": {one_line(approval.reason)}" if approval.reason else ""
    text = f"{what} is {approval.status}{said}"
    if approval.usable:
        text = f"{what} is approved, as MARKETING"
    return [Check(approval.usable, text, remedy_of(approval))]
