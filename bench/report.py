"""What a benchmark gives back, and how it is printed."""

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

FSYNC_SAMPLES = 50
BLOCK = b"x" * 4096


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one benchmark, already as text. `note` says how it was measured."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(slots=True)
class Samples:
    """Figures of several runs; `str` gives their median and range."""

    values: list[float] = field(default_factory=list)

    def add(self, value: float) -> None:
        """One run's figure."""
        self.values.append(value)

    @property
    def median(self) -> float:
        """The middle of all runs."""
        return statistics.median(self.values)

    def text(self, digits: int = 0) -> str:
        """`median (lowest to highest)`."""
        low, high = min(self.values), max(self.values)
        return f"{self.median:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def draw(table: Table) -> str:
    """The table, with its columns in line."""
    lines = [table.columns, *table.rows]
    widths = [max(len(line[n]) for line in lines) for n in range(len(table.columns))]
    drawn = [f"\n{table.title}"]
    for line in lines:
        cells = [
            line[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)),
        ]
        drawn.append("  " + "  ".join(cells).rstrip())
    if table.note:
        drawn.append(f"  {table.note}")
    return "\n".join(drawn)


def machine(folder: Path) -> str:
    """What the figures were measured on; the disk is the one that the databases lie on."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return (
        f"{platform.platform()}, {_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}; "
        f"a synchronised write takes {_fsync_milliseconds(folder):.2f} ms here; load before the start {load:.1f}"
    )


def _processor() -> str:
    """The processor's name, where Linux tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _fsync_milliseconds(folder: Path) -> float:
    taken = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(FSYNC_SAMPLES):
            start = time.perf_counter()
            file.write(BLOCK)
            file.flush()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1_000
