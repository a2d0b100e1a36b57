"""How often intervals hold what they should: the measured table, and warnings by it (``benchmarks/coverage.py``)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib import resources

import numpy as np

from c2seg.verify.estimators import Estimates
from c2seg.verify.planning import quantile

__all__ = ["coverage_of", "coverage_warnings"]

_LOW = 0.90


def coverage_of(points: float, share: float) -> tuple[float, float]:
    """Return the measured coverage of 95 % intervals for a share of that many points: ours, and plus or minus 1.96 SE.

    It is the lower one of the two numbers of points of the table that enclose ``points``, at the next share.
    """
    table = _table()
    numbers, shares = np.array(table["points"]), np.array(table["shares"])
    place = int(np.abs(np.log(shares) - np.log(max(min(share, 1 - share), shares[0]))).argmin())
    above = int(np.clip(np.searchsorted(numbers, points), 1, len(numbers) - 1))
    pair = slice(above - 1, above + 1)
    return tuple(float(min(np.array(table[kind])[pair, place])) for kind in ("interval", "usual"))  # type: ignore[return-value]


def coverage_warnings(names: Sequence[str], values: Estimates, level: float) -> tuple[str, ...]:
    """Return warnings for shares with too few points: intervals, or standard errors, that hold less often than 90 of 100 times."""
    wide, usual = [], []
    for name, value, se, points in zip(names, values.value, values.se, values.points, strict=True):
        if not np.isfinite(value):
            continue
        effective = value * (1 - value) / se**2 if se > 0 else points
        ours, theirs = coverage_of(effective, value if se > 0 else 0.5 / max(points, 1))
        wide += [name] if ours < _LOW else []
        usual += [name] if theirs < _LOW else []
    texts = []
    if wide:
        texts.append(f"few points: intervals of {', '.join(wide)} hold in fewer than 90 of 100 samples of this kind")
    if usual:
        texts.append(
            f"few points: plus or minus {quantile(level):.2f} standard errors would hold in fewer than 90 of 100 samples of this kind "
            f"for {', '.join(usual)}; use the intervals"
        )
    return tuple(texts)


@cache
def _table() -> dict[str, list[float] | list[list[float]]]:
    text = resources.files("c2seg.verify").joinpath("coverage.json").read_text(encoding="utf-8")
    table: dict[str, list[float] | list[list[float]]] = json.loads(text)
    return table
