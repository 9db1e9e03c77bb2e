"""Which channel is told what."""

import pytest

from recado.alerts.conditions import CONDITIONS, SeverityLevel
from recado.alerts.routing import Wish, make_route
from recado.errors import ConfigurationError

ERROR, WARNING, INFO = SeverityLevel.ERROR, SeverityLevel.WARNING, SeverityLevel.INFO


@pytest.mark.parametrize(
    ("setting", "condition", "severity", "takes"),
    [
        ("info", "test", INFO, True),
        ("warning", "test", INFO, False),
        ("warning", "delivery_held", WARNING, True),
        ("warning", "turn_failed", ERROR, True),
        ("error", "delivery_held", WARNING, False),
        ("security_*", "security_wrong_codes", WARNING, True),
        ("security_*", "turn_failed", ERROR, False),
        ("error,delivery_held", "delivery_held", WARNING, True),
        ("error,delivery_held", "staff_opted_out", WARNING, False),
        ("warning,-delivery_*", "delivery_given_up", ERROR, False),
        ("warning,-delivery_*", "turn_failed", ERROR, True),
        ("delivery_held,-delivery_*", "delivery_held", WARNING, False),
        (" WARNING , Security_* ", "security_foreign_account", ERROR, True),
        ("-test", "turn_failed", ERROR, False),
        ("", "turn_failed", ERROR, False),
        (",,", "turn_failed", ERROR, False),
    ],
)
def test_a_channel_takes_what_it_wishes(setting: str, condition: str, severity: SeverityLevel, takes: bool) -> None:
    assert Wish.of(setting, "X").takes(condition, severity) is takes


@pytest.mark.parametrize("setting", ["errors", "warning;error", "turn_fail", "-", "info,unknown_*", "*_nothing"])
def test_what_is_no_wish_is_refused_with_its_remedy(setting: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^DISCORD_ALERTS: '.*' is no severity and no condition; give a sev"):
        Wish.of(setting, "DISCORD_ALERTS")


def test_each_channel_is_told_what_it_takes() -> None:
    route = make_route({"discord": Wish.of("info", "X"), "slack": Wish.of("error", "X"), "log": Wish.of("test", "X")})
    assert route("test", INFO) == ["discord", "log"]
    assert route("turn_failed", ERROR) == ["discord", "slack"]
    assert make_route({})("turn_failed", ERROR) == []


def test_every_condition_can_be_named() -> None:
    for name, condition in CONDITIONS.items():
        assert Wish.of(name, "X").takes(name, condition.severity)
        assert not Wish.of(f"info,-{name}", "X").takes(name, condition.severity)
