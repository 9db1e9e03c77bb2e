"""Fetching files from providers: nothing else is connected to, nothing larger is kept, no credentials go astray."""

import gzip
import io
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recado.channels.download import Trusted, _check, content_type_of, fetch_file
from recado.errors import AccountRefused, MediaRefused, Permanent, Retryable
from tests.fakes.server import running
from tests.media.host import PNG, FileHost, Served, redirect

API, CDN = "api.provider.example", "cdn.files.example"
HOSTS = frozenset({API, ".files.example"})
SECRET = {"Authorization": "Bearer of the merchant"}


@pytest.fixture(scope="module")
def server() -> Iterator[FileHost]:
    with running(FileHost()) as fake:
        yield fake


@pytest.fixture
def host(server: FileHost) -> FileHost:
    server.reset()
    return server


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=10.0, trust_env=False, headers={"Cookie": "of=another"}) as client:
        yield client


async def fetch(
    client: httpx.AsyncClient, host: FileHost, url: str, file: io.BytesIO | None = None, **more: Any
) -> tuple[bytes, str | None]:
    file = file or io.BytesIO()
    about: dict[str, Any] = {"limit": 10_000, "headers": SECRET, "auth_hosts": (API,), **more}
    told = await fetch_file(client, url, trusted=Trusted(HOSTS, host.url), file=file, **about)
    return file.getvalue(), told


async def test_a_file_and_its_type(client: httpx.AsyncClient, host: FileHost) -> None:
    host.serve("/media/1", Served(PNG, "Image/PNG; charset=binary"))
    assert await fetch(client, host, f"https://{API}/media/1?size=2") == (PNG, "image/png")
    [entry] = host.requests.entries("file")
    assert entry["query"] == {"size": "2"}
    assert entry["headers"]["authorization"] == SECRET["Authorization"]
    assert entry["headers"]["accept-encoding"] == "identity"
    assert "cookie" not in entry["headers"]


@pytest.mark.parametrize("told", [None, "", "nonsense", "image/png\x80", "a/" + "b" * 100])
def test_what_is_no_type_is_none(told: str | None) -> None:
    assert content_type_of(told) is None


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_credentials_are_not_sent_on(client: httpx.AsyncClient, host: FileHost, status: int) -> None:
    host.serve("/media/1", redirect(f"https://{CDN}/signed?x=1", status))
    host.serve("/signed", Served(PNG))
    assert (await fetch(client, host, f"https://{API}/media/1"))[0] == PNG
    assert "authorization" in host.headers_of("/media/1")
    assert not {"authorization", "cookie"} & host.headers_of("/signed").keys()


async def test_what_the_client_sends_by_itself_is_not_sent_to_a_host_of_files(host: FileHost) -> None:
    host.serve("/signed", Served(PNG))
    async with httpx.AsyncClient(timeout=10.0, trust_env=False, headers=SECRET, auth=("user", "password")) as client:
        await fetch(client, host, f"https://{CDN}/signed")
    assert "authorization" not in host.headers_of("/signed")


@pytest.mark.parametrize("to", ["/media/2", "//api.provider.example/media/2", "{url}/media/2"])
async def test_a_redirect_may_be_relative_and_may_name_the_replaced_host(
    client: httpx.AsyncClient, host: FileHost, to: str
) -> None:
    host.serve("/media/1", redirect(to.format(url=host.url)))
    host.serve("/media/2", Served(PNG))
    assert (await fetch(client, host, f"https://{API}/media/1"))[0] == PNG
    assert host.headers_of("/media/2")["authorization"] == SECRET["Authorization"]


@pytest.mark.parametrize(
    "to",
    [
        "https://evil.example/x",
        "//evil.example/x",
        "http://169.254.169.254/latest/meta-data/",
        "https://127.0.0.1/x",
        f"http://{API}/x",
        f"https://{API}@evil.example/x",
        f"https://{API}:8443/x",
        "file:///etc/passwd",
        "https://files.example/x",
        "https://[::1]/x",
        "\\\\evil.example\\x",
    ],
)
async def test_a_redirect_to_a_foreign_host_is_refused(client: httpx.AsyncClient, host: FileHost, to: str) -> None:
    host.serve("/media/1", redirect(to))
    with pytest.raises(MediaRefused) as refused:
        await fetch(client, host, f"https://{API}/media/1")
    assert refused.value.foreign
    assert host.asked() == ["/media/1"]


