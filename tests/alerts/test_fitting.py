"""Texts of people, made to fit and to show as they were written."""

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recado.alerts.fitting import LONGEST_URL, escaped, fit, one_line, plain, size, web_url
from tests.alerts.notices import TEXTS, URLS

_ESCAPE = re.compile(r"\\([^0-9A-Za-z\s])")
"""What Discord's Markdown takes for an escape."""


def shown(markdown: str) -> str:
    """As a person sees it, if nothing but escapes is in it."""
    return _ESCAPE.sub(r"\1", markdown)


@settings(deadline=None)
@given(TEXTS.map(plain))
def test_what_is_escaped_shows_as_it_was_written(text: str) -> None:
    written = escaped(text)
    rest = _ESCAPE.sub("", written)

    assert shown(written) == text
    assert not re.search(r"[\\`*_~|<>\[\]()#@]", rest)
    assert not re.search(r"^[ \t]*(-|\d+[.)])", written, re.MULTILINE)
    assert not re.search(r"\w://", written)


@settings(deadline=None)
@given(TEXTS.map(plain), st.integers(1, 5_000))
def test_what_is_cut_is_within_the_limit_and_cut_between_characters(text: str, limit: int) -> None:
    written = fit(text, limit, escaped)

    assert size(written) <= limit
    assert len(written) <= size(written)
    if size(escaped(text)) <= limit:
        assert written == escaped(text)
    else:
        assert written.endswith("…")
        assert text.startswith(shown(written[:-1]))


@settings(deadline=None)
@given(TEXTS)
def test_plain_texts_can_be_sent_and_turn_nothing(text: str) -> None:
    found = plain(text)

    assert found.encode("utf-8").decode("utf-8") == found.strip()
    assert not {"\0", "\u202e", "\u2066", "\u200f"} & set(found)
    assert "\n" not in one_line(text)
    assert not found or any(unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Zs"} for character in found)


@pytest.mark.parametrize("text", ["", " \n", "\u200b\u200d", "\0\x1b", "\ud800", "\u202e", "\ufeff\u3164"])
def test_what_nobody_can_see_is_nothing(text: str) -> None:
    assert plain(text) == ""


def test_nothing_turns_the_direction_of_what_follows() -> None:
    assert plain("a\u202eb\u2066c\u200fd\u061ce\u2069") == "abcde"
    assert plain("سلام 👩‍👩‍👧 ⚠️") == "سلام 👩‍👩‍👧 ⚠️"


def test_a_cut_never_halves_a_character_that_counts_twice() -> None:
    assert fit("🚨" * 10, 8) == "🚨🚨🚨…"
    assert fit("🚨" * 4, 8) == "🚨" * 4


@pytest.mark.parametrize(
    ("given_url", "found"),
    [
        ("https://app.example.com/a?b=c#d", "https://app.example.com/a?b=c#d"),
        (" HTTP://Example.com/x ", "http://example.com/x"),
        ("https://example.com/a(b)|<c> d", "https://example.com/a%28b%29%7C%3Cc%3E%20d"),
        ("https://bücher.example/é", "https://xn--bcher-kva.example/%C3%A9"),
        ("http://localhost:3000/x", "http://localhost:3000/x"),
    ],
)
def test_an_address_is_encoded_to_stand_in_markdown(given_url: str, found: str) -> None:
    assert web_url(given_url) == found


@pytest.mark.parametrize(
    "given_url",
    [
        None,
        "",
        "example.com",
        "javascript:alert(1)",
        "ftp://example.com/",
        "https://",
        "https:///path",
        "https://discord.com@evil.example/",
        "https://user:password@example.com/",
        "https://exa mple.com/",
        "https://example.com:99999/",
        "http://[::1",
        "https://example.com/" + "x" * LONGEST_URL,
        "https://example.com/" + "é" * 500,
        "https://a.b/\ud800",
        "https://ex\u202eample.com/",
    ],
)
def test_what_is_no_web_address_is_none(given_url: str | None) -> None:
    assert web_url(given_url) is None


@settings(deadline=None)
@given(URLS)
def test_any_address_is_safe_or_none(given_url: str | None) -> None:
    found = web_url(given_url)
    if found is not None:
        assert re.fullmatch(r"https?://[!-'*-;=?-{}~]+", found)
        assert len(found) <= LONGEST_URL
