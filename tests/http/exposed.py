"""What `/metrics` can show: the names and labels of all figures, whether or not anything was counted yet."""

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

import recado.entrypoints.cli  # noqa: F401 - loads all that counts
from recado.http.backlog import GAUGES
from recado.sync import metrics as sync_metrics
from recado.telemetry import metrics


@dataclass(frozen=True, slots=True)
class Exposed:
    """One figure, by the name that documents call it."""

    name: str
    labels: tuple[str, ...]
    series: tuple[str, ...]
    """The names of its time series."""


def ours() -> dict[str, Exposed]:
    """Recado's own, by name."""
    return {figure.name: figure for figure in (*_counted(), *_gauges())}


def labels_by_series() -> dict[str, set[str]]:
    """The labels of every time series: Recado's, and those of the process."""
    found = {series: set(figure.labels) for figure in ours().values() for series in figure.series}
    for series in found:
        if series.endswith("_bucket"):
            found[series].add("le")
    for family in REGISTRY.collect():
        if not family.name.startswith("recado_"):
            found |= {sample.name: set(sample.labels) for sample in family.samples}
    return found


def _counted() -> Iterator[Exposed]:
    for module in (metrics, sync_metrics):
        for value in vars(module).values():
            if isinstance(value, MetricWrapperBase):
                # The library tells a figure's labels in no other way before it has counted something.
                name, kind, labels = value._name, value._type, tuple(value._labelnames)
                match kind:
                    case "counter":
                        yield Exposed(f"{name}_total", labels, (f"{name}_total",))
                    case "histogram":
                        yield Exposed(name, labels, (f"{name}_bucket", f"{name}_sum", f"{name}_count"))
                    case "info":
                        samples = [sample for family in value.collect() for sample in family.samples]
                        yield Exposed(f"{name}_info", tuple(samples[0].labels), (f"{name}_info",))
                    case _:
                        yield Exposed(name, labels, (name,))


def _gauges() -> Iterator[Exposed]:
    for name, (_meaning, labels) in GAUGES.items():
        yield Exposed(name, labels, (name,))
