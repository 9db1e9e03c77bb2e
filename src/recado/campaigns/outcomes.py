"""What `recado templates` tells of each template."""

from dataclasses import dataclass

from recado.channels.management import Approval, NewTemplate, one_line, remedy_of, words_of
from recado.errors import Retryable, SendError
from recado.merchants.account import Account

MISSING, TO_MAKE, FAILED = "missing", "to make", "failed"
"""What an outcome may say beside the words for approvals."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one template of one account, or, without a name, of the account. `text` is the provider's reason."""

    account: Account
    status: str
    name: str = ""
    language: str = ""
    text: str = ""
    remedy: str = ""
    id: str = ""
    category: str = ""


def outcome_of(account: Account, template: NewTemplate, approval: Approval | None, *, named: bool = False) -> Outcome:
    """What the provider says of a template. `named`: the YAML names its id, and whoever wrote that knows its words."""
    if approval is None and named:
        remedy = "the YAML names an id that the provider does not have: correct it, or take it out"
        return Outcome(account, MISSING, template.name, template.language, remedy=remedy)
    if approval is None:
        return Outcome(account, MISSING, template.name, template.language, remedy="run `recado templates create`")
    remedy = remedy_of(approval)
    if not named and not approval.says(template):
        remedy = "the merchant's words are others by now: run `recado templates create`"
    return Outcome(
        account,
        approval.status,
        template.name,
        template.language,
        one_line(approval.reason or ""),
        remedy,
        one_line(approval.id, 100),
        one_line(approval.category or "", 40),
    )


def failure_of(account: Account, error: SendError, template: NewTemplate | None = None) -> Outcome:
    """That the provider could not be asked, or did not make the template."""
    usual = "run it again later" if isinstance(error, Retryable) else "look the code up in the provider's documentation"
    text, remedy = words_of(error), error.remedy or usual
    if template is None:
        return Outcome(account, FAILED, text=text, remedy=remedy)
    return Outcome(account, FAILED, template.name, template.language, text, remedy)


def left_over(account: Account, number: int, error: SendError) -> Outcome:
    """That the rest of an account's templates was not tried."""
    seconds = error.retry_after if isinstance(error, Retryable) else None
    when = f"in {seconds:.0f} seconds" if seconds else "later"
    remedy = f"run it again {when}: it goes on where it stopped"
    return Outcome(account, FAILED, text=f"{number} templates are left to be made", remedy=remedy)
