"""Everything that the team is alerted of has a name, a severity and a line in the documentation."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from recado.alerts.conditions import CONDITIONS, SeverityLevel
from tests.support import ROOT

NAMED = re.compile(r"Alarm\(\s*f?\"([a-z_{}]+)\"|self\._report\(\s*\"([a-z_]+)\"|_alert\(file, \"([a-z_]+)\"")
COMPUTED = {
    "event_{state}": {"event_dead", "event_unrouted"},
    # chosen by an expression: pacing.py, emergency.py, failing.py's GIVEN_UP, cli_alerts.py
    "": {"daily_limit_near", "daily_limit_reached", "alerts_not_stored", "delivery_given_up", "test"},
}


def raised() -> set[str]:
    """The conditions that the code raises."""
    found = set(COMPUTED[""])
    for path in [*ROOT.glob("src/**/*.py"), *ROOT.glob("graphs/**/*.py")]:
        for match in NAMED.finditer(path.read_text()):
            name = next(filter(None, match.groups()))
            found |= COMPUTED.get(name, {name})
    return found


def test_each_condition_is_raised_somewhere_and_nothing_else_is() -> None:
    assert raised() == set(CONDITIONS)


def documented() -> Iterator[tuple[str, str]]:
    page = Path(ROOT / "docs" / "operations.md").read_text()
    for severity in SeverityLevel:
        [row] = re.findall(rf"^\| {severity} \| (.*) \|$", page, re.MULTILINE)
        for name in re.findall(r"`([a-z_]+)`", row):
            yield name, severity


def test_the_documentation_lists_them_by_severity() -> None:
    assert dict(documented()) == {name: condition.severity for name, condition in CONDITIONS.items()}


@pytest.mark.parametrize(
    ("named", "level"),
    [
        ("error", "error"),
        (" WARNING ", "warning"),
        ("Info", "info"),
        ("fatal", "error"),
        ("", "error"),
        ("🚨", "error"),
    ],
)
def test_what_is_no_severity_is_taken_for_the_worst(named: str, level: str) -> None:
    assert SeverityLevel(named) == level
