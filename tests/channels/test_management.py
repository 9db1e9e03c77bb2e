"""What is common to all providers: names, words and the choice of a remedy."""

import pytest

from recado.channels.management import (
    ANY,
    Approval,
    Check,
    Expected,
    NewTemplate,
    failed,
    find,
    free_name,
    is_limit,
    one_line,
    own_language,
    own_name,
    provider_language,
    remedy_of,
    shown_url,
    template_checks,
    with_id,
)
from recado.errors import AccountRefused, Permanent, Retryable

QUESTION = NewTemplate(
    "merchant_user_question_request",
    "es",
    "Consulta {{id}} de {{phone}}: «{{question}}», dice {{phone}} hoy.",
    {"id": "NOTIF_1", "phone": "+51 900", "question": "¿Envían?"},
)


def test_variables_are_numbered_in_the_order_of_their_first_use() -> None:
    assert QUESTION.numbered == "Consulta {{1}} de {{2}}: «{{3}}», dice {{2}} hoy."


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("merchant_user_question_request", "merchant_user_question_request"),
        ("merchant_user_question_request_v3", "merchant_user_question_request"),
        ("customer_answer_ready_pt", "customer_answer_ready"),
        ("customer_answer_ready_fr_v12", "customer_answer_ready"),
        ("summer_sale", "summer_sale"),
    ],
)
def test_names_lose_language_and_version(theirs: str, ours: str) -> None:
    assert own_name(theirs) == ours


def test_portuguese_has_a_country_at_whatsapp() -> None:
    assert [provider_language(code) for code in ("es", "en", "pt", "fr")] == ["es", "en", "pt_BR", "fr"]
    assert [own_language(code) for code in ("es", "pt_BR", "pt_PT")] == ["es", "pt", "pt_PT"]


def test_a_template_is_known_by_its_name_language_and_words() -> None:
    body = QUESTION.numbered
    mine = Approval("approved", "HX2", body=body)
    listing = {
        "merchant_user_question_request_es": {"es": Approval("approved", "HX1", body="Otra {{1}} cosa")},
        "merchant_user_question_request_es_v2": {"es": mine, "en": Approval("approved", "HX3", body=body)},
        "somebody_elses": {"es": Approval("approved", "HX4", body=body)},
    }
    assert find(listing, QUESTION) is mine
    assert find({"somebody_elses": listing["somebody_elses"]}, QUESTION) is None
    assert find({"x": {}}, QUESTION) is None
    base = "merchant_user_question_request_es"
    assert free_name(listing, base, "es") == f"{base}_v3"
    assert free_name(listing, base, "pt") == base


def test_buttons_are_part_of_the_words() -> None:
    buttons = ({"id": "show_answer", "title": "Ver"},)
    template = NewTemplate("customer_answer_ready", "es", "Hola {{n}}, ya está.", {"n": "Ana"}, buttons)
    with_button = Approval("approved", "a", body=template.text, titles=("Ver",))
    assert with_button.says(template)
    assert not Approval("approved", "a", body=template.text).says(template)


def test_an_id_is_one_text_at_twilio_and_one_for_each_language_at_meta() -> None:
    listing = {"x": {"es": Approval("approved", "x"), "en": Approval("paused", "x")}}
    assert with_id(listing, "x", "en", contents=False) == Approval("paused", "x")
    assert with_id(listing, "positional:x", "pt", contents=False) is None
    assert with_id(listing, "x", "pt", contents=True) == Approval("approved", "x")
    assert with_id(listing, "x", ANY, contents=False) is not None


def test_each_state_of_a_template_has_its_remedy() -> None:
    states = ("pending", "rejected", "paused", "disabled", "deleted", "something new")
    remedies = {remedy_of(Approval(status, "x")) for status in states}
    assert len(remedies) == len(states)
    assert all(remedies)
    assert not remedy_of(Approval("approved", "x", category="UTILITY"))
    assert "marketing" in remedy_of(Approval("approved", "x", category="MARKETING"))
    assert "nobody has asked" in remedy_of(Approval("pending", "x", submitted=False))


def test_templates_that_are_named_are_looked_at() -> None:
    expected = Expected("http://x", {"a": {"es": "HX1", "en": "HX2"}, "b": {ANY: "HX3"}, "c": {"es": "HX9"}})
    listing = {
        "a_es": {"es": Approval("approved", "HX1")},
        "a_en": {"en": Approval("rejected", "HX2", reason="too\nvague")},
        "b": {"es": Approval("approved", "HX3", category="MARKETING")},
    }
    assert template_checks(expected, listing, contents=True) == [
        Check(True, "templates approved: 2"),
        Check(False, "template a (en) is rejected: too vague", remedy_of(Approval("rejected", "HX2"))),
        Check(True, "template b is approved, as MARKETING", remedy_of(listing["b"]["es"])),
        Check(False, "template c (es) is not at the provider", "name the right id, or run `recado templates create`"),
    ]


@pytest.mark.parametrize(
    ("error", "limit"),
    [
        (Retryable("x", "429"), True),
        (Retryable("x", "20429"), True),
        (Retryable("x", "80008"), True),
        (Retryable("x", "500", retry_after=3.0), True),
        (Retryable("x", "500", ambiguous=True), False),
        (AccountRefused("x", "190"), True),
        (Permanent("x", "100"), False),
    ],
)
def test_what_the_next_call_would_meet_as_well(error: Retryable | Permanent, limit: bool) -> None:
    assert is_limit(error) is limit


def test_what_a_provider_says_makes_one_line() -> None:
    assert one_line("a\x1b[31m\n\tb\u2028c") == "a [31m b c"
    assert failed("it fails", Permanent("no\nway", remedy="mend it")) == Check(False, "it fails: no way", "mend it")
    assert failed("it fails", Permanent("whatsapp:+15550200123 is none")).text == "it fails: whatsapp:+15…23 is none"
    assert failed("it fails", Retryable("away")).remedy.startswith("try again later")


def test_an_address_shows_no_password() -> None:
    assert shown_url("https://user:secret@shop.example/hook?key=secret#rc=2") == "https://shop.example/hook"
    assert [shown_url(url) for url in (None, "", "nonsense", "http://[")] == ["nowhere"] * 3 + [
        "an address that cannot be"
    ]
