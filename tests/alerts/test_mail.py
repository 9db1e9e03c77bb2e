"""Alerts by e-mail, through a real SMTP server."""

import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from structlog.testing import capture_logs

from recado.alerts.mail import MailChannel, Server, addresses_of, message_of, server_of
from recado.alerts.notice import Notice
from recado.errors import AlertFailed, ConfigurationError
from tests.alerts.notices import NOTICE, ONGOING, SUMMARY, notices
from tests.alerts.postbox import PASSWORD, USER, Postbox, certificate, serving
from tests.support import free_port

ZURICH = ZoneInfo("Europe/Zurich")
LOGIN = f"{quote(USER)}:{quote(PASSWORD, safe='')}@"


def channel_to(port: int, *, login: str = "", scheme: str = "smtp", to: str = "ops@example.com") -> MailChannel:
    return MailChannel(f"{scheme}://{login}127.0.0.1:{port}", "recado@example.com", to, ZURICH, seconds=3)


async def failure(channel: MailChannel) -> AlertFailed:
    with pytest.raises(AlertFailed) as caught:
        await channel.send(NOTICE)
    assert PASSWORD not in repr(caught.value)
    return caught.value


async def test_a_notice_with_all_that_is_known() -> None:
    async with serving(Postbox()) as postbox:
        await channel_to(postbox.port, to="ops@example.com, boss@example.com").send(SUMMARY)

    (message,) = postbox.messages
    assert postbox.recipients == [["ops@example.com", "boss@example.com"]]
    assert message["Subject"] == "🚨 Over: Delivery given up (Bodega Sol)"
    assert (message["From"], message["To"]) == ("recado@example.com", "ops@example.com, boss@example.com")
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "text/plain"
    assert message.get_content_charset() == "utf-8"
    assert message.get_content().replace("\r\n", "\n") == (
        "Over: Delivery given up\n\n"
        "The provider refused it: error 63016\n\n"
        "When: 2026-05-01 10:02:03 CEST\n"
        "Store: Bodega Sol\n"
        "Customer: Ana\n"
        "Phone: +51999999999\n"
        "Orders: 3\n"
        "Times: over: 10,000 times between 10:02 and 10:03\n"
        "Seen in: 10,000 conversations, 1 merchant\n"
        "Ids: turn_id 5, delivery_id 12\n\n"
        "Conversation: https://app.example.com/whatsapp/messages?conversationId=7\n"
        "Trace: https://langfuse.example.com/project/p/traces/abc\n"
        "Logs: https://railway.com/project/p/logs?environmentId=e\n"
        "Issue OPS-1: https://linear.app/recado/issue/OPS-1/an-issue\n"
    )


async def test_no_text_becomes_a_header() -> None:
    evil = "hello\r\nBcc: everyone@example.com\r\n\r\nbody\n.\nQUIT"
    notice = replace(NOTICE, title=evil, description=evil, store_name=evil, linear_identifier=evil)
    async with serving(Postbox()) as postbox:
        await channel_to(postbox.port).send(notice)
    (message,) = postbox.messages
    assert message["Bcc"] is None
    assert postbox.recipients == [["ops@example.com"]]
    assert "hello Bcc: everyone@example.com" in message["Subject"]
    assert "\n.\n" in message.get_content().replace("\r\n", "\n")


def test_the_same_notice_has_the_same_id_and_later_ones_follow_it() -> None:
    def ids(notice: Notice) -> tuple[str, str | None]:
        message = message_of(notice, "recado@example.com", ["ops@example.com"], ZURICH)
        return message["Message-ID"], message["In-Reply-To"]

    first, follows = ids(NOTICE)
    assert follows is None
    assert first.endswith("@example.com>")
    assert ids(NOTICE) == (first, None)
    assert ids(replace(NOTICE, description="another"))[0] != first
    assert ids(ONGOING)[1] == ids(SUMMARY)[1] == first
    assert len({first, ids(ONGOING)[0], ids(SUMMARY)[0], ids(replace(ONGOING, count=58))[0]}) == 4


@hypothesis_settings(max_examples=40, deadline=None)
@given(notices())
def test_any_notice_is_a_message(notice: Notice) -> None:
    message = message_of(notice, "recado@example.com", ["ops@example.com"], ZURICH)
    expected = ["Subject", "From", "To", "Date", "Auto-Submitted", "Message-ID"]
    expected += [] if notice.kind == "first" else ["References", "In-Reply-To"]
    content = ["Content-Type", "Content-Transfer-Encoding", "MIME-Version"]
    assert sorted(message.keys()) == sorted(expected + content)
    assert bytes(message)
    assert 0 < len(message["Subject"]) <= 150


