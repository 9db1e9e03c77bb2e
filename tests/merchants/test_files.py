"""Bad files: each is refused with its name, line and reason, and nothing of it is applied."""

import re
import sqlite3
from pathlib import Path

import pytest

from recado.campaigns.apply import read_file
from recado.db.engine import Database
from recado.db.migrate import migrate
from recado.errors import ConfigurationError
from tests.processes import INHERITED, Done, run_forked
from tests.support import BODEGA

HEAD = """\
merchants:
  - name: Bodega
    sub_domain: bodega
    channels:
      - {kind: simulator, address: "+15550100"}
"""
SECOND = HEAD.removeprefix("merchants:\n")
CLOSED = '    templates: {{merchant_user_notification_closed: {{{0}: "{1}"}}}}\n'
"""A merchant's own words, in a language, for a template whose only variable is notification_id."""

BAD: dict[str, tuple[str | bytes, int, str]] = {
    "syntax": (HEAD + "    staff: [\n", 7, "expected the node content"),
    "tab": ("merchants:\n\t- name: x\n", 2, "cannot start any token"),
    "unclosed quote": ('merchants:\n  - name: "x\n', 3, "unexpected end of stream"),
    "two documents": (HEAD + "---\nmerchants: []\n", 6, "but found another document"),
    "unknown key": (HEAD + "    colour: red\n", 6, "merchants.0.colour: Extra inputs are not permitted"),
    "unknown key above": ("shops: []\n" + HEAD, 1, "shops: Extra inputs are not permitted"),
    "wrong staff phone": (
        HEAD + '    staff:\n      - {name: R, phone: "12", types: [a]}\n',
        7,
        "'12' is no phone number in E.164 form",
    ),
    "impossible phone": (
        HEAD + '    staff:\n      - {name: R, phone: "+5190", types: [a]}\n',
        7,
        "no possible phone number",
    ),
    "phone without quotes": (
        HEAD + "    staff:\n      - {name: R, phone: 51900000001, types: [a]}\n",
        7,
        "should be a valid string",
    ),
    "wrong channel address": (HEAD.replace("+15550100", "shop"), 5, "'shop' is no phone number"),
    "unknown channel": (
        HEAD.replace("simulator", "carrier-pigeon"),
        5,
        "Input should be 'simulator', 'twilio', 'whatsapp' or 'instagram'",
    ),
    "missing auth_token": (
        HEAD.replace("kind: simulator", f"kind: twilio, account_sid: AC{'0' * 32}"),
        5,
        "a twilio channel needs account_sid and auth_token",
    ),
    "wrong account_sid": (HEAD.replace("kind: simulator", "kind: twilio, account_sid: AC1"), 5, "account_sid"),
    "no channel": (
        'merchants:\n  - name: B\n    sub_domain: "b"\n    channels: []\n',
        4,
        "at least 1 item",
    ),
    "no name": (HEAD.replace("- name: Bodega\n    sub", "- sub"), 2, "merchants.0.name: Field required"),
    "empty name": (HEAD.replace("name: Bodega", 'name: " "'), 2, "at least 1 character"),
    "wrong sub_domain": (HEAD.replace("sub_domain: bodega", "sub_domain: Bodega Sol"), 3, "should match pattern"),
    "unknown time zone": (HEAD + "    timezone: America/Lime\n", 6, "'America/Lime' is no time zone"),
    "wrong language": (HEAD + "    language: spanish\n", 6, "should match pattern"),
    "no types": (HEAD + '    staff:\n      - {name: R, phone: "+51900000001", types: []}\n', 7, "at least 1 item"),
    "unknown category": (
        HEAD + "    documents:\n      - {category: joke, title: a, content: b}\n",
        7,
        "Input should be 'faq' or 'support_classification'",
    ),
    "double merchant": (HEAD + SECOND.replace("+15550100", "+15550200"), 1, "the same sub_domain stands here twice"),
    "double channel": (HEAD + SECOND.replace("sub_domain: bodega", "sub_domain: b2"), 1, "the same channel stands"),
    "double staff": (
        HEAD + "    staff:\n" + '      - {name: R, phone: "+51900000001", types: [a]}\n' * 2,
        1,
        "the same staff phone of bodega stands here twice: +51900000001",
    ),
    "double document": (
        HEAD + "    documents:\n" + "      - {category: faq, title: a, content: b}\n" * 2,
        1,
        "the same document of bodega stands here twice: faq a",
    ),
    "double key": (HEAD + "    staff: []\n    staff: []\n", 7, "the key 'staff' stands here twice"),
    "missing variable": (
        HEAD + "    bot_id: ${NO_SUCH_VARIABLE_ANYWHERE}\n",
        6,
        "set the environment variable NO_SUCH_VARIABLE_ANYWHERE",
    ),
    "empty": ("", 1, "valid dictionary"),
    "only a comment": ("# nothing\n", 1, "valid dictionary"),
    "no merchants": ("merchants: []\n", 1, "at least 1 item"),
    "a list": ("- name: x\n", 1, "valid dictionary"),
    "a word": ("merchants\n", 1, "valid dictionary"),
    "a list of words": ("merchants: [x]\n", 1, "merchants.0: Input should be a valid dictionary"),
    "not UTF-8": (HEAD.encode() + b"    bot_id: \xff\n", 6, "is no UTF-8 text"),
    "UTF-16": (HEAD.encode("utf-16"), 1, "is no UTF-8 text"),
    "control characters": (HEAD + "    bot_id: a\x00b\n", 6, "character 0x0 is not allowed"),
    "number as key": (HEAD + "    5: x\n", 6, "5"),
    "list as key": (HEAD + "    [a, b]: x\n", 6, "unhashable key"),
    "a date that is none": (HEAD + "    bot_id: 2026-13-45\n", 6, "month must be in 1..12"),
    "a tag": (HEAD + "    bot_id: !!python/object/apply:os.system [ls]\n", 6, "could not determine a constructor"),
    "an unknown anchor": (HEAD + "    bot_id: *nobody\n", 6, "undefined alias"),
    "an unknown template": (HEAD + "    templates: {hello: {es: Hola}}\n", 6, "no template 'hello'"),
    "a template's language": (HEAD + CLOSED.format("de", "Die Frage {{notification_id}} ist zu."), 6, "not 'de'"),
    "a template's variables": (HEAD + CLOSED.format("es", "La consulta {{question}} está cerrada."), 6, "variables"),
    "a variable first": (HEAD + CLOSED.format("es", "{{notification_id}} está cerrada, gracias."), 6, "neither first"),
    "too few words": (HEAD + CLOSED.format("es", "Fin de {{notification_id}}."), 6, "neither first"),
    "a template too long": (HEAD + CLOSED.format("es", "x {{notification_id}} " + "y " * 600), 6, "too little"),
    "an escalation before the reminder": (
        HEAD + "    reminder_minutes: 30\n    escalation_minutes: 30\n",
        7,
        "must be more than reminder_minutes",
    ),
    "contains itself": ("merchants: &a\n  - *a\n", 1, ""),
    "a deep nest": ("merchants: " + "[" * 5_000 + "]" * 5_000, 1, "nested too deeply"),
}


