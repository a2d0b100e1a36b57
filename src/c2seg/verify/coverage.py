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


def coverage_warnings(
    names: Sequence[str], values: Estimates, level: float, chosen: np.ndarray | None = None
) -> tuple[str, ...]:
    """Return warnings for shares of which intervals, or standard errors, hold less often than 90 of 100 times.

    ``chosen`` bool [Q] are those that matter (None: all).
    """
    narrow, usual = [], []
    for index in range(len(names)) if chosen is None else np.flatnonzero(chosen).tolist():
        value, se, points = (float(part[index]) for part in (values.value, values.se, values.points))
        if np.isfinite(value):
            effective = value * (1 - value) / se**2 if se > 0 else points
            held, held_usual = coverage_of(effective, value if se > 0 else 0.5 / max(points, 1))
            narrow += [names[index]] if held < _LOW else []
            usual += [names[index]] if held_usual < _LOW else []
    few = "few points: {} would hold in fewer than 90 of 100 samples of this kind for {}{}"
    texts = [few.format("the intervals", ", ".join(narrow), "")] if narrow else []
    reach = f"plus or minus {quantile(level):.2f} standard errors"
    texts += [few.format(reach, ", ".join(usual), "; use the intervals")] if usual else []
    return tuple(texts)


@cache
def _table() -> dict[str, list[float] | list[list[float]]]:
    text = resources.files("c2seg.verify").joinpath("coverage.json").read_text(encoding="utf-8")
    table: dict[str, list[float] | list[list[float]]] = json.loads(text)
    return table