@pytest.mark.parametrize("way", ["starttls", "smtps"])
async def test_the_login_goes_through_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    context, file = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    options = {"tls": context} if way == "smtps" else {"tls_context": context, "require_starttls": True}
    async with serving(Postbox(), **options) as postbox:  # type: ignore[arg-type]
        await channel_to(postbox.port, login=LOGIN, scheme="smtps" if way == "smtps" else "smtp").send(NOTICE)
    assert (postbox.encrypted, postbox.logins) == ([True], [(USER, PASSWORD)])


async def test_a_certificate_of_nobody_is_refused(tmp_path: Path) -> None:
    context, _ = certificate(tmp_path)
    async with serving(Postbox(), tls_context=context) as postbox:
        assert not (await failure(channel_to(postbox.port, login=LOGIN))).permanent
    assert (postbox.messages, postbox.logins) == ([], [])


async def test_a_wrong_login_is_for_good() -> None:
    async with serving(Postbox()) as postbox:
        error = await failure(channel_to(postbox.port, login="ana:wrong@"))
    assert error.permanent
    assert str(error) == "the mail server refuses the login (SMTP 535): check user and password in SMTP_URL"


@pytest.mark.parametrize(
    ("refuses", "permanent"),
    [
        ({"ops@example.com": "550 no such user"}, True),
        ({"ops@example.com": "451 try again later"}, False),
        ({"MAIL": "553 sender refused"}, True),
        ({"DATA": "554 looks like spam"}, True),
        ({"DATA": "452 full"}, False),
    ],
)
async def test_a_refusal_is_for_good_or_passes(refuses: dict[str, str], permanent: bool) -> None:
    async with serving(Postbox(refuses)) as postbox:
        error = await failure(channel_to(postbox.port))
    assert error.permanent is permanent
    assert "SMTP" in str(error)


async def test_who_can_be_written_to_is() -> None:
    async with serving(Postbox({"gone@example.com": "550 no such user"})) as postbox:
        with capture_logs() as logs:
            await channel_to(postbox.port, to="gone@example.com,ops@example.com").send(NOTICE)
    assert postbox.recipients == [["ops@example.com"]]
    assert [(line["refused"], line["codes"]) for line in logs] == [(1, [550])]


async def test_a_server_that_hangs_is_left() -> None:
    async with serving(Postbox(hangs=True)) as postbox:
        channel = MailChannel(f"smtp://127.0.0.1:{postbox.port}", "", "ops@example.com", ZURICH, seconds=0.3)
        began = time.monotonic()
        assert not (await failure(channel)).permanent
    assert time.monotonic() - began < 2


async def test_nobody_there_passes() -> None:
    assert not (await failure(channel_to(free_port()))).permanent


@pytest.mark.parametrize(
    ("url", "sender", "to"),
    [
        ("mail", "", "a@b.ch"),
        ("http://h", "", "a@b.ch"),
        ("smtp://h", "", ""),
        ("smtp://h", "", "a\nb"),
        ("smtp://h", "x", "a@b.ch"),
    ],
)
async def test_settings_that_cannot_work_are_for_good(url: str, sender: str, to: str) -> None:
    assert (await failure(MailChannel(url, sender, to, ZURICH))).permanent


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example.com", Server("mail.example.com", 587, False)),
        ("smtps://mail.example.com", Server("mail.example.com", 465, True)),
        (f"smtp://{LOGIN}h:25/", Server("h", 25, False, USER, PASSWORD)),
        ("smtp://", None),
        ("smtp://h:port", None),
        ("smtp://h/path", None),
        ("mail.example.com:587", None),
        ("smtp://[::1", None),
    ],
)
def test_a_server_is_read_from_its_address(url: str, server: Server | None) -> None:
    assert server_of(url) == server
    assert PASSWORD not in repr(server)


def test_addresses_are_read_from_a_setting() -> None:
    assert addresses_of(" a@b.ch, ,c.d+e@f.example ") == ["a@b.ch", "c.d+e@f.example"]


@pytest.mark.parametrize(
    "setting", ["a", "a@", "@b.ch", "a@b.ch c@d.ch", "a@b.ch\r\nBcc: c@d.ch", "Ana <a@b.ch>", "ñ@b.ch"]
)
def test_what_is_no_address_is_refused(setting: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is no e-mail address; give addresses like"):
        addresses_of(setting)


@pytest.mark.parametrize(
    ("url", "demanded"),
    [
        ("smtp://user:secret@mail.example.com:587", True),
        ("smtp://user:secret@127.0.0.1:2525", None),
        ("smtp://mail.example.com", None),
        ("smtps://user:secret@mail.example.com", None),
    ],
)
def test_a_password_leaves_this_machine_encrypted(url: str, demanded: bool | None) -> None:
    server = server_of(url)
    assert server is not None
    assert server.start_tls is demanded
