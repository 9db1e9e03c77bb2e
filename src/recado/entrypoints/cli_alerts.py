"""`recado alerts`: whether the team can be told, and what it was told of."""

import asyncio
from typing import Annotated

import typer

from recado.alerts.channels import make_channels, problems_of, wishes_of
from recado.alerts.conditions import CONDITIONS, condition_of
from recado.alerts.links import Links
from recado.alerts.notice import AlertChannel, Notice
from recado.alerts.repository import AlertRepository
from recado.alerts.routing import Wish
from recado.clock import Clock
from recado.db.models import Alert
from recado.entrypoints.console import open_database, read_settings, run, stop
from recado.errors import AlertFailed, ConfigurationError
from recado.text import shorten

alerts = typer.Typer(no_args_is_help=True, help="What the team is alerted of: Discord, Slack, e-mail, the log.")

SECONDS = 30.0
MOST_SHOWN = 1_000
TEST = "test"
WIDTH = 60


@alerts.command("test")
def send_test(
    channel: Annotated[
        list[str] | None, typer.Option(help="Only this one: discord, slack, email or log; may be repeated.")
    ] = None,
) -> None:
    """Send a test to every channel that is configured, now, and say what came of it."""
    run(_test(channel or []))


@alerts.command("list")
def show(
    limit: Annotated[int, typer.Option(min=1, max=MOST_SHOWN, help="How many at most.")] = 20,
    only_open: Annotated[bool, typer.Option("--open", help="Only errors that may still go on.")] = False,
) -> None:
    """Show the latest alerts, newest first: how often, since when, and whether it is over."""
    run(_show(limit, only_open))


async def _test(wanted: list[str]) -> None:
    settings = read_settings()
    if problems := problems_of(settings):
        raise stop("\n".join(problems))
    clock = Clock()
    channels = make_channels(settings, clock)
    if unknown := [name for name in wanted if name not in channels]:
        raise ConfigurationError(
            f"{', '.join(unknown)}: not configured; there are {', '.join(channels)}. See DISCORD_WEBHOOK_URL, "
            "SLACK_WEBHOOK_URL and SMTP_URL"
        )
    now, condition = clock.now(), CONDITIONS[TEST]
    notice = Notice(
        kind="first",
        condition=TEST,
        severity=condition.severity,
        title=condition.title,
        description="`recado alerts test` sent this. If you can read it, alerts arrive here.",
        at=now,
        last_at=now,
        logs_url=Links(settings).logs(now),
    )
    wishes = wishes_of(settings, channels)
    chosen = {name: channel for name, channel in channels.items() if not wanted or name in wanted}
    failed = await asyncio.gather(*(_send(channel, wishes[name], notice) for name, channel in chosen.items()))
    if any(failed):
        raise typer.Exit(1)


async def _send(channel: AlertChannel, wish: Wish, notice: Notice) -> bool:
    """Whether it failed."""
    try:
        async with asyncio.timeout(SECONDS):
            await channel.send(notice)
    except (AlertFailed, TimeoutError) as error:
        typer.echo(f"✗ {channel.name:<8} {error or 'no answer'}")
        return True
    finally:
        await channel.close()
    typer.echo(f"✓ {channel.name:<8} hears of {wish}")
    return False


async def _show(limit: int, only_open: bool) -> None:
    async with open_database(read_settings()) as database, database.read() as session:
        rows = await AlertRepository(session).newest(limit, only_open=only_open)
    for row in rows:
        typer.echo(_line(row))
    if not rows:
        typer.echo("no error goes on" if only_open else "there was no alert in the last 90 days", err=True)


def _line(row: Alert) -> str:
    title = condition_of(row.condition).title
    state = "over" if row.ended_at else "open"
    when = f"{row.first_at:%Y-%m-%d %H:%M} – {row.last_at:%H:%M}"
    said = shorten(" ".join(row.description.split()), WIDTH)
    return f"{row.id:>6}  {when}  {row.count:>6}×  {state}  {title}: {said}"
