"""`recado staff`: which accounts the staff writes from where no phone number is shown."""

from collections.abc import Awaitable, Callable
from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import AsyncSession

from recado.clock import Clock
from recado.db.models import MerchantUser
from recado.entrypoints.console import open_database, read_settings, run
from recado.errors import ConfigurationError, InvalidInput, NotFound
from recado.merchants.linking import StaffLinks
from recado.merchants.repository import merchant_by_sub_domain
from recado.merchants.schemas import e164
from recado.merchants.staff import Staff
from recado.text import mask_phone

staff = typer.Typer(no_args_is_help=True, help="A merchant's staff, and the accounts that they have linked.")

MOST_SHOWN = 1_000
SubDomain = Annotated[str, typer.Argument(help="The merchant, as in its YAML file.")]
Work = Callable[[AsyncSession, int], Awaitable[None]]


@staff.command("link")
def link(
    sub_domain: SubDomain,
    member: Annotated[str, typer.Argument(metavar="PHONE_OR_ID", help="The member's phone, or id of `staff list`.")],
) -> None:
    """Make a code with which a member links the account that they write from, and print it, this once."""

    async def make(session: AsyncSession, merchant_id: int) -> None:
        user = await _member(session, merchant_id, sub_domain, member)
        try:
            code, expires_at = await StaffLinks(session, merchant_id, Clock()).new_code(user.id)
        except InvalidInput:
            raise ConfigurationError(
                f"{user.name} is not active: name them in the merchant's YAML and run `recado apply`"
            ) from None
        typer.echo(
            f"{user.name} writes this to {sub_domain} from the account that is to be linked (Instagram, or WhatsApp "
            f"with a hidden number). It works once, until {expires_at:%H:%M} UTC; older codes of theirs are void:",
            err=True,
        )
        typer.echo(code)

    run(_with_merchant(sub_domain, make))


@staff.command("list")
def show(sub_domain: SubDomain) -> None:
    """Show the staff, and the accounts that they have linked."""

    async def list_all(session: AsyncSession, merchant_id: int) -> None:
        people, total = await Staff(session, merchant_id).page(None, limit=MOST_SHOWN, offset=0)
        linked = await StaffLinks(session, merchant_id, Clock()).links()
        for person in people:
            state = "active" if person.active else "inactive"
            typer.echo(f"{person.id:>6}  {person.phone:<16}  {state:<8}  {person.name} ({', '.join(person.types)})")
            for row, user in linked:
                if user.id == person.id:
                    account = f"{row.channel} {mask_phone(row.channel_user_id)}"
                    typer.echo(f"        link {row.id}: {account}, {row.linked_at:%Y-%m-%d}")
        none = "there is none: name them under `staff` in the merchant's YAML"
        typer.echo(f"{total} in all" if total else none, err=True)

    run(_with_merchant(sub_domain, list_all))


@staff.command("unlink")
def unlink(
    sub_domain: SubDomain,
    link_id: Annotated[int, typer.Argument(metavar="LINK", min=1, max=2**31 - 1, help="As `staff list` shows it.")],
) -> None:
    """Take a link away: who writes from that account is a customer again."""

    async def remove(session: AsyncSession, merchant_id: int) -> None:
        try:
            await StaffLinks(session, merchant_id, Clock()).unlink(link_id)
        except NotFound:
            raise ConfigurationError(
                f"{sub_domain} has no link {link_id}: see `recado staff list {sub_domain}`"
            ) from None
        typer.echo(f"link {link_id} is gone", err=True)

    run(_with_merchant(sub_domain, remove))


async def _member(session: AsyncSession, merchant_id: int, sub_domain: str, named: str) -> MerchantUser:
    """The member with this phone number or id. Raises ConfigurationError."""
    of_merchant = Staff(session, merchant_id)
    try:
        if named.isascii() and named.isdigit() and int(named) < 2**31:
            return await of_merchant.get(int(named))
        return await of_merchant.by_phone(e164(named))
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    except NotFound:
        raise ConfigurationError(f"{sub_domain} has no such member: see `recado staff list {sub_domain}`") from None


async def _with_merchant(sub_domain: str, work: Work) -> None:
    """Do something with a merchant's staff, in one transaction. Raises ConfigurationError for an unknown merchant."""
    async with open_database(read_settings()) as database, database.transaction() as session:
        merchant = await merchant_by_sub_domain(session, sub_domain)
        if merchant is None:
            raise ConfigurationError(
                f"there is no merchant {sub_domain!r}: the sub_domain is in its YAML file; `recado apply` creates it"
            )
        await work(session, merchant.id)
