"""The `recado` command."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from recado.agent.checkpoints import open_checkpoints
from recado.agent.prices import problems as price_problems
from recado.alerts.channels import problems_of
from recado.bootstrap import EMBEDDED_QUEUE, GRACE_SECONDS, connect, make_services, open_worker
from recado.campaigns.apply import apply_file, read_file
from recado.clock import Clock
from recado.db.engine import Database
from recado.db.migrate import migrate as migrate_database
from recado.db.migrate import pending_revision
from recado.entrypoints.api import make_app
from recado.entrypoints.cli_alerts import alerts
from recado.entrypoints.cli_staff import staff
from recado.entrypoints.cli_templates import templates
from recado.entrypoints.cli_trace import trace
from recado.entrypoints.console import announce, check_schema, read_settings, stop
from recado.entrypoints.console import run as run_command
from recado.entrypoints.doctor import examine
from recado.entrypoints.doctor_live import examine_live
from recado.errors import ApiKeyNotFound, ConfigurationError
from recado.http.probes import probes
from recado.jobs.worker import run_worker
from recado.merchants.keys import ApiKeys
from recado.merchants.repository import merchant_by_sub_domain
from recado.settings import Settings
from recado.text import clean_text

app = typer.Typer(
    no_args_is_help=True,
    help="Recado: a WhatsApp agent that asks a merchant's staff when it does not know.",
    pretty_exceptions_enable=False,
)
keys = typer.Typer(no_args_is_help=True, help="A merchant's keys for the REST API.")
app.add_typer(keys, name="key")
app.add_typer(templates, name="templates")
app.add_typer(staff, name="staff")
app.add_typer(alerts, name="alerts")
app.command()(trace)

MOST_KEYS_SHOWN = 1_000
SubDomain = Annotated[str, typer.Argument(help="The merchant, as in its YAML file.")]


def _ready_settings() -> Settings:
    """The settings, refused when they cannot serve."""
    settings = read_settings()
    if problems := [*settings.problems(), *problems_of(settings), *price_problems(settings.model_prices)]:
        raise stop("\n".join(problems))
    return settings


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
) -> None:
    """Serve the webhooks, the API and the simulator (and run the worker, when QUEUE_URL is memory://)."""
    settings = _ready_settings()

    async def check() -> None:
        database = Database(settings.database_url)
        await check_schema(database)
        await database.close()
        if settings.queue_url == EMBEDDED_QUEUE:
            async with open_checkpoints(settings.checkpoint_url):
                pass  # it can be opened: asked here, where the answer is one line and no traceback

    run_command(check())
    if settings.model_provider == "demo":
        announce(settings, "The demo model answers: it follows simple rules. Set OPENAI_API_KEY for a real one.")
    try:
        service = make_app(settings)
    except ConfigurationError as error:
        raise stop(str(error)) from None
    announce(settings, f"http://{host}:{port}/simulator shows the simulator, /docs the API, /readyz the state")
    uvicorn.run(
        service,
        host=host,
        port=port,
        log_config=None,
        log_level="warning",
        timeout_graceful_shutdown=5,
        access_log=False,
    )


@app.command()
def worker(
    metrics_port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Serve /metrics and /healthz there; 0: nowhere. As WORKER_METRICS_PORT."),
    ] = None,
    metrics_host: Annotated[str, typer.Option(help="Address to serve them on.")] = "127.0.0.1",
) -> None:
    """Run jobs from a PostgreSQL or Redis queue; start as many as you like."""
    settings = _ready_settings()
    port = settings.worker_metrics_port if metrics_port is None else metrics_port
    if settings.queue_url == EMBEDDED_QUEUE:
        raise stop("QUEUE_URL=memory:// works inside `recado serve`; set postgresql://… or redis://… for workers")

    async def work() -> None:
        services = make_services(settings)
        await check_schema(services.database)
        stopping = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        async with probes(metrics_host, port), connect(services), open_worker(services) as running:
            announce(settings, "working")
            await run_worker(running, stopping, GRACE_SECONDS)

    run_command(work())