async def test_nobody_is_redirected_for_ever(client: httpx.AsyncClient, host: FileHost) -> None:
    host.serve("/round", redirect("/round"))
    with pytest.raises(MediaRefused, match="redirects"):
        await fetch(client, host, f"https://{API}/round")
    assert len(host.asked()) == 6


async def test_five_redirects_are_followed(client: httpx.AsyncClient, host: FileHost) -> None:
    for number in range(5):
        host.serve(f"/{number}", redirect(f"/{number + 1}"))
    host.serve("/5", Served(PNG))
    assert (await fetch(client, host, f"https://{API}/0"))[0] == PNG


@pytest.mark.parametrize("streamed", [False, True], ids=["announced", "streamed"])
async def test_what_is_too_large_is_refused(client: httpx.AsyncClient, host: FileHost, streamed: bool) -> None:
    host.serve("/big", Served(b"x" * 10_001, streamed=streamed))
    host.serve("/fits", Served(b"x" * 10_000, streamed=streamed))
    file = io.BytesIO()
    with pytest.raises(MediaRefused, match="larger"):
        await fetch(client, host, f"https://{API}/big", file)
    assert len(file.getvalue()) <= 10_000
    assert len((await fetch(client, host, f"https://{API}/fits"))[0]) == 10_000


async def test_what_was_not_to_be_compressed_is_refused(client: httpx.AsyncClient, host: FileHost) -> None:
    host.serve("/bomb", Served(gzip.compress(bytes(1_000_000)), headers={"content-encoding": "gzip"}))
    with pytest.raises(MediaRefused, match="compressed"):
        await fetch(client, host, f"https://{API}/bomb")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, Permanent),
        (401, AccountRefused),
        (403, AccountRefused),
        (404, Permanent),
        (410, Permanent),
        (408, Retryable),
        (429, Retryable),
        (500, Retryable),
        (503, Retryable),
        (204, Permanent),
    ],
)
async def test_refusals(client: httpx.AsyncClient, host: FileHost, status: int, error: type[Exception]) -> None:
    host.serve("/x", Served(b"", status=status, headers={"retry-after": "7"}))
    with pytest.raises(error) as raised:
        await fetch(client, host, f"https://{API}/x")
    assert type(raised.value) is error
    if type(raised.value) is Retryable:
        assert raised.value.retry_after == 7


async def test_what_breaks_off_may_be_tried_again_into_the_same_file(client: httpx.AsyncClient, host: FileHost) -> None:
    host.serve("/x", Served(b"y" * 500, cut_after=400), Served(PNG))
    file = io.BytesIO()
    with pytest.raises(Retryable):
        await fetch(client, host, f"https://{API}/x", file)
    assert (await fetch(client, host, f"https://{API}/x", file))[0] == PNG


async def test_nobody_is_waited_for_for_ever(host: FileHost) -> None:
    host.serve("/slow", Served(PNG, hold="never"))
    async with httpx.AsyncClient(timeout=0.2, trust_env=False) as client:
        with pytest.raises(Retryable):
            await fetch(client, host, f"https://{API}/slow")


async def test_without_a_replacement_only_https_is_spoken(client: httpx.AsyncClient, host: FileHost) -> None:
    host.serve("/x", Served(PNG))
    with pytest.raises(MediaRefused) as refused:
        await fetch_file(client, f"{host.url}/x", trusted=Trusted(HOSTS), file=io.BytesIO(), limit=9)
    assert refused.value.foreign
    assert host.asked() == []


