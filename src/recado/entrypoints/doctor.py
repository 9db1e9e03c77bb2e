"""`recado doctor`: what is configured, whether it can be reached, and what to do where it cannot."""

import httpx
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from recado.agent.checkpoints import open_checkpoints
from recado.agent.prices import problems
from recado.campaigns.service import DEFAULT_CAMPAIGNS
from recado.campaigns.templates import TEXTS
from recado.channels.base import template_id
from recado.channels.rules import RULES
from recado.db.engine import Database
from recado.db.migrate import pending_revision
from recado.db.models import Campaign, ChannelAccount, Merchant, MerchantUser
from recado.entrypoints.doctor_alerts import examine_alerts
from recado.entrypoints.doctor_shared import shared_addresses
from recado.entrypoints.doctor_sync import examine_sync
from recado.entrypoints.finding import Finding
from recado.errors import RecadoError
from recado.jobs.worker import make_queue
from recado.merchants.account import Account
from recado.merchants.repository import to_account
from recado.settings import Settings

TIMEOUT_SECONDS = 5.0


async def examine(settings: Settings) -> list[Finding]:
    """Look at every part."""
    findings = [
        Finding("settings", False, problem) for problem in (*settings.problems(), *problems(settings.model_prices))
    ]
    if not findings:
        findings.append(Finding("settings", True, f"{settings.environment}, model provider {settings.model_provider}"))
    findings += await _database(settings)
    findings.append(await _checkpoints(settings))
    findings.append(await _queue(settings))
    findings += await _model(settings)
    database = Database(settings.database_url)
    try:
        findings += await examine_sync(settings, database, TIMEOUT_SECONDS)
        findings += await examine_alerts(settings, database, TIMEOUT_SECONDS)
    finally:
        await database.close()
    return findings


async def _database(settings: Settings) -> list[Finding]:
    database = Database(settings.database_url)
    try:
        if await pending_revision(database):
            return [Finding("database", False, "the schema is behind: run `recado migrate`")]
        async with database.read() as session:
            counts = {
                name: await session.scalar(select(func.count()).select_from(model)) or 0
                for name, model in (
                    ("merchants", Merchant),
                    ("channels", ChannelAccount),
                    ("staff", MerchantUser),
                )
            }
            # Reading them decrypts them: a wrong SECRET_KEY shows here.
            accounts = list(await session.scalars(select(ChannelAccount).where(ChannelAccount.active)))
            merchants = {row.id: row for row in await session.scalars(select(Merchant))}
            disabled = list(await session.scalars(select(Campaign.name).where(~Campaign.enabled).distinct()))
    except (SQLAlchemyError, OSError) as error:
        return [Finding("database", False, f"cannot be used, check DATABASE_URL: {error}")]
    except RecadoError as error:
        return [Finding("credentials", False, str(error))]
    finally:
        await database.close()
    if not counts["merchants"]:
        return [Finding("merchants", False, "there is none: run `recado apply examples/bodega.yaml`, or your own file")]
    return [
        Finding("database", True, "reachable, schema up to date"),
        Finding("merchants", True, ", ".join(f"{count} {name}" for name, count in counts.items())),
        *(_templates(to_account(row), merchants[row.merchant_id].language) for row in accounts),
        *shared_addresses(settings, accounts, {row.id: row.sub_domain for row in merchants.values()}),
        *(Finding("campaigns", False, f"{name} is disabled: enable it, or run `recado apply`") for name in disabled),
    ]


def _templates(account: Account, language: str) -> Finding:
    """Whether this account can send everything outside the 24-hour window, in the merchant's own language."""
    part = f"{account.channel} {account.address}"
    if not RULES[account.channel].templates:
        return Finding(part, True, "has no templates: people are answered while their window is open")
    missing = [name for name in TEXTS if template_id(account, name, language) is None]
    if not missing:
        return Finding(part, True, "has every template")
    text = f"without template {', '.join(missing)} ({language}), which cannot be sent outside the 24-hour window"
    if set(missing).isdisjoint(DEFAULT_CAMPAIGNS):
        return Finding(part, True, text)
    remedy = "run `recado templates create`, or have them approved and name their ids under `templates`"
    return Finding(part, False, f"{text}: {remedy}")


async def _checkpoints(settings: Settings) -> Finding:
    try:
        async with open_checkpoints(settings.checkpoint_url):
            return Finding("checkpoints", True, "writable")
    except (RecadoError, OSError) as error:
        return Finding("checkpoints", False, f"cannot be written, check CHECKPOINT_URL: {error}")


async def _queue(settings: Settings) -> Finding:
    try:
        queue = make_queue(settings.queue_url)
        await queue.connect()
        waiting = await queue.count("queued")
        await queue.disconnect()
    except Exception as error:  # noqa: BLE001 - each queue has exceptions of its own
        return Finding("queue", False, f"cannot be used, check QUEUE_URL: {type(error).__name__}: {error}")
    return Finding("queue", True, f"{settings.queue_url.split('://')[0]}, {waiting} waiting")


async def _model(settings: Settings) -> list[Finding]:
    if settings.model_provider == "demo":
        return [Finding("model", True, "demo: answers by simple rules; set OPENAI_API_KEY for a real one")]
    base = settings.openai_base_url or "https://api.openai.com/v1"
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS) as client:
            answer = await client.get(
                f"{base.rstrip('/')}/models", headers={"Authorization": f"Bearer {settings.openai_api_key}"}
            )
    except httpx.HTTPError as error:
        return [Finding("model", False, f"{base} does not answer, check OPENAI_BASE_URL: {type(error).__name__}")]
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        return [Finding("model", False, "the provider refuses the key: check OPENAI_API_KEY")]
    if not answer.is_success:
        return [Finding("model", False, f"{base} answers HTTP {answer.status_code}")]
    offered = {str(model.get("id")) for model in answer.json().get("data", [])}
    return [_offered(settings, offered), _search(settings, offered)]


def _offered(settings: Settings, offered: set[str]) -> Finding:
    for setting in ("chat_model", "classifier_model", "localizer_model"):
        wanted = [name.strip() for name in getattr(settings, setting).split(",")]
        if offered and not offered & set(wanted):
            return Finding("model", False, f"none of {', '.join(wanted)} is offered: change {setting.upper()}")
    return Finding("model", True, f"reachable, {settings.chat_model} is offered")


def _search(settings: Settings, offered: set[str]) -> Finding:
    if offered and settings.embedding_model not in offered:
        return Finding("search", True, f"by word alone: {settings.embedding_model} is not offered, see EMBEDDING_MODEL")
    return Finding("search", True, f"by word and by meaning, with {settings.embedding_model}")
