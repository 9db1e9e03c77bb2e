"""The steps of turns and notifications, as moments."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from recado.stories.schemas import Moment

MOVED = timedelta(seconds=30)
"""Steps that are so far from their row are so because the simulator's clock was moved, which rows go by. Steps
are timed by the machine's."""

Rows = Sequence[Mapping[str, Any]]


def moments_of(
    rows: Rows, chapter: str, ids: dict[str, int], *, since: datetime, until: datetime | None
) -> list[Moment]:
    """Steps, tools and model calls. `since`: they begin no earlier; `until`: the last has ended about then."""
    moved = _moved(rows, since, until)
    return [
        Moment(
            at=max(since, _at(row) + moved),
            chapter=chapter,
            kind=row["kind"] if row["kind"] in ("tool", "model") else "step",
            what=_what(row),
            ms=row.get("ms"),
            failed=bool(row.get("failed")),
            ids=ids,
            facts=_facts(row),
        )
        for row in rows
    ]


def _moved(rows: Rows, since: datetime, until: datetime | None) -> timedelta:
    if not rows:
        return timedelta()
    if until is None:
        moved = since - _at(rows[0])
    else:
        moved = until - max(_at(row) + timedelta(milliseconds=row.get("ms", 0.0)) for row in rows)
    return moved if abs(moved) > MOVED else timedelta()


def _at(row: Mapping[str, Any]) -> datetime:
    return datetime.fromtimestamp(row["at"], UTC)


def _facts(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("kind", "name", "at", "ms", "failed")}


def _what(row: Mapping[str, Any]) -> str:
    resumed = " (goes on after a crash, before which steps are not known)" if row.get("resumed") else ""
    if row["kind"] != "model":
        return f"{row['name']}{resumed}"
    said = [f"{row['tokens_in']:,} tokens in" if "tokens_in" in row else ""]
    said.append(f"{row['tokens_cached']:,} of them cached" if row.get("tokens_cached") else "")
    said.append(f"{row['tokens_out']:,} out" if "tokens_out" in row else "")
    said.append(f"${row['cost']:.6f}" if row.get("cost") is not None else "")
    named = ": ".join(str(row[name]) for name in ("task", "model") if row.get(name)) or str(row["name"])
    return ", ".join([named, *filter(None, said)]) + resumed
