"""The benchmarks are run by hand: that they still fit the product shows here."""

from importlib import import_module

import pytest

from tests.support import ROOT

MODULES = sorted(path.stem for path in (ROOT / "bench").glob("*.py") if not path.stem.startswith("__"))


@pytest.mark.parametrize("name", MODULES)
def test_it_finds_what_it_measures(name: str) -> None:
    import_module(f"bench.{name}")
