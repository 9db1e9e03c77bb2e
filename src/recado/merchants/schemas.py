"""The format of `recado apply`: merchants as code."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, Literal, Self, cast
from zoneinfo import available_timezones

import phonenumbers
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)


def e164(phone: str) -> str:
    """A phone number in E.164 form. Raises ValueError where it cannot be one."""
    try:
        number = phonenumbers.parse(phone, None)
    except phonenumbers.NumberParseException:
        raise ValueError(f"{phone!r} is no phone number in E.164 form, such as +51900000001") from None
    if not phonenumbers.is_possible_number(number):
        raise ValueError(f"{phone!r} is no possible phone number")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


@cache
def _timezones() -> frozenset[str]:
    return frozenset(available_timezones())


def _known_timezone(name: str) -> str:
    if name not in _timezones():
        raise ValueError(f"{name!r} is no time zone, such as America/Lima")
    return name


Phone = Annotated[str, AfterValidator(e164)]
Text = Annotated[str, Field(min_length=1, max_length=20_000)]


CheckTemplate = Callable[[str, str, str], None]
"""Says of a template's name, language and text whether they go together. Raises ValueError."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


SECRETS: Mapping[str, tuple[str, ...]] = {
    "simulator": (),
    "twilio": ("account_sid", "auth_token"),
    "whatsapp": ("access_token", "app_secret", "verify_token"),
    "instagram": ("access_token", "app_secret", "verify_token"),
}
"""What each kind of channel needs, and what is encrypted at rest."""

OPTIONAL: Mapping[str, tuple[str, ...]] = {
    "twilio": ("messaging_service_sid",),
    "instagram": ("login",),
}
"""What it may have beside that, kept with its secrets."""

ADDRESSES = {"whatsapp": "phone_number_id", "instagram": "instagram_id"}
"""How Meta's kinds name their address. The others have a phone number."""

MetaId = Annotated[str, Field(pattern=r"^[0-9]{1,32}$")]
Secret = Annotated[str, Field(min_length=8, max_length=1_000)]


class ChannelSpec(_Strict):
    """One channel account. `templates` maps a template's name to the provider's id, or to one id for each language.

    `shared`: other merchants have this address too. `portfolio`, `per_second`, `daily_limit`: see `ChannelAccount`.
    """

    kind: Literal["simulator", "twilio", "whatsapp", "instagram"]
    address: str = ""
    shared: bool = False
    account_sid: str | None = Field(None, pattern=r"^AC[0-9a-fA-F]{32}$")
    auth_token: Secret | None = None
    messaging_service_sid: str | None = Field(None, pattern=r"^MG[0-9a-fA-F]{32}$")
    phone_number_id: MetaId | None = None
    waba_id: MetaId | None = None
    instagram_id: MetaId | None = None
    access_token: Secret | None = None
    app_secret: Secret | None = None
    verify_token: Secret | None = None
    login: Literal["instagram", "facebook"] | None = None
    portfolio: str | None = Field(None, min_length=1, max_length=100)
    per_second: float | None = Field(None, gt=0, le=1_000)
    daily_limit: int | None = Field(None, ge=0)
    templates: dict[str, str | dict[str, str]] = {}

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if not all(getattr(self, name) for name in SECRETS[self.kind]):
            raise ValueError(f"a {self.kind} channel needs {' and '.join(SECRETS[self.kind])}")
        known = {*SECRETS[self.kind], *OPTIONAL.get(self.kind, ()), ADDRESSES.get(self.kind, "address")}
        known |= {"waba_id"} if self.kind == "whatsapp" else set()
        everything = {name for names in (*SECRETS.values(), *OPTIONAL.values()) for name in names}
        everything |= {"address", *ADDRESSES.values(), "waba_id"}
        foreign = sorted(name for name in everything - known if getattr(self, name))
        if foreign:
            raise ValueError(f"a {self.kind} channel has no {' and no '.join(foreign)}")
        if self.kind in ADDRESSES:
            self.address = getattr(self, ADDRESSES[self.kind]) or ""
            if not self.address:
                raise ValueError(f"a {self.kind} channel needs {ADDRESSES[self.kind]}")
        else:
            self.address = e164(self.address)
        return self

    @property
    def credentials(self) -> dict[str, Any]:
        """What is encrypted at rest."""
        names = {*SECRETS[self.kind], *OPTIONAL.get(self.kind, ())}
        return self.model_dump(include=names, exclude_none=True)

    @property
    def values(self) -> dict[str, Any]:
        """What is kept beside it, as `ChannelAccount` names it."""
        return self.model_dump(include={"templates", "shared", "waba_id", "portfolio", "per_second", "daily_limit"})


class StaffSpec(_Strict):
    """One member of the staff."""

    name: Text
    phone: Phone
    types: list[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]] = Field(min_length=1)


class DocumentSpec(_Strict):
    """One piece of knowledge."""

    category: Literal["faq", "support_classification"]
    title: Text
    content: Text


class MerchantSpec(_Strict):
    """One merchant, whole."""

    name: Text
    sub_domain: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    local_id: str | None = None
    bot_id: str | None = None
    language: str = Field("es", pattern=r"^[a-z]{2}$")
    timezone: Annotated[str, AfterValidator(_known_timezone)] = "UTC"
    reminder_minutes: int = Field(15, ge=1, le=1_440)
    escalation_minutes: int = Field(60, ge=2, le=10_080)
    templates: dict[str, dict[str, Annotated[str, AfterValidator(str.strip)]]] = {}
    channels: list[ChannelSpec] = Field(min_length=1)
    staff: list[StaffSpec] = []
    documents: list[DocumentSpec] = []

    @field_validator("templates")
    @classmethod
    def _templates_fit(cls, templates: dict[str, dict[str, str]], info: ValidationInfo) -> dict[str, dict[str, str]]:
        check = cast(CheckTemplate, info.context)
        for name, texts in templates.items():
            for language, text in texts.items():
                check(name, language, text)
        return templates

    @field_validator("escalation_minutes")
    @classmethod
    def _after_reminding(cls, minutes: int, info: ValidationInfo) -> int:
        if minutes <= info.data.get("reminder_minutes", 0):
            raise ValueError("must be more than reminder_minutes")
        return minutes


class MerchantsFile(_Strict):
    """A whole YAML file."""

    merchants: list[MerchantSpec] = Field(min_length=1)

    @model_validator(mode="after")
    def _no_doubles(self) -> Self:
        _unique("sub_domain", [merchant.sub_domain for merchant in self.merchants])
        places = [c for m in self.merchants for c in m.channels]
        alone = {f"{c.kind} {c.address}" for c in places if not c.shared}
        _unique("channel", [place for c in places if (place := f"{c.kind} {c.address}") in alone])
        for merchant in self.merchants:
            _unique(f"channel of {merchant.sub_domain}", [f"{c.kind} {c.address}" for c in merchant.channels])
            _unique(f"staff phone of {merchant.sub_domain}", [person.phone for person in merchant.staff])
            _unique(f"document of {merchant.sub_domain}", [f"{d.category} {d.title}" for d in merchant.documents])
        return self


def _unique(what: str, values: list[str]) -> None:
    doubles = {value for value in values if values.count(value) > 1}
    if doubles:
        raise ValueError(f"the same {what} stands here twice: {', '.join(sorted(doubles))}")
