"""`recado doctor --live` and `recado templates` as an operator meets them."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from recado.campaigns.templates import TEXTS
from recado.entrypoints.cli_templates import create, status
from recado.entrypoints.doctor import examine
from recado.entrypoints.doctor_live import examine_live
from recado.settings import Settings, get_settings
from tests.fakes.instagram_account import InstagramAccountFake
from tests.fakes.instagram_inbound import ACCESS_TOKEN as INSTAGRAM_TOKEN
from tests.fakes.instagram_inbound import ACCOUNT as INSTAGRAM_ID
from tests.fakes.meta_api import MetaFake
from tests.fakes.meta_inbound import ACCESS_TOKEN, PHONE_NUMBER_ID, WABA_ID
from tests.fakes.server import Fake, running
from tests.fakes.twilio_api import TwilioFake
from tests.fakes.twilio_inbound import ACCOUNT_SID, AUTH_TOKEN
from tests.processes import INHERITED, Done, run_forked
from tests.support import free_port, prepare_database

GOLDEN = Path(__file__).parent.parent / "golden" / "doctor"
PUBLIC = "https://recado.example"
SHOP = "+15550200123"
SECRETS = {"app_secret": "app-secret-1", "verify_token": "verify-token-1"}
QUESTION, ANSWER = "merchant_user_question_request", "merchant_user_question_answer"
TWILIO = {"kind": "twilio", "address": SHOP, "account_sid": ACCOUNT_SID, "auth_token": AUTH_TOKEN}
WHATSAPP = {"kind": "whatsapp", "phone_number_id": PHONE_NUMBER_ID, "waba_id": WABA_ID, "access_token": ACCESS_TOKEN}
INSTAGRAM = {"kind": "instagram", "instagram_id": INSTAGRAM_ID, "access_token": INSTAGRAM_TOKEN}


@dataclass(frozen=True, slots=True)
class Broken:
    """An account whose provider says much that is wrong."""

    channel: Mapping[str, Any]
    fake: type[Fake]
    setting: str
    script: Mapping[str, Any]


BROKEN = {
    "twilio": Broken(
        {**TWILIO, "messaging_service_sid": "MG" + "0" * 32, "templates": {QUESTION: {"es": "HX" + "7" * 32}}},
        TwilioFake,
        "twilio_api_base_url",
        {
            "account": {"status": "suspended"},
            "senders": [
                {
                    "sid": "XE" + "1" * 32,
                    "sender_id": f"whatsapp:{SHOP}",
                    "status": "OFFLINE",
                    "offline_reasons": [{"code": "63112", "message": "The account was\ndisabled by Meta"}],
                    "webhook": {"callback_url": "https://user:hush@old.example/twilio?key=hush"},
                    "properties": {"quality_rating": "LOW", "messaging_limit": "1K Customers/24hr"},
                }
            ],
        },
    ),
    "whatsapp": Broken(
        {**WHATSAPP, **SECRETS, "templates": {QUESTION: {"es": "asks"}, ANSWER: {"es": "tells", "en": "tells"}}},
        MetaFake,
        "meta_graph_base_url",
        {
            "debug": {"app_id": "777", "expires_at": 4_000_000_000},
            "numbers": {PHONE_NUMBER_ID: {"status": "FLAGGED", "quality_rating": "YELLOW"}},
            "templates": [
                {"name": "asks", "language": "es", "body": "x", "status": "REJECTED"},
                {"name": "tells", "language": "es", "body": "x", "category": "MARKETING"},
            ],
        },
    ),
    "instagram": Broken(
        {**INSTAGRAM, **SECRETS},
        InstagramAccountFake,
        "meta_graph_base_url",
        {"me": {"user_id": "999"}, "fields": ["comments"]},
    ),
}


def merchants(path: Path, *channels: Mapping[str, Any]) -> Path:
    spec = {"name": "Bodega", "sub_domain": "bodega", "language": "es", "channels": [dict(each) for each in channels]}
    path.write_text(yaml.safe_dump({"merchants": [spec]}), encoding="utf-8")
    return path


async def live(folder: Path, *channels: Mapping[str, Any], **settings: Any) -> list[str]:
    url = f"sqlite+aiosqlite:///{folder}/recado.db"
    await prepare_database(url, merchants(folder / "shop.yaml", *channels))
    findings = await examine_live(Settings(_env_file=None, database_url=url, public_base_url=PUBLIC, **settings))
    return [finding.line for finding in findings]


@pytest.mark.parametrize("kind", BROKEN)
async def test_a_broken_account_of_each_kind(tmp_path: Path, kind: str) -> None:
    broken = BROKEN[kind]
    with running(broken.fake()) as fake:
        fake.apply_script(broken.script)
        lines = await live(tmp_path, broken.channel, **{broken.setting: fake.url})
    said = "\n".join(lines) + "\n"
    assert not [secret for secret in (AUTH_TOKEN, ACCESS_TOKEN, INSTAGRAM_TOKEN, "hush", SHOP) if secret in said]
    assert said == (GOLDEN / f"{kind}.txt").read_text(encoding="utf-8")


async def test_every_account_is_looked_at_though_one_provider_is_away(tmp_path: Path) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    with running(TwilioFake()) as twilio:
        second = {**TWILIO, "address": "+15550200124"}
        channels = ({"kind": "simulator", "address": "+15550100"}, TWILIO, second, {**WHATSAPP, **SECRETS})
        lines = await live(tmp_path, *channels, twilio_api_base_url=twilio.url, meta_graph_base_url=away)
    parts = {line[6:].partition(":")[0] for line in lines}
    assert parts == {"bodega twilio +15…23", "bodega twilio +15…24", f"bodega whatsapp {PHONE_NUMBER_ID}"}
    assert [line for line in lines if "cannot connect to WhatsApp" in line]


async def test_an_answer_of_an_unknown_shape_is_a_finding(tmp_path: Path) -> None:
    with running(MetaFake()) as meta:
        meta.apply_script(
            {"debug": {"scopes": {"a": 1}, "expires_at": -5}, "numbers": {PHONE_NUMBER_ID: {"status": [1]}}}
        )
        lines = await live(tmp_path, {**WHATSAPP, **SECRETS}, meta_graph_base_url=meta.url)
    assert all(line.startswith(("ok ", "warn", "FAIL")) for line in lines)
    assert any(line.startswith("FAIL") for line in lines)


async def test_a_channel_without_templates_lacks_none(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/recado.db"
    await prepare_database(url, merchants(tmp_path / "shop.yaml", {**INSTAGRAM, **SECRETS}, {**WHATSAPP, **SECRETS}))
    findings = await examine(Settings(_env_file=None, database_url=url, checkpoint_url=f"sqlite:///{tmp_path}/c.db"))
    texts = {finding.part.split()[0]: finding for finding in findings}
    assert (texts["instagram"].ok, texts["instagram"].text[:16]) == (True, "has no templates")
    assert (texts["whatsapp"].ok, "`recado templates create`" in texts["whatsapp"].text) == (False, True)


async def test_nobody_to_ask(tmp_path: Path) -> None:
    [line] = await live(tmp_path, {"kind": "simulator", "address": "+15550100"})
    assert line.startswith("ok    providers: no active account")


class Terminal:
    """The command, on a database with one merchant at Twilio."""

    def __init__(self, folder: Path, twilio: TwilioFake) -> None:
        self.database = folder / "recado.db"
        self.folder = folder
        self.environment = INHERITED | {
            "DATABASE_URL": f"sqlite+aiosqlite:///{self.database}",
            "TWILIO_API_BASE_URL": twilio.url,
            "PUBLIC_BASE_URL": PUBLIC,
            "MODEL_PROVIDER": "demo",
        }

    def recado(self, *words: str) -> Done:
        done = run_forked(*words, folder=self.folder, environment=self.environment, timeout=180)
        assert "Traceback" not in done.stdout + done.stderr
        assert AUTH_TOKEN not in done.stdout + done.stderr
        return done

    def dump(self) -> list[str]:
        with closing(sqlite3.connect(self.database)) as connection:
            return list(connection.iterdump())


@pytest.fixture
def twilio() -> Iterator[TwilioFake]:
    with running(TwilioFake()) as fake:
        yield fake


async def test_the_commands(tmp_path: Path, twilio: TwilioFake) -> None:
    terminal = Terminal(tmp_path, twilio)
    url = f"sqlite+aiosqlite:///{terminal.database}"
    await prepare_database(url, merchants(tmp_path / "shop.yaml", TWILIO))
    before = terminal.dump()
    broken = terminal.recado("doctor", "--live")
    assert broken.returncode == 1
    assert "FAIL  bodega twilio +15…23: the account has no WhatsApp sender" in broken.stdout
    assert "run `recado templates create`" in broken.stdout
    planned = terminal.recado("templates", "create", "bodega", "--language", "es", "--dry-run")
    assert (planned.returncode, planned.stdout.count("to make")) == (0, len(TEXTS) + 1)
    assert terminal.dump() == before
    assert {entry["method"] for entry in twilio.requests.entries()} == {"GET"}
    made = terminal.recado("templates", "create", "bodega", "--language", "es", "--language", "en")
    assert made.returncode == 0, made.stdout + made.stderr
    assert len(twilio.content.made) == 2 * (len(TEXTS) + 1)
    [refused, *_] = [sid for sid, each in twilio.content.made.items() if each["friendly_name"] == f"{ANSWER}_es"]
    twilio.content.approve(refused, "rejected", rejection_reason="The template is too vague.")
    shown = terminal.recado("templates", "status", "bodega")
    assert shown.returncode == 0
    [line] = [line for line in shown.stdout.splitlines() if "rejected" in line]
    assert line.split()[:4] == ["rejected", "es", ANSWER, "UTILITY"]
    assert "The template is too vague.: give it other words" in line
    assert "`recado templates create` makes what is missing" in shown.stderr


@pytest.fixture
def settings(tmp_path: Path, twilio: TwilioFake, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """The settings of commands that run in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path}/recado.db")
    monkeypatch.setenv("TWILIO_API_BASE_URL", twilio.url)
    get_settings.cache_clear()
    yield get_settings()
    get_settings.cache_clear()


def test_what_cannot_be(settings: Settings, twilio: TwilioFake, capsys: pytest.CaptureFixture[str]) -> None:
    def ends(command: Callable[[], None], code: int) -> str:
        with pytest.raises((typer.Exit, typer.BadParameter)) as ended:
            command()
        assert ended.value.exit_code == code
        out = capsys.readouterr()
        return out.out + out.err

    assert "recado migrate" in ends(lambda: status("bodega"), 1)
    asyncio.run(prepare_database(settings.database_url, merchants(Path("shop.yaml"), TWILIO)))
    assert "`recado apply` creates it" in ends(lambda: create("nobody"), 1)
    ends(lambda: create("bodega", ["xx"]), 2)
    twilio.apply_script({"accounts": {ACCOUNT_SID: "another-token"}})
    assert "20003" in ends(lambda: status("bodega"), 1)