@pytest.mark.parametrize("name", BAD)
def test_it_says_where_and_why(tmp_path: Path, name: str) -> None:
    content, line, reason = BAD[name]
    file = tmp_path / "shop.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigurationError) as refused:
        read_file(file)
    first = str(refused.value).splitlines()[0]
    assert re.match(rf"{re.escape(str(file))}:{line}: .", first), first
    assert reason in str(refused.value)


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(HEAD + "    timezone: Nowhere\n    language: xyz\n    colour: red\n")
    with pytest.raises(ConfigurationError) as refused:
        read_file(file)
    assert [line.split(":")[1] for line in str(refused.value).splitlines()] == ["7", "6", "8"]


def test_secrets_are_not_in_the_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", "s3cr3t!")
    file = tmp_path / "shop.yaml"
    wrong = f'{{kind: twilio, address: "x", account_sid: AC{"0" * 32}, auth_token: "${{A_TOKEN}}"}}'
    file.write_text(HEAD.replace('{kind: simulator, address: "+15550100"}', wrong))
    with pytest.raises(ConfigurationError) as refused:
        read_file(file)
    assert "auth_token" in str(refused.value)
    assert "s3cr3t!" not in str(refused.value)


def test_variables_are_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_NAME", "Bodega ${NOT_AGAIN}: {a}")
    file = tmp_path / "shop.yaml"
    file.write_text("\ufeff" + HEAD.replace("Bodega", '"La ${SHOP_NAME}"'))
    assert read_file(file).merchants[0].name == "La Bodega ${NOT_AGAIN}: {a}"


def test_numbers_are_normalised(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(HEAD.replace("+15550100", "+51 900-000 001"))
    assert read_file(file).merchants[0].channels[0].address == "+51900000001"


def test_the_example_is_good() -> None:
    (merchant,) = read_file(BODEGA).merchants
    assert [person.name for person in merchant.staff] == ["Rosa", "Luis"]


def recado(folder: Path, *arguments: str) -> Done:
    """The command as an operator runs it, in a folder of its own."""
    environment = INHERITED | {"DATABASE_URL": f"sqlite+aiosqlite:///{folder}/recado.db"}
    return run_forked(*arguments, folder=folder, environment=environment)


def merchants_in(folder: Path) -> list[str]:
    connection = sqlite3.connect(folder / "recado.db")
    try:
        return [name for (name,) in connection.execute("SELECT sub_domain FROM merchants ORDER BY id")]
    finally:
        connection.close()


async def test_the_command_applies_all_or_nothing(tmp_path: Path) -> None:
    """One test, since each start of the command takes seconds."""
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(HEAD)
    bad.write_text(HEAD + SECOND.replace("bodega", "b2").replace("+15550100", "+15550200") + "    timezone: Nowhere\n")

    database = Database(f"sqlite+aiosqlite:///{tmp_path}/recado.db")
    await migrate(database)
    await database.close()

    refused = recado(tmp_path, "apply", str(bad))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith(f"{bad}:10: merchants.1.timezone:")
    missing = recado(tmp_path, "apply", str(tmp_path / "nobody.yaml"))
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr == f"{tmp_path}/nobody.yaml: cannot be read: No such file or directory\n"
    assert merchants_in(tmp_path) == []

    applied = recado(tmp_path, "apply", str(good))
    assert (applied.returncode, applied.stderr) == (0, "")
    assert applied.stdout == (
        "merchant bodega: created\nchannel simulator +15550100: created\nservice campaigns of bodega: 4 enabled\n"
    )
    assert merchants_in(tmp_path) == ["bodega"]
