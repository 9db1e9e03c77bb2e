"""Every error that Recado raises on purpose.

RecadoError
├── ConfigurationError          settings or a YAML file are wrong; the message names the remedy
├── NotFound                    something named by id does not exist for this merchant
│   ├── ConversationNotFound
│   ├── DocumentNotFound
│   └── NotificationNotFound
├── InvalidInput                what a person, a provider or a model gave cannot be used
│   ├── UnknownNotificationType
│   ├── MissingField
│   ├── InvalidAnswer
│   └── MalformedEvent
├── AlreadyAnswered             somebody else answered this notification first
├── WrongPerson                 the verified sender may not do this
├── ModelError                  the language model gave nothing usable, or could not be reached
└── SendError                   a provider did not take a message
    ├── Retryable               timeouts, 429, 5xx: try again later
    └── Permanent               trying again cannot help
        ├── WindowClosed        free text outside WhatsApp's 24 hours
        └── OptedOut            the person does not want messages
"""


class RecadoError(RuntimeError):
    """The root: whatever Recado raises on purpose is one of these.

    A RuntimeError, because LangGraph's server hides the message of any exception that is not one of Python's own kinds.
    """


class ConfigurationError(RecadoError):
    """Settings or a YAML file are wrong; the message names the remedy."""


class NotFound(RecadoError):
    """Something named by id does not exist for this merchant."""


class ConversationNotFound(NotFound):
    """No such conversation."""


class DocumentNotFound(NotFound):
    """No such document."""


class NotificationNotFound(NotFound):
    """No such notification."""


class InvalidInput(RecadoError):
    """What a person, a provider or a model gave cannot be used."""


class UnknownNotificationType(InvalidInput):
    """The notification type is none of those configured."""


class MissingField(InvalidInput):
    """A field that the notification type requires is absent or empty."""

    def __init__(self, field: str) -> None:
        super().__init__(f"Missing required field: {field}")
        self.field = field


class InvalidAnswer(InvalidInput):
    """The answer does not match the notification's JSON schema."""


class MalformedEvent(InvalidInput):
    """A provider delivered something that cannot be read."""


class AlreadyAnswered(RecadoError):
    """Somebody else answered this notification first."""


class WrongPerson(RecadoError):
    """The verified sender may not do this."""


class ModelError(RecadoError):
    """The language model gave nothing usable, or could not be reached."""


class SendError(RecadoError):
    """A provider did not take a message. `code` is the provider's own, where it gave one."""

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


class Retryable(SendError):
    """Timeouts, 429 and 5xx: try again later. `ambiguous` when the provider may have taken the message."""

    def __init__(self, message: str, code: str | None = None, *, ambiguous: bool = False) -> None:
        super().__init__(message, code)
        self.ambiguous = ambiguous


class Permanent(SendError):
    """Trying again cannot help."""


class WindowClosed(Permanent):
    """Free text outside WhatsApp's 24 hours."""


class OptedOut(Permanent):
    """The person does not want messages."""
