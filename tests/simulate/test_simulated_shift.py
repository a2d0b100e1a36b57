"""How much of a forest's skill survives the way to the other city."""

import runpy
from pathlib import Path

import pytest

from c2seg.simulate import simulate_pair


@pytest.mark.slow
def test_a_forest_loses_something_at_the_default_shift_and_little_at_none(tmp_path) -> None:
    script = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "simulator.py"))
    ratios = {}
    for shift in (0.0, 0.5):
        info = simulate_pair(tmp_path / str(shift), "ab", 0.2, 0, shift)
        result = script["across"](info.out, (info.source.name, info.target.name), 0)
        ratios[shift] = result["cross_city_oa"] / result["in_city_oa"]
    assert 0.6 < ratios[0.5] < 0.95
    assert ratios[0.5] < ratios[0.0]
    assert ratios[0.0] > 0.9