@pytest.mark.parametrize("base_url", ["", "http://127.0.0.1:9"])
@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "https://",
        f"http://{API}/x",
        f"ftp://{API}/x",
        f"https://user@{API}/x",
        f"https://{API}:secret@evil.example/x",
        f"https://{API}:8443/x",
        f"https://{API}:/x",
        f"https://{API}.evil.example/x",
        f"https://{API}./x",
        f"https://evil.example/{API}",
        f"https://evil.example\\@{API}/x",
        f"https://{API}\\.evil.example/x",
        f"https://{API}#@evil.example/x",
        f"https://{API}%2eevil.example/x",
        f"https://{API}\t.evil.example/x",
        f" https://{API}/x",
        f"https://{API}/x\n",
        f"https://{API}/a b",
        f"https:/{API}/x",
        f"https:{API}/x",
        "https://api.provider.exämple/x",
        "https://ａpi.provider.example/x",
        "https://api。provider。example/x",
        "https://files.example/x",
        "https://.files.example/x",
        "https://evilfiles.example/x",
        "https://-.files.example/x",
        "https://a..files.example/x",
        "https://127.0.0.1/x",
        "https://2130706433/x",
        "https://0x7f.1/x",
        "https://999.999.999.999/x",
        "https://[::1]/x",
        "https://localhost/x",
        "http://127.0.0.1:9.evil.example/x",
        "http://127.0.0.1:9@evil.example/x",
        "http://127.0.0.1:99/x",
        "http://169.254.169.254/x",
        f"https://{API}/{'x' * 9_000}",
    ],
)
def test_an_address_that_is_not_the_providers_is_refused(url: str, base_url: str) -> None:
    with pytest.raises(MediaRefused) as refused:
        _check(url, Trusted(HOSTS, base_url), (API,))
    assert refused.value.foreign


@pytest.mark.parametrize(
    ("url", "at", "is_for_us"),
    [
        (f"https://{API}/x?y=1", f"https://{API}/x?y=1", True),
        (f"HTTPS://{API.upper()}/x", f"https://{API}/x", True),
        (f"https://{API}:443/x", f"https://{API}/x", True),
        (f"https://{API}", f"https://{API}", True),
        (f"https://{CDN}/a@b", f"https://{CDN}/a@b", False),
        ("https://a-b.c.files.example/x", "https://a-b.c.files.example/x", False),
    ],
)
def test_an_address_of_the_providers(url: str, at: str, is_for_us: bool) -> None:
    place = _check(url, Trusted(HOSTS), (API,))
    assert (str(httpx.URL(place.at)), place.is_for_us) == (at, is_for_us)
    replaced = _check(url, Trusted(HOSTS, "http://127.0.0.1:9"), (API,))
    assert replaced.at.startswith("http://127.0.0.1:9/")


def _readers(url: str) -> set[str]:
    """The host by each of two readers of addresses."""
    return {(urlsplit(url).hostname or "").lower(), httpx.URL(url).host.lower()}


PIECES = st.sampled_from(
    [
        *(
            "https://",
            "http://",
            "//",
            "/",
            "\\",
            "@",
            ":",
            ":443",
            ":80",
            "#",
            "?",
            "%2e",
            "%40",
            ".",
            "..",
            "\t",
            "\n",
        ),
        *(
            "[::1]",
            "127.0.0.1",
            "evil.example",
            API,
            CDN,
            ".files.example",
            "files.example",
            "ａ",
            "。",
            "\u200b",
            "\x00",
        ),
    ]
)


@given(st.lists(PIECES, min_size=1, max_size=8).map("".join) | st.text(max_size=40).map(lambda text: f"https://{text}"))
def test_whatever_is_let_through_is_at_a_trusted_host_for_everybody(url: str) -> None:
    """Every reader of addresses sees the same, trusted host; all else is refused and nothing else is raised."""
    try:
        place = _check(url, Trusted(HOSTS), (API,))
    except MediaRefused:
        return
    for written in (url, place.at):
        [host] = _readers(written)
        assert host == API or host.endswith(".files.example")
        assert urlsplit(written).username is None
        assert urlsplit(written).port in (None, 443)
    assert place.is_for_us == (_readers(url) == {API})
