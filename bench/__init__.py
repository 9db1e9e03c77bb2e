"""The benchmarks: each figure beside its yardstick, measured in one run. `python -m bench --help`."""
