"""MODEL_PRICES: what is read from it, and what it makes of a call."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recado.agent.prices import Price, problems, read_prices
from recado.errors import ConfigurationError
from recado.settings import Settings

amounts = st.floats(min_value=0, max_value=1_000, allow_nan=False)
names = st.from_regex(r"[a-z][a-z0-9./:-]{0,20}[a-z]", fullmatch=True)


def test_the_default_names_the_default_models() -> None:
    settings = Settings(_env_file=None)
    found = read_prices(settings.model_prices).by_model
    assert found.keys() >= {settings.chat_model, settings.classifier_model, settings.localizer_model}
    assert found["gpt-4.1"] == Price(2.0, 0.5, 8.0)


def test_cached_tokens_are_among_those_that_went_in() -> None:
    prices = read_prices(" gpt-4.1 = 2/0.5/8 , ")
    assert prices.cost("gpt-4.1", 1_000_000, 400_000, 100_000) == 0.6 * 2 + 0.4 * 0.5 + 0.1 * 8


@pytest.mark.parametrize(
    ("model", "known"),
    [
        ("gpt-4.1-2025-04-14", True),
        ("gpt-4.1-mini-2025-04-14", False),
        ("gpt-4.1-nano", False),
        ("gpt-4.1-2025", False),
        ("demo", False),
        ("", False),
    ],
)
def test_a_dated_snapshot_costs_what_its_model_does_and_others_are_unknown(model: str, known: bool) -> None:
    assert (read_prices("gpt-4.1=2/0.5/8").cost(model, 10, 0, 10) is not None) == known


def test_a_snapshot_may_have_a_price_of_its_own() -> None:
    prices = read_prices("gpt-4.1=2/0.5/8,gpt-4.1-2025-04-14=4/1/16")
    assert prices.cost("gpt-4.1-2025-04-14", 1_000_000, 0, 0) == 4.0


def test_a_name_may_hold_an_equals_sign() -> None:
    assert list(read_prices("ft:x=y=1/1/1").by_model) == ["ft:x=y"]


@pytest.mark.parametrize(
    "written",
    [
        "gpt-4.1",
        "=2/0.5/8",
        "gpt-4.1=",
        "gpt-4.1=2",
        "gpt-4.1=2/8",
        "gpt-4.1=2/0.5/8/1",
        "gpt-4.1=2/x/8",
        "gpt-4.1=2/-0.5/8",
        "gpt-4.1=2/nan/8",
        "gpt-4.1=2/inf/8",
        "gpt-4.1=2/0.5/8,gpt-4.1=2/0.5/8",
    ],
)
def test_what_cannot_be_read_is_named_with_its_remedy(written: str) -> None:
    with pytest.raises(ConfigurationError, match=r"MODEL_PRICES.*USD per million"):
        read_prices(written)
    [problem] = problems(written)
    assert repr(written.rpartition(",")[2]) in problem


@given(st.dictionaries(names, st.tuples(amounts, amounts, amounts), max_size=5))
def test_what_is_written_is_read(wanted: dict[str, tuple[float, float, float]]) -> None:
    written = ",".join(f"{name}={'/'.join(map(repr, price))}" for name, price in wanted.items())
    assert read_prices(written).by_model == {name: Price(*price) for name, price in wanted.items()}
    assert problems(written) == []


@given(st.text(max_size=60))
def test_anything_is_read_or_refused_in_words(written: str) -> None:
    assert len(problems(written)) <= 1