@app.command()
def migrate() -> None:
    """Bring the database to the newest schema. Does nothing when it is there."""
    settings = read_settings()

    async def run() -> None:
        database = Database(settings.database_url)
        before = await pending_revision(database)
        await migrate_database(database)
        await database.close()
        typer.echo(f"schema is now at {before}" if before else "schema is up to date")

    run_command(run())


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(help="Merchants as YAML; examples/bodega.yaml shows the format.")],
) -> None:
    """Make the database say what a YAML file says: merchants, channels, staff, documents. All or nothing."""
    settings = read_settings()

    async def run() -> None:
        merchants = read_file(file)
        database = Database(settings.database_url)
        await check_schema(database)
        async with database.transaction() as session:
            applied = await apply_file(session, Clock(), merchants)
        await database.close()
        typer.echo("\n".join(applied.lines) or "nothing to change")

    run_command(run())


@keys.command("create")
def create_key(
    sub_domain: SubDomain, name: Annotated[str, typer.Option(help="What the key is for; `key list` shows it.")]
) -> None:
    """Make a key and print it, this once: only its hash is kept."""

    async def create(of_merchant: ApiKeys) -> None:
        label = clean_text(name).strip()
        if not label:
            raise ConfigurationError("--name is blank: say what the key is for")
        row, key = await of_merchant.create(label)
        typer.echo(f"key {row.id} of {sub_domain}; it is not shown again:", err=True)
        typer.echo(key)

    run_command(_with_keys(sub_domain, create))


@keys.command("list")
def list_keys(sub_domain: SubDomain) -> None:
    """Show a merchant's keys, newest first, by how they begin."""

    async def show(of_merchant: ApiKeys) -> None:
        rows, total = await of_merchant.page(limit=MOST_KEYS_SHOWN, offset=0)
        for row in rows:
            state = f"revoked {row.revoked_at:%Y-%m-%d}" if row.revoked_at else "in use"
            typer.echo(f"{row.id:>6}  {row.hint}…  {row.created_at:%Y-%m-%d}  {state:<18}  {row.name}")
        none = f"there is none: recado key create {sub_domain} --name NAME"
        typer.echo(f"{total} in all" if total else none, err=True)

    run_command(_with_keys(sub_domain, show))


@keys.command("revoke")
def revoke_key(
    sub_domain: SubDomain,
    key_id: Annotated[int, typer.Argument(metavar="ID", min=1, max=2**31 - 1, help="As `key list` shows it.")],
) -> None:
    """Refuse a key from now on."""

    async def revoke(of_merchant: ApiKeys) -> None:
        try:
            row = await of_merchant.revoke(key_id)
        except ApiKeyNotFound:
            raise ConfigurationError(f"{sub_domain} has no key {key_id}: see `recado key list {sub_domain}`") from None
        typer.echo(f"key {row.id} ({row.name}) is revoked", err=True)

    run_command(_with_keys(sub_domain, revoke))


async def _with_keys(sub_domain: str, work: Callable[[ApiKeys], Awaitable[None]]) -> None:
    """Do something with a merchant's keys, in one transaction. Raises ConfigurationError for an unknown merchant."""
    database = Database(read_settings().database_url)
    await check_schema(database)
    async with database.transaction() as session:
        merchant = await merchant_by_sub_domain(session, sub_domain)
        if merchant is None:
            raise ConfigurationError(
                f"there is no merchant {sub_domain!r}: the sub_domain is in its YAML file; `recado apply` creates it"
            )
        await work(ApiKeys(session, merchant.id, Clock()))
    await database.close()


@app.command()
def doctor(
    live: Annotated[
        bool,
        typer.Option(
            "--live",
            help="Also call the providers of every active account (Twilio's REST, Senders and Content API, Meta's "
            "Graph API) with its credentials: token, number, webhook, templates. Only reads.",
        ),
    ] = False,
) -> None:
    """Check configuration and reachability; each problem comes with its remedy."""
    settings = read_settings()

    async def run() -> None:
        findings = await examine(settings)
        if live:
            findings += await examine_live(settings)
        for finding in findings:
            typer.echo(finding.line)
        if not all(finding.ok for finding in findings):
            sys.exit(1)

    run_command(run())
