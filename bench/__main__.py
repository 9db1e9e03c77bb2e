"""`python -m bench [NAME …]`: run the benchmarks, or only those that are named."""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bench import calls, intake, startup, sync, tracing, turns
from bench.report import Table, draw, machine

BENCHMARKS: Mapping[str, Callable[[Path], list[Table]]] = {
    "intake": intake.run,
    "turns": turns.run,
    "calls": calls.run,
    "sync": sync.run,
    "startup": startup.run,
    "tracing": tracing.run,
}


def main() -> None:
    """Run what was asked for, each in a folder of its own that is removed afterwards."""
    described = "\n".join(f"  {name:8} {(run.__doc__ or '').splitlines()[0]}" for name, run in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measures Recado, each figure beside its yardstick in the same run.",
        epilog=f"benchmarks:\n{described}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these; without: all")
    names = parser.parse_args().names or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="recado-bench-") as folder:
        print(machine(Path(folder)), flush=True)
        for name in names:
            own = Path(folder) / name
            own.mkdir()
            for table in BENCHMARKS[name](own):
                print(draw(table), flush=True)
    print(f"\nall of it took {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
