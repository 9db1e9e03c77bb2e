"""Settings: the example file tells the truth, and production refuses what only suits a developer's machine."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import ValidationError

from recado.settings import Settings

EXAMPLE = Path(__file__).parent.parent / ".env.example"


def make(**values: object) -> Settings:
    return Settings(_env_file=None, **values)  # type: ignore[call-arg, arg-type]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_the_example_names_every_setting_with_its_default_and_a_comment() -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    found = {}
    for before, line in pairwise(lines):
        if match := re.fullmatch(r"([A-Z_]+)=(.*)", line):
            assert before.startswith("# "), f"{match[1]} has no comment line"
            found[match[1].lower()] = match[2]
    assert set(found) == set(Settings.model_fields)
    written = make(**{name: value for name, value in found.items() if value})
    assert written == make()


def test_the_provider_follows_the_key() -> None:
    assert make().model_provider == "demo"
    assert make(openai_api_key="sk-x").model_provider == "openai"
    assert make(openai_api_key="sk-x", model_provider="demo").model_provider == "demo"


def test_openai_without_a_key_names_the_remedy() -> None:
    assert "OPENAI_API_KEY" in make(model_provider="openai").problems()[0]


def test_production_refuses_defaults_one_by_one() -> None:
    problems = "\n".join(make(environment="production").problems())
    for name in ("SECRET_KEY", "OPENAI_API_KEY", "PUBLIC_BASE_URL"):
        assert name in problems
    good = make(
        environment="production", secret_key="k" * 32, openai_api_key="sk-x", public_base_url="https://recado.example"
    )
    assert good.problems() == []


def test_production_refuses_a_short_platform_key_and_takes_none() -> None:
    good = {
        "environment": "production",
        "secret_key": "k" * 32,
        "openai_api_key": "sk-x",
        "public_base_url": "https://recado.example",
    }
    assert make(**good, api_key="").problems() == []
    assert make(**good, api_key="k" * 32).problems() == []
    (problem,) = make(**good, api_key="k" * 31).problems()
    assert problem.startswith("API_KEY must have at least 32 characters")
    assert make(api_key="short").problems() == []


@pytest.mark.parametrize(
    "wrong", [{"turn_quiet_seconds": -1}, {"history_window": 0}, {"environment": "staging"}, {"log_level": "LOUD"}]
)
def test_nonsense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        make(**wrong)
