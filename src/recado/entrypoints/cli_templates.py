"""`recado templates`: have a merchant's templates made and approved, and see how far that is."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Annotated

import typer

from recado.campaigns.approvals import Approvals
from recado.campaigns.outcomes import FAILED, MISSING, TO_MAKE, Outcome
from recado.campaigns.templates import QUESTION_REQUEST, TEXTS
from recado.channels.managements import open_managements
from recado.clock import Clock
from recado.entrypoints.console import open_database, read_settings, run
from recado.errors import ConfigurationError
from recado.merchants.account import APPROVED
from recado.merchants.repository import merchant_by_sub_domain
from recado.text import mask_phone

templates = typer.Typer(
    no_args_is_help=True,
    help="A merchant's templates at its providers, which WhatsApp wants outside the 24-hour window.",
)
SubDomain = Annotated[str, typer.Argument(help="The merchant, as in its YAML file.")]
LANGUAGES = tuple(TEXTS[QUESTION_REQUEST])

Work = Callable[[Approvals, int], AsyncIterator[Outcome]]


@templates.command("create")
def create(
    sub_domain: SubDomain,
    language: Annotated[
        list[str] | None, typer.Option(help=f"Only this one; may be repeated. There are {', '.join(LANGUAGES)}.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be made; ask, and make nothing.")] = False,
) -> None:
    """Make at Twilio or Meta every template that the merchant's accounts lack, and ask for its approval.

    The merchant's own words win. Run it as often as you like: what is there is not made again.
    """
    if unknown := sorted(set(language or ()) - set(LANGUAGES)):
        raise typer.BadParameter(f"{', '.join(unknown)}: there are {', '.join(LANGUAGES)}", param_hint="--language")

    def work(approvals: Approvals, merchant_id: int) -> AsyncIterator[Outcome]:
        return approvals.create(merchant_id, language or None, dry_run=dry_run)

    run(_tell(sub_domain, work))


@templates.command("status")
def status(sub_domain: SubDomain) -> None:
    """Ask the providers how far each template is, write it down, and show it."""
    run(_tell(sub_domain, lambda approvals, merchant_id: approvals.status(merchant_id)))


async def _tell(sub_domain: str, work: Work) -> None:
    """Print what comes of each template as it comes. Exits with 1 where something failed."""
    settings, clock = read_settings(), Clock()
    counts: Counter[str] = Counter()
    async with open_database(settings) as database, open_managements(settings, clock) as managements:
        async with database.read() as session:
            merchant = await merchant_by_sub_domain(session, sub_domain)
        if merchant is None:
            raise ConfigurationError(
                f"there is no merchant {sub_domain!r}: the sub_domain is in its YAML file; `recado apply` creates it"
            )
        place = ""
        async for outcome in work(Approvals(database, managements, clock), merchant.id):
            if (here := _place(outcome)) != place:
                place = here
                typer.echo(place)
            typer.echo(_line(outcome))
            counts[outcome.status] += 1
    typer.echo(_sum(counts), err=True)
    if counts[FAILED]:
        raise typer.Exit(1)


def _place(outcome: Outcome) -> str:
    address = outcome.account.address
    return f"{outcome.account.channel} {mask_phone(address) if address.startswith('+') else address}"


def _line(outcome: Outcome) -> str:
    words = [
        f"  {outcome.status:<9}",
        f"{outcome.language:<3}",
        f"{outcome.name:<36}",
        f"{outcome.category:<10}",
        outcome.id,
    ]
    said = " ".join(words).rstrip() if outcome.name else f"  {outcome.status:<9}"
    reasons = ": ".join(filter(None, (outcome.text, outcome.remedy)))
    return f"{said}  {reasons}" if reasons else said


def _sum(counts: Counter[str]) -> str:
    if not counts:
        return "there is no account that has templates: they are WhatsApp's, at Twilio or Meta"
    words = [f"{counts[status]} {status}" for status in (APPROVED, *sorted(set(counts) - {APPROVED})) if counts[status]]
    hints = {MISSING: "`recado templates create` makes what is missing", TO_MAKE: "nothing was made: --dry-run"}
    return "; ".join([", ".join(words), *(hint for status, hint in hints.items() if counts[status])])
