"""The dashboard is what Grafana imports, and asks only for what there is; the documents name all that there is."""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from prometheus_client import REGISTRY

from tests.http.exposed import labels_by_series, ours

ROOT = Path(__file__).parents[2]
BOARD: dict[str, Any] = json.loads((ROOT / "docs" / "grafana" / "recado.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = BOARD["panels"]
GRAPHS = [panel for panel in PANELS if panel["type"] != "row"]
OF_THE_TARGET = {"job", "instance"}
"""Labels that Prometheus adds."""
FUNCTIONS = {"rate", "increase", "histogram_quantile", "vector"}
UNITS = {"short", "ops", "s", "bytes", "percentunit", "currencyUSD"}


def expressions() -> list[tuple[str, str]]:
    """(where it is, what it asks): of all panels and variables."""
    asked = [(panel["title"], target["expr"]) for panel in GRAPHS for target in panel["targets"]]
    for variable in BOARD["templating"]["list"]:
        query = re.fullmatch(r"query_result\((.+)\)|label_values\((\w+), (\w+)\)", variable["query"]["query"])
        assert query, variable
        asked.append((variable["name"], query[1] or f"count by ({query[3]}) ({query[2]})"))
    return asked


def parsed(expression: str) -> Any:
    """As Prometheus is asked it, once Grafana has filled in its variables."""
    return promql_parser.parse(expression.replace("$__rate_interval", "5m"))


def parts(expression: Any) -> Iterator[Any]:
    """An expression and all within it."""
    yield expression
    for name in ("expr", "lhs", "rhs", "vector_selector", "param"):
        if (part := getattr(expression, name, None)) is not None:
            yield from parts(part)
    for argument in getattr(expression, "args", None) or ():
        yield from parts(argument)


def test_grafana_can_import_it() -> None:
    assert BOARD["schemaVersion"] >= 36
    assert {"title", "uid", "time", "refresh", "templating", "annotations"} <= set(BOARD)
    assert BOARD["id"] is None, "an id of another Grafana must not come along"
    inputs = {given["name"]: given for given in BOARD["__inputs"]}
    assert (inputs["DS_PROMETHEUS"]["type"], inputs["DS_PROMETHEUS"]["pluginId"]) == ("datasource", "prometheus")
    assert {need["id"] for need in BOARD["__requires"] if need["type"] == "panel"} == {one["type"] for one in GRAPHS}
    source = {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}
    for panel in GRAPHS:
        assert panel["datasource"] == source
        assert [target["datasource"] for target in panel["targets"]] == [source] * len(panel["targets"])
    assert [variable["datasource"] for variable in BOARD["templating"]["list"]] == [source] * 2
    assert [variable["name"] for variable in BOARD["templating"]["list"]] == ["merchant", "channel"]


def test_panels_have_ids_of_their_own_and_lie_beside_each_other() -> None:
    ids = [panel["id"] for panel in PANELS]
    assert len(ids) == len(set(ids))
    cells = [
        (x, y)
        for panel in PANELS
        for place in [panel["gridPos"]]
        for x, y in itertools.product(
            range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        )
    ]
    assert len(cells) == len(set(cells))
    assert {x for x, _ in cells} == set(range(24))


def test_every_panel_says_what_it_shows_and_in_what() -> None:
    for panel in GRAPHS:
        assert len(panel["description"]) > 10, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["targets"], panel["title"]
        refs = [target["refId"] for target in panel["targets"]]
        assert len(refs) == len(set(refs)), panel["title"]
    titles = [panel["title"] for panel in PANELS if panel["type"] == "row"]
    assert len(titles) == len(set(titles)) == 11


@pytest.mark.parametrize(("where", "expression"), expressions())
def test_it_asks_only_for_what_there_is(where: str, expression: str) -> None:
    there = labels_by_series()
    known: set[str] = {*OF_THE_TARGET}
    selectors = []
    for part in parts(parsed(expression)):
        if isinstance(part, promql_parser.VectorSelector):
            selectors.append(part)
            assert part.name in there, f"{where}: there is no {part.name}"
            matched = {matcher.name for matcher in part.matchers.matchers}
            assert matched <= there[part.name] | OF_THE_TARGET, f"{where}: {part.name} has no {matched}"
            known |= there[part.name]
        if isinstance(part, promql_parser.Call):
            assert part.func.name in FUNCTIONS
    assert selectors
    for part in parts(parsed(expression)):
        if isinstance(part, promql_parser.AggregateExpr) and part.modifier is not None:
            assert set(part.modifier.labels) <= known, f"{where}: {part.modifier.labels}"


@pytest.mark.parametrize(("where", "expression"), expressions())
def test_counters_are_asked_for_how_much_they_grow(where: str, expression: str) -> None:
    """And gauges for how high they are."""
    grown = {"_total", "_bucket", "_sum", "_count"}
    for part in parts(parsed(expression)):
        if isinstance(part, promql_parser.Call) and part.func.name in ("rate", "increase"):
            name = part.args[0].vector_selector.name
            assert any(name.endswith(end) for end in grown), f"{where}: {name}"
        elif isinstance(part, promql_parser.VectorSelector) and where not in ("merchant", "channel"):
            inside = any(f"{function}({part.name}" in expression for function in ("rate", "increase"))
            assert inside == any(part.name.endswith(end) for end in grown), f"{where}: {part.name}"


@pytest.mark.parametrize("target", [target for panel in GRAPHS for target in panel["targets"]], ids=lambda t: t["expr"])
def test_legends_name_labels_that_are_left(target: dict[str, Any]) -> None:
    named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
    whole = parsed(target["expr"])
    left = {
        label
        for part in parts(whole)
        if isinstance(part, promql_parser.AggregateExpr) and part.modifier is not None
        for label in part.modifier.labels
    }
    if not any(isinstance(part, promql_parser.AggregateExpr) for part in parts(whole)):
        left = OF_THE_TARGET
    assert named <= left


def test_every_figure_of_ours_is_on_it() -> None:
    text = json.dumps(PANELS)
    missing = [figure.name for figure in ours().values() if not any(series in text for series in figure.series)]
    assert missing == []


def test_the_documents_name_exactly_the_figures_that_there_are() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = page.split("\n## Metrics\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(recado_\w+)` \| (.+?) \| ?(.*?) ?\|$", section, re.MULTILINE)
    assert len(rows) == len({name for name, *_ in rows})
    documented = {name: set(re.findall(r"`(\w+)`", labels)) for name, _meaning, labels in rows}
    assert documented == {figure.name: set(figure.labels) for figure in ours().values()}


def test_no_figure_is_kept_elsewhere() -> None:
    """Where neither the dashboard nor the documents would hear of it."""
    registered = {family.name for family in REGISTRY.collect() if family.name.startswith("recado_")}
    assert registered <= {re.sub("_(total|info)$", "", name) for name in ours()}
