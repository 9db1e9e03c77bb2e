"""Every error that Recado raises on purpose.

RecadoError
├── ConfigurationError          settings or a YAML file are wrong; the message names the remedy
├── NotFound                    something named by id does not exist for this merchant
│   ├── ApiKeyNotFound
│   ├── CampaignNotFound
│   ├── ConversationNotFound
│   ├── DocumentNotFound
│   ├── MerchantNotFound
│   ├── MerchantUserNotFound
│   └── NotificationNotFound
│       └── ForeignNotification  it is another merchant's; to the outside it does not exist
├── InvalidInput                what a person, a provider or a model gave cannot be used
│   ├── UnknownNotificationType
│   ├── MissingField
│   ├── InvalidAnswer
│   └── MalformedEvent
├── AlreadyAnswered             somebody else answered this notification first
├── AlreadyThere                what would be created exists
├── CannotWrite                 this person may not be written to now
├── Unauthenticated             a request to the REST API carries no key that is known
├── WrongPerson                 the verified sender may not do this
├── ModelError                  the language model gave nothing usable, or could not be reached
├── SyncOff                     this needs the conversation sync, which is switched off
├── SyncError                   the conversation API did not do what it was asked
│   ├── SyncUnavailable         no answer, or none of the API's: try again later
│   │   └── WrongPrefix         a 404 that is not the API's own: it has no such route
│   ├── SyncRejected            it understood and refused: the same again cannot help
│   └── ConversationGone        it has no such conversation (any more)
├── MediaRefused                a file that must not be fetched, or kept
├── AlertFailed                 a channel did not take an alert
└── SendError                   a provider did not take a message
    ├── Retryable               timeouts, 429, 5xx: try again later
    │   └── AccountRefused      the provider refuses the account itself, until somebody mends that
    └── Permanent               trying again cannot help
        ├── WindowClosed        free text outside WhatsApp's 24 hours
        ├── TemplateRefused     the provider does not know or has not approved this template
        └── OptedOut            the person does not want messages
            └── MarketingStopped  no marketing, and the provider takes this for such
"""


class RecadoError(RuntimeError):
    """The root: whatever Recado raises on purpose is one of these.

    A RuntimeError, because LangGraph's server hides the message of any exception that is not one of Python's own kinds.
    """


class ConfigurationError(RecadoError):
    """Settings or a YAML file are wrong; the message names the remedy."""


class NotFound(RecadoError):
    """Something named by id does not exist for this merchant."""


class ApiKeyNotFound(NotFound):
    """No such API key."""


class CampaignNotFound(NotFound):
    """No such campaign."""


class ConversationNotFound(NotFound):
    """No such conversation."""


class DocumentNotFound(NotFound):
    """No such document."""


class MerchantNotFound(NotFound):
    """No such merchant."""


class MerchantUserNotFound(NotFound):
    """No such member of the staff."""


class NotificationNotFound(NotFound):
    """No such notification."""


class ForeignNotification(NotificationNotFound):
    """It belongs to another merchant. To whoever asks, it does not exist; the operator must hear of it."""


class InvalidInput(RecadoError):
    """What a person, a provider or a model gave cannot be used. `field` names what is wrong, where one thing is."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class UnknownNotificationType(InvalidInput):
    """The notification type is none of those configured."""


class MissingField(InvalidInput):
    """A field that the notification type requires is absent or empty."""

    def __init__(self, field: str) -> None:
        super().__init__(f"Missing required field: {field}", field)


class InvalidAnswer(InvalidInput):
    """The answer does not match the notification's JSON schema."""


class MalformedEvent(InvalidInput):
    """A provider delivered something that cannot be read."""


class AlreadyAnswered(RecadoError):
    """Somebody else answered this notification first."""


class AlreadyThere(RecadoError):
    """What would be created exists."""


class CannotWrite(RecadoError):
    """This person may not be written to now; the message says why, and until when it was possible."""


class Unauthenticated(RecadoError):
    """A request to the REST API carries no key that is known."""


class WrongPerson(RecadoError):
    """The verified sender may not do this."""


class ModelError(RecadoError):
    """The language model gave nothing usable, or could not be reached."""


class SyncOff(RecadoError):
    """This needs the conversation sync, which is switched off."""


class SyncError(RecadoError):
    """The conversation API did not do what it was asked. `reason` is one word for metrics."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class SyncUnavailable(SyncError):
    """No answer, or none of the API's: try again later.

    `ambiguous` when it may have done what was asked all the same; `retry_after`, in seconds, where it said so.
    """

    def __init__(self, message: str, reason: str, *, ambiguous: bool = False, retry_after: float | None = None) -> None:
        super().__init__(message, reason)
        self.ambiguous = ambiguous
        self.retry_after = retry_after


class WrongPrefix(SyncUnavailable):
    """A 404 that does not carry the API's envelope: it has no such route, so CONVERSATION_API_PREFIX is wrong."""


class SyncRejected(SyncError):
    """The API understood and refused: the same again cannot help. `status` is HTTP's."""

    def __init__(self, message: str, reason: str, status: int) -> None:
        super().__init__(message, reason)
        self.status = status


class ConversationGone(SyncError):
    """The API has no such conversation (any more)."""


class MediaRefused(RecadoError):
    """A file that a person sent must not be fetched, or kept: it is too large, or not what it says that it is.

    `foreign`: it is not with the provider, which is an attempt at something.
    """

    def __init__(self, message: str, *, foreign: bool = False) -> None:
        super().__init__(message)
        self.foreign = foreign


class AlertFailed(RecadoError):
    """A channel did not take an alert. `retry_after`: the seconds that it asks for. `permanent`: the same again cannot
    help."""

    def __init__(self, message: str, *, retry_after: float | None = None, permanent: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.permanent = permanent


class SendError(RecadoError):
    """A provider did not take a message. `code` is the provider's own, where there is one; `remedy` an operator's."""

    def __init__(self, message: str, code: str | None = None, *, remedy: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.remedy = remedy


class Retryable(SendError):
    """Timeouts, 429 and 5xx: try again later. `ambiguous` when the provider may have taken the message;
    `retry_after`, in seconds, where it said when to come again.
    """

    def __init__(
        self,
        message: str,
        code: str | None = None,
        *,
        remedy: str = "",
        ambiguous: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, code, remedy=remedy)
        self.ambiguous = ambiguous
        self.retry_after = retry_after


class AccountRefused(Retryable):
    """The provider refuses the account itself (its token, its payment, its number), whatever the message is."""


class Permanent(SendError):
    """Trying again cannot help."""


class WindowClosed(Permanent):
    """Free text outside WhatsApp's 24 hours."""


class TemplateRefused(Permanent):
    """The provider does not know, has not approved, or withholds this template."""


class OptedOut(Permanent):
    """The person does not want messages."""


class MarketingStopped(OptedOut):
    """The person does not want marketing, and the provider takes this message for such."""
